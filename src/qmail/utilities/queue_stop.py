"""Whether a home runs, and that it does not start while its queue is repaired, copied or filled."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from typing import Final

LOCK_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
LOCKS: Final = {"run/lock": "qmail-start", "queue/lock/sendmutex": "qmail-send"}
"""The files that the suite holds locked while it runs, and who does."""


class RunningError(Exception):
    """The suite runs, or somebody else looks after the queue."""


@contextlib.contextmanager
def stopped(home: str) -> Iterator[None]:
    """Hold the locks of the suite, so that it is stopped and stays so.

    Raises: RunningError. OSError: a lock can't be taken.
    """
    with contextlib.ExitStack() as held:
        for path, who in LOCKS.items():
            if path == "run/lock":
                _make(f"{home}/{path}")
            fd = _open(f"{home}/{path}")
            if fd >= 0:
                held.callback(os.close, fd)
                if not _take(fd):
                    raise RunningError(f"{who} runs in {home}: stop it first")
        yield


def is_running(home: str) -> bool:
    """Tell whether the suite runs, as far as this user may know. Raises: OSError."""
    for path in LOCKS:
        fd = _open(f"{home}/{path}")
        if fd >= 0:
            is_held = not _take(fd)
            os.close(fd)
            if is_held:
                return True
    return False


def _make(path: str) -> None:
    """Make the lock file, for whoever owns its folder: qmail-start must be able to open it.

    Raises: OSError.
    """
    with contextlib.suppress(FileExistsError):
        fd = os.open(path, LOCK_FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            owner = os.stat(os.path.dirname(path))
            os.fchown(fd, owner.st_uid, owner.st_gid)
        finally:
            os.close(fd)


def _open(path: str) -> int:
    """Return a descriptor, -1 where there is no such file: nobody holds it, and it can be mended.

    Raises: OSError.
    """
    try:
        return os.open(path, LOCK_FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return -1
    except OSError:
        if os.path.islink(path):
            return -1
        raise


def _take(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
