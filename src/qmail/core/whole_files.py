"""Files that are read, or made anew, as a whole: all of a new one appears at once, or none."""

from __future__ import annotations

import errno
import fcntl
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Final

PART_BYTES: Final = 65536


def read_whole(
    path: str | bytes, bytes_max: int, *, follows_links: bool = True
) -> tuple[bytes, os.stat_result]:
    """Return what a file holds, and what it was when it was opened.

    Raises: OSError: it can't be read, is longer than `bytes_max`, or is no file; with
    `follows_links` false also where its name is a symbolic link.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(path, flags if follows_links else flags | os.O_NOFOLLOW)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a file", os.fsdecode(path))
        return read_descriptor(fd, bytes_max, os.fsdecode(path)), found
    finally:
        os.close(fd)


def read_descriptor(fd: int, bytes_max: int, name: str) -> bytes:
    """Return everything up to the end; `name` is for the message.

    Raises: OSError: it can't be read, or is longer than `bytes_max`.
    """
    parts = []
    size = 0
    while part := os.read(fd, PART_BYTES):
        parts.append(part)
        size += len(part)
        if size > bytes_max:
            raise OSError(errno.EFBIG, f"longer than {bytes_max} bytes", name)
    return b"".join(parts)


def replace_file(
    path: str | bytes,
    temporary: str | bytes,
    write: Callable[[IO[bytes]], None],
    *,
    mode: int = 0o644,
) -> None:
    """Have `write` fill a file that then is `path`, durable; else the old one stays.

    `temporary` is a name in the same folder, which nobody else may write into.
    Raises: OSError: it can't be written, or somebody else is writing it now. Whatever `write`
    raises goes through.
    """
    fd = _open_alone(temporary)
    try:
        try:
            with open(fd, "wb", closefd=False) as file:
                write(file)
            os.fchmod(fd, mode)
            os.fsync(fd)
            os.rename(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    finally:
        os.close(fd)
    _sync_folder(path)


def _open_alone(temporary: str | bytes) -> int:
    """Open an empty file that nobody else writes; the lock goes with the descriptor."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        fd = os.open(temporary, flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(temporary, fd):
                _empty(fd, temporary)
                return fd
        except BlockingIOError:
            os.close(fd)
            text = "another program is writing it now"
            raise OSError(errno.EBUSY, text, os.fsdecode(temporary)) from None
        except BaseException:
            os.close(fd)
            raise
        # Between our two steps its writer has finished and given it its real name.
        os.close(fd)


def _empty(fd: int, temporary: str | bytes) -> None:
    """Cut what was left in the file; one with a second name may be somebody's trap."""
    if os.fstat(fd).st_nlink != 1:
        raise OSError(errno.EMLINK, "has another name too", os.fsdecode(temporary))
    os.ftruncate(fd, 0)


def _is_still(path: str | bytes, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(fd))
    except FileNotFoundError:
        return False


def _sync_folder(path: str | bytes) -> None:
    """Put the file's name on disk: rename alone does not (design.md, "Durability")."""
    folder = os.path.dirname(os.path.abspath(path))
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
