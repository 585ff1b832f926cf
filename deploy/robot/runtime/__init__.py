"""Runs a bundle, with numpy and onnxruntime alone; it lies in every bundle as `twist_runtime`.

    from twist_runtime import load
    policy = load("push"); policy.reset(); action = policy.select_action(image)

Its modules import each other by their place, so that they work in the package and in a bundle alike.
"""

from .policy import Policy, load
from .refusals import BundleError, FrameError

__all__ = ["BundleError", "FrameError", "Policy", "load"]
