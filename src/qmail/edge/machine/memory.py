"""How much memory this process may count on: the machine's, or what its control group allows."""

import contextlib
import os
from pathlib import PurePosixPath
from typing import Final

CGROUPS: Final = "/sys/fs/cgroup"
_LINE_BYTES_MAX: Final = 4096


def memory_bytes(membership: str = "/proc/self/cgroup", cgroups: str = CGROUPS) -> int:
    """Return the least of the machine's memory and the limits of the group and those above it."""
    found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    group = PurePosixPath(_group_of(membership))
    for one in (group, *group.parents):
        limit = _first_line(f"{cgroups}{one}/memory.max")
        # Without a limit it says "max".
        if limit.isdigit():
            found = min(found, int(limit))
    return found


def _group_of(membership: str) -> str:
    """Return the group's path in the one hierarchy of version 2, "/" where there is none."""
    line = _first_line(membership)
    return line.removeprefix("0::") if line.startswith("0::/") else "/"


def _first_line(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return file.readline(_LINE_BYTES_MAX).strip()
    return ""
