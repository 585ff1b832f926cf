"""What this runtime refuses, each in one line that names the value and what is allowed."""


class BundleError(ValueError):
    """The bundle is not what its manifest or its contract says."""


class UsageError(ValueError):
    """What was asked for cannot be done."""


class FrameError(ValueError):
    """A picture is none that the policy may act on."""
