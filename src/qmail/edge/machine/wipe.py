"""Secrets that were used are overwritten in memory, and processes that see them leave no dumps.

Python copies bytes as it likes, so this shortens the time that a secret lies about; it promises no
more than that.
"""

import contextlib
import ctypes
import resource
from typing import Final

_HEADER_BYTES: Final = bytes.__basicsize__ - 1
_SHARED_BYTES: Final = 1
"""Python keeps one copy of each of these for everybody."""
PR_SET_DUMPABLE: Final = 4


def wipe(*secrets: bytes) -> None:
    """Overwrite bytes that came from outside and that nobody will use again."""
    for secret in secrets:
        if len(secret) > _SHARED_BYTES:
            ctypes.memset(id(secret) + _HEADER_BYTES, 0, len(secret))


def leave_no_dump() -> None:
    """Keep this process's memory out of core files, and from others of its account."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
