"""Run directories that are URLs: storage, the mirror of a run that is driven here, and fetching one to be read."""
