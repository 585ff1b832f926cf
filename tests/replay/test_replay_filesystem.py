"""Which file systems other machines may see, by the kernel's table of mounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from replay.filesystem import FileSystem, filesystem_of

TABLE = """\
22 1 0:21 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:30 / /home rw,relatime shared:2 - nfs4 filer:/home rw,vers=4.2,local_lock=none,addr=192.0.2.7
31 22 0:31 / /old rw,relatime - nfs filer:/old rw,vers=3,nolock,local_lock=all
32 30 0:32 / /home/me/on\\040ssh rw,nosuid - fuse.sshfs me@host:/ rw,user_id=1000
33 22 0:33 / /scratch rw - lustre 192.0.2.9@tcp:/scratch rw,flock
34 22 0:34 / /here rw - fuse.fuse-overlayfs fuse-overlayfs rw
35 22 0:35 / /twice rw - nfs4 filer:/twice rw,local_lock=none
36 22 0:36 / /twice rw - xfs /dev/sdb1 rw
37 22 0:37 / /host rw - 9p host rw,trans=virtio
38 22 0:38 / /office rw - cifs //server/office rw,nobrl
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    (tmp_path / "mountinfo").write_text(TABLE)
    return tmp_path / "mountinfo"


@pytest.mark.parametrize(
    ("path", "kind", "shared", "ends_here"),
    [
        ("/var/runs", "ext4", False, False),
        ("/home/me/runs", "nfs4", True, False),
        ("/homework", "ext4", False, False),
        ("/old/runs", "nfs", True, True),
        ("/home/me/on ssh/runs", "fuse.sshfs", True, True),
        ("/scratch/x", "lustre", True, False),
        ("/here/x", "fuse.fuse-overlayfs", False, False),
        ("/twice", "xfs", False, False),
        ("/host/x", "9p", True, True),
        ("/office/x", "cifs", True, True),
    ],
)
def test_the_mount_that_lies_nearest_says_what_locks_are_worth(
    mounts: Path, path: str, kind: str, shared: bool, ends_here: bool
) -> None:
    found = filesystem_of(Path(path), mounts)
    assert (found.kind, found.is_shared, found.locks_end_here) == (kind, shared, ends_here)


def test_without_such_a_table_it_is_a_disk_of_our_own(tmp_path: Path) -> None:
    assert not filesystem_of(tmp_path, tmp_path / "none").is_shared


def test_this_machine_s_own_table_is_read(tmp_path: Path) -> None:
    found = filesystem_of(tmp_path)
    assert str(tmp_path).startswith(found.mounted_at) and found != FileSystem("unknown", "/", frozenset())
