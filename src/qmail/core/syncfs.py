"""The system call that puts one whole file system on disk: Python has no name for it."""

import ctypes
import os
from typing import Final

_SYNCFS: Final = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
"""Looked up once: that costs more than a delivery."""


def syncfs(fd: int) -> None:
    """Sync the file system of the open file or folder `fd`; all where the system knows no better.

    Raises: OSError.
    """
    if _SYNCFS is None:
        os.sync()
    elif _SYNCFS(fd) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
