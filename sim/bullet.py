"""PyBullet itself, imported without the line about its build time that it writes straight to file descriptor 2."""

from __future__ import annotations

import os
import sys
from types import ModuleType


def _import_quietly() -> ModuleType:
    sys.stderr.flush()
    kept = os.dup(2)
    silent = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silent, 2)
        import pybullet
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(silent)
    module: ModuleType = pybullet
    return module


bullet = _import_quietly()
