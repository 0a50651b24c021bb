"""The seam for the disk: every change that queue and maildir make goes through one `Fs`.

`RealFs` and the simulated disk of tests/sim pass the same suite. A name is on disk only after
`sync` (or fsync of its folder) has returned: on Linux, neither link nor rename is durable before.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final, Protocol
else:
    # Programs that start for one message or one session can do without the module `typing`.
    Protocol = object

PART_BYTES: Final = 262144
_DESCRIPTORS: Final = "/proc/self/fd"
"""The way to an open file that has no name (open(2), O_TMPFILE)."""
_NOT_WITHOUT_NAME: Final = (errno.EOPNOTSUPP, errno.EISDIR)
"""What open says where the file system has no O_TMPFILE (open(2)): some network file systems."""


class FileInfo(Record):
    """What the queue needs to know of a file. Times are seconds since 1970."""

    inode: int
    size: int
    mtime: float
    newest: float
    """Latest of atime, mtime and ctime: the age that noatime and readers can't falsify."""
    uid: int
    mode: int

    @property
    def is_regular(self) -> bool:
        """True for a plain file."""
        return stat.S_ISREG(self.mode)


class Fs(Protocol):
    """The disk operations of queue and maildir. Paths are relative to one root, `/` separated.

    Every method raises OSError as the system call does.
    """

    def create(self, path: str, mode: int = 0o644) -> int:
        """Create a file that must not exist; return a descriptor for writing."""

    def create_unnamed(self, folder: str, mode: int = 0o644) -> int:
        """Create a file on the disk of `folder`; return a descriptor for writing.

        It has no name: closed without `name`, or left by a crash, it is gone.
        """

    def name(self, fd: int, path: str) -> None:
        """Give the unnamed file `fd` its name, which must not exist."""

    def open_append(self, path: str, mode: int = 0o600) -> int:
        """Open a file for writing at its end, made when missing; return a descriptor."""

    def reuse(self, path: str) -> int:
        """Open an existing file for writing from its start; return a descriptor."""

    def open_folder(self, path: str) -> int:
        """Open a folder; `fsync` of the descriptor puts the names in it on disk."""

    def write(self, fd: int, data: bytes) -> None:
        """Write all of `data`."""

    def fsync(self, fd: int) -> None:
        """Put the file's bytes on disk, or the names in a folder."""

    def close(self, fd: int) -> None:
        """Close a descriptor of this disk."""

    def info_of(self, fd: int) -> FileInfo:
        """Describe an open file."""

    def overwrite(self, path: str, offset: int, data: bytes) -> None:
        """Write `data` over what is at `offset`; the file keeps its length and its mtime."""

    def truncate(self, fd: int, size: int) -> None:
        """Cut an open file back to `size` bytes."""

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, in one step, in place of any file of that name."""

    def link(self, old: str, new: str) -> None:
        """Give a file a second name that must not exist."""

    def unlink(self, path: str) -> None:
        """Remove a name."""

    def set_mtime(self, path: str, when: float) -> None:
        """Set atime and mtime, seconds since 1970."""

    def sync(self) -> None:
        """Put every write and every name so far on disk: the group commit."""

    def read(self, path: str, bytes_max: int) -> bytes:
        """Return the whole file.

        Raises: OSError (EFBIG): longer than `bytes_max`.
        """

    def parts(self, path: str) -> Iterator[bytes]:
        """Yield a file of any length in parts."""

    def parts_on_disk(self, path: str) -> Iterator[bytes]:
        """Do as `parts`, and read from the disk what was synced, or should have been.

        After a sync that failed memory has bytes that the disk lacks, and no later sync writes
        them. What waits for its first sync comes from memory still.
        """

    def info(self, path: str) -> FileInfo | None:
        """Describe a file; None when there is none of that name."""

    def names(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield name and inode number of every entry of a folder, in no order."""


def describe(found: os.stat_result) -> FileInfo:
    """Return what the queue needs to know of a file."""
    newest = max(found.st_atime, found.st_mtime, found.st_ctime)
    return FileInfo(
        found.st_ino, found.st_size, found.st_mtime, newest, found.st_uid, found.st_mode
    )


