"""Which machine this is, and on which file systems a file can't be shared.

Locks of SQLite don't hold on network file systems: two machines would write at once.
"""

import os
import platform
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
MOUNTS = Path("/proc/self/mounts")
# As Linux calls them.
NETWORK_FILE_SYSTEMS = frozenset(
    {
        "9p",
        "afs",
        "ceph",
        "cifs",
        "fuse.glusterfs",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb2",
        "smb3",
        "smbfs",
        "virtiofs",
    }
)


def boot_id() -> str:
    """An ID of this machine since it was started. Containers on it have the same."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return platform.node()


def network_file_system(path: str, mounts: Path = MOUNTS) -> str | None:
    """The kind of network file system that a path is on. None: it is on none, as far as
    this system tells.
    """
    if path.startswith((r"\\", "//")):
        return "a network path"
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    real = os.path.realpath(path)
    found, kind = "", ""
    for line in lines:
        point, name = _unescaped(line.split()[1]), line.split()[2]
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        # A later mount hides an earlier one at the same place.
        if inside and len(point) >= len(found):
            found, kind = point, name
    return kind if kind in NETWORK_FILE_SYSTEMS else None


def _unescaped(point: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\134", "\\")):
        point = point.replace(code, character)
    return point
