"""What kind of file system a path lies on, as far as locks go: `flock` does not mean the same everywhere.

On a disk of this machine a lock belongs to an open file: a child inherits it, and it ends with the last who has the
file open. Over NFS the kernel emulates it by a lock of the client, which other programs see differently, and with some
mount options, or through FUSE and 9p, a lock holds for this machine alone while others see the same files.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MOUNTS: Final = Path("/proc/self/mountinfo")

_SHARED: Final = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "ceph", "lustre", "gpfs", "beegfs", "glusterfs", "afs")
    + ("ocfs2", "gfs2", "orangefs", "pvfs2", "panfs", "wekafs")
)
_LOCAL_FUSE: Final = ("fuse.fuse-overlayfs", "fuse.snapfuse", "fuse.squashfuse", "fuse.lxcfs", "fuseblk")
_LOCKS_END_HERE: Final = frozenset(("9p", "virtiofs", "afs"))
_WITHOUT_LOCKS: Final = frozenset(("nolock", "local_lock=all", "local_lock=flock", "nobrl", "localflock"))


@dataclass(frozen=True)
class FileSystem:
    """Where a path lies.

    Attributes:
        kind: As the kernel names it, such as "ext4" or "nfs4".
        mounted_at: Its mount point.
        options: Of the mount.
    """

    kind: str
    mounted_at: str
    options: frozenset[str]

    @property
    def is_shared(self) -> bool:
        """Whether other machines may see the same files."""
        return self.kind in _SHARED or (self.kind.startswith("fuse.") and self.kind not in _LOCAL_FUSE)

    @property
    def locks_end_here(self) -> bool:
        """Whether they may, and a lock holds for this machine alone."""
        through_fuse = self.kind.startswith("fuse.")
        return self.is_shared and (
            through_fuse or self.kind in _LOCKS_END_HERE or not self.options.isdisjoint(_WITHOUT_LOCKS)
        )

    def __str__(self) -> str:
        """For messages."""
        return f"{self.kind} file system at {self.mounted_at}"


def filesystem_of(path: Path, mounts: Path = _MOUNTS) -> FileSystem:
    """Return on which file system a path lies, or would lie once it is made.

    Args:
        path: The path; links are followed.
        mounts: The kernel's table of mounts.
    """
    resolved = os.path.realpath(path)
    found = FileSystem("unknown", "/", frozenset())
    try:
        table = mounts.read_text(errors="surrogateescape")
    except OSError:
        return found  # no Linux, or one that hides it: as on a disk of our own
    # Of two mounts at one place, the later one lies on top.
    for line in table.splitlines():
        mounted, _, filesystem = line.partition(" - ")
        point = _unescaped(mounted.split()[4])
        if not _is_below(resolved, point) or len(point) < len(found.mounted_at):
            continue
        kind, _, *superblock = filesystem.split()
        options = frozenset(",".join((mounted.split()[5], *superblock)).split(","))
        found = FileSystem(kind, point, options)
    return found


def _is_below(path: str, point: str) -> bool:
    return point == "/" or path == point or path.startswith(f"{point}/")


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
