"""A log in a folder, kept as multilog keeps one (spec/companion.md 5).

`current` is being written; with the owner's x bit it is complete and safe on disk. A full one is
synced and renamed to `@TAI64N.s`, one that a crash left to `@TAI64N.u`; the oldest are removed.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable
from typing import Final

from qmail.protocol.tai64n import LABEL_BYTES, from_tai64n, tai64n

CURRENT: Final = "current"
WRITING: Final = 0o640
SAFE: Final = 0o740
FOLDER_MODE: Final = 0o750


class FolderInUseError(Exception):
    """Another logger has the folder."""


class LogFolder:
    """Takes lines; rotates by size. `now_ns` is the time in nanoseconds since 1970."""

    def __init__(
        self, path: str, now_ns: Callable[[], int], *, size_max: int, keep_max: int
    ) -> None:
        """Open the folder, made when missing.

        Raises: OSError: it can't be used. FolderInUseError.
        """
        self._now_ns = now_ns
        self._size_max = size_max
        self._keep_max = keep_max
        self._size = 0
        self._fd = -1
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, FOLDER_MODE)
        self._folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._lock = self._open("lock", os.O_WRONLY | os.O_CREAT)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUseError(f"{path} is in use by another logger") from None
        self._take_up()

    def _open(self, name: str, flags: int) -> int:
        flags |= os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(name, flags, WRITING, dir_fd=self._folder)

    def _take_up(self) -> None:
        """Go on with a `current` that was ended properly; set another one aside."""
        try:
            found = os.stat(CURRENT, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return
        if not found.st_mode & 0o100:
            self._set_aside("u")

    def _begin(self) -> None:
        self._fd = self._open(CURRENT, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.fchmod(self._fd, WRITING)
        self._size = os.fstat(self._fd).st_size

    def write(self, data: bytes) -> int:
        """Write lines from the start of `data`, as many as belong into one file.

        Returns: how many bytes were taken. Raises: OSError: nothing could be done now.
        """
        if self._fd < 0:
            self._begin()
        room = self._size_max - self._size
        end = len(data)
        if end > room:
            end = data.rfind(b"\n", 0, max(0, room)) + 1
            if not end:
                if self._size:
                    self.rotate()
                    return 0
                end = data.find(b"\n") + 1 or len(data)
        written = os.write(self._fd, data[:end])
        self._size += written
        return written

    def rotate(self) -> None:
        """End `current` and begin another one. Raises: OSError: call again later."""
        if self._fd < 0 and not self._size:
            return
        self._end()
        self._set_aside("s")
        self._size = 0

    def _end(self) -> None:
        if self._fd >= 0:
            os.fsync(self._fd)
            os.fchmod(self._fd, SAFE)
            os.close(self._fd)
            self._fd = -1

    def _set_aside(self, kind: str) -> None:
        name = f"{tai64n(self._now_ns()).decode()}.{kind}"
        os.rename(CURRENT, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        os.fsync(self._folder)
        for old in old_files(os.listdir(self._folder))[: -self._keep_max]:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(old, dir_fd=self._folder)

    def close(self) -> None:
        """End `current`: it is complete. Raises: OSError: it may not be on disk."""
        try:
            self._end()
        finally:
            os.close(self._lock)
            os.close(self._folder)


def old_files(names: list[str]) -> list[str]:
    """Return the names of ended files among `names`, the oldest first."""
    return sorted(
        name
        for name in names
        if name[LABEL_BYTES:] in (".s", ".u")
        and from_tai64n(name[:LABEL_BYTES].encode(errors="replace")) is not None
    )
