"""Writes something long to a program's descriptor 0 that need not read all of it.

Commands that start once for every message use it, so it imports little.
"""

from __future__ import annotations

import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

ALL: Final = 0
STOPPED: Final = 1
"""The program has closed its end: it read what it wants to know, or is gone."""
LATE: Final = 2


def feed(fd: int, parts: Iterable[bytes], wait_s_max: float) -> int:
    """Write all of `parts`, waiting at most so long for the reader to take more.

    Returns: ALL, STOPPED or LATE. Raises: whatever iterating `parts` raises.
    """
    os.set_blocking(fd, False)
    for part in parts:
        rest = memoryview(part)
        while rest:
            try:
                rest = rest[os.write(fd, rest) :]
            except BlockingIOError:
                if not is_ready(fd, select.POLLOUT, wait_s_max):
                    return LATE
            except OSError:
                return STOPPED
    return ALL


def is_ready(fd: int, events: int, wait_s_max: float) -> bool:
    """Wait for a descriptor; tell whether it is ready now."""
    poll = select.poll()
    poll.register(fd, events)
    return bool(poll.poll(wait_s_max * 1000))
