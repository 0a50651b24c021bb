"""Which kind of file system a path is on, as the kernel says (proc(5), mountinfo)."""

import os
from typing import Final

MOUNTINFO: Final = "/proc/self/mountinfo"
MOUNTINFO_BYTES_MAX: Final = 4 * 1024 * 1024
NETWORK_TYPES: Final = frozenset((
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "lustre", "glusterfs", "ocfs2",
    "9p", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs",
))  # fmt: skip
"""Here rename and link are not atomic, inode numbers change, or a sync promises nothing."""
MEMORY_TYPES: Final = frozenset(("tmpfs", "ramfs"))


def file_system_type(path: str, mountinfo: str = MOUNTINFO) -> str:
    """Return the type (`ext4`) of the file system that `path` is on, "" where it is not known.

    Raises: OSError: no such path.
    """
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    real = os.path.realpath(path)
    try:
        with open(mountinfo, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read(MOUNTINFO_BYTES_MAX).splitlines()
    except OSError:
        return ""
    best, longest = "", -1
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")[0]
        if len(fields) < 5:
            continue
        # Some file systems (btrfs) show another device for their files: then the path decides.
        point = fields[4].replace("\\040", " ")
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        weight = len(point) + (1 << 16 if fields[2] == wanted else 0)
        if inside and weight >= longest:
            best, longest = kind, weight
    return best
