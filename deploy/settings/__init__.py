"""Every setting of a run: presets, `key=value`, checks, help, and what follows from the settings alone."""