class RealFs:
    """The file system below the folder `root`."""

    def __init__(self, root: str) -> None:
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._can_name = os.path.isdir(_DESCRIPTORS)
        self._stand_ins: dict[int, str] = {}
        """Descriptor -> name of an "unnamed" file where there can be no such thing."""

    def release(self) -> None:
        """Close the root: nothing works any more. For programs that visit many folders."""
        os.close(self._root)

    def create(self, path: str, mode: int = 0o644) -> int:
        """Create a file that must not exist; return a descriptor for writing."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(path, flags, mode, dir_fd=self._root)

    def create_unnamed(self, folder: str, mode: int = 0o644) -> int:
        """Create a file on the disk of `folder`; return a descriptor for writing.

        Where that can't be without a name, it has one that `name` and `close` take away; then a
        crash leaves it in `folder`.
        """
        flags = os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC
        if self._can_name:
            try:
                return os.open(folder, flags, mode, dir_fd=self._root)
            except OSError as trouble:
                if trouble.errno not in _NOT_WITHOUT_NAME:
                    raise
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        # The classic form of names in pid/ (spec/queue.md 3), which `qmail queue check` knows.
        path = f"{folder}/{os.getpid()}.{seconds}.{nanoseconds}"
        fd = self.create(path, mode)
        self._stand_ins[fd] = path
        return fd

    def name(self, fd: int, path: str) -> None:
        """Give the unnamed file `fd` its name, which must not exist."""
        stand_in = self._stand_ins.get(fd)
        if stand_in is None:
            os.link(f"{_DESCRIPTORS}/{fd}", path, dst_dir_fd=self._root, follow_symlinks=True)
            return
        self.link(stand_in, path)
        del self._stand_ins[fd]
        self.unlink(stand_in)

    def open_append(self, path: str, mode: int = 0o600) -> int:
        """Open a file for writing at its end, made when missing; return a descriptor."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
        return os.open(path, flags, mode, dir_fd=self._root)

    def open_existing(self, path: str, flags: int = os.O_RDONLY) -> int:
        """Open a file that is there; return a descriptor. All that reads or changes one does."""
        return os.open(path, flags | os.O_CLOEXEC, dir_fd=self._root)

    def reuse(self, path: str) -> int:
        """Open an existing file for writing from its start; return a descriptor."""
        return self.open_existing(path, os.O_WRONLY | os.O_NOFOLLOW)

    def open_folder(self, path: str) -> int:
        """Open a folder; `fsync` of the descriptor puts the names in it on disk."""
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._root)

    def write(self, fd: int, data: bytes) -> None:
        """Write all of `data`."""
        written = os.write(fd, data)
        while written < len(data):
            written += os.write(fd, data[written:])

    fsync = staticmethod(os.fsync)
    truncate = staticmethod(os.ftruncate)

    def close(self, fd: int) -> None:
        """Close a descriptor of this disk."""
        os.close(fd)
        if fd in self._stand_ins:
            self.unlink(self._stand_ins.pop(fd))

    def info_of(self, fd: int) -> FileInfo:
        """Describe an open file."""
        return describe(os.fstat(fd))

    def overwrite(self, path: str, offset: int, data: bytes) -> None:
        """Write `data` over what is at `offset`; the file keeps its length and its mtime."""
        fd = self.open_existing(path, os.O_RDWR | os.O_NOFOLLOW)
        try:
            before = os.fstat(fd)
            os.pwrite(fd, data, offset)
            os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
        finally:
            os.close(fd)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, in one step, in place of any file of that name."""
        os.rename(old, new, src_dir_fd=self._root, dst_dir_fd=self._root)

    def link(self, old: str, new: str) -> None:
        """Give a file a second name that must not exist."""
        os.link(old, new, src_dir_fd=self._root, dst_dir_fd=self._root)

    def unlink(self, path: str) -> None:
        """Remove a name."""
        os.unlink(path, dir_fd=self._root)

    def set_mtime(self, path: str, when: float) -> None:
        """Set atime and mtime, seconds since 1970."""
        os.utime(path, (when, when), dir_fd=self._root, follow_symlinks=False)

    def sync(self) -> None:
        """Put every write and every name so far on disk: one syncfs of this file system."""
        # Most readers never sync; what does imports it at its start (core/local/maildir.py).
        from qmail.core.syncfs import syncfs  # noqa: PLC0415

        syncfs(self._root)

    def read(self, path: str, bytes_max: int) -> bytes:
        """Return the whole file.

        Raises: OSError (EFBIG): longer than `bytes_max`.
        """
        fd = self.open_existing(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            data = os.read(fd, min(bytes_max, 65536) + 1)
            if len(data) <= min(bytes_max, 65536):
                return data
            with open(fd, "rb", closefd=False) as rest:
                data += rest.read(bytes_max + 1 - len(data))
        finally:
            os.close(fd)
        if len(data) > bytes_max:
            raise OSError(27, f"{path} is longer than {bytes_max} bytes")
        return data

    def parts_on_disk(self, path: str) -> Iterator[bytes]:
        """Do as `parts`, as far as the system lets go of what it has in memory."""
        fd = self.open_existing(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)
        return self.parts(path)

    def parts(self, path: str) -> Iterator[bytes]:
        """Yield a file of any length in parts."""
        fd = self.open_existing(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            while part := os.read(fd, PART_BYTES):
                yield part
        finally:
            os.close(fd)

    def info(self, path: str) -> FileInfo | None:
        """Describe a file; None when there is none of that name."""
        try:
            return describe(os.stat(path, dir_fd=self._root, follow_symlinks=False))
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield name and inode number of every entry of a folder, in no order."""
        fd = self.open_folder(folder)
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    yield entry.name, entry.inode()
        finally:
            os.close(fd)
