"""A disk in memory that loses its power after any operation, fills up, or fails to sync.

What is true of it, and why it is so unkind:

- A name (create, rename, link, unlink, a time) is on disk only after `sync`. Until then a power cut
  keeps some first part of the unsynced names, in the order in which they were made: a journal, as
  ext4, xfs and btrfs have.
- Bytes are on disk only after `sync` or `fsync` of their file, and until then any part of them may
  be: nothing, the first half, zeros of the right length, all. A name can be on disk before the
  bytes of its file.
- `fsync` of a file keeps its bytes and no name, as POSIX says; of a folder, the names in it and
  none elsewhere: a file that was moved there may be in its old place as well. With
  `fsync_keeps_names` both carry all earlier names with them, as the journals above do in practice.
- An inode number is used again as soon as its file is gone, the lowest first.
- A sync that fails drops its bytes for good: the next one claims success and does not write them.
  Each program that syncs is told of the failure once, as Linux does since 5.8.

Each call that changes something is one operation of the disk's `Power`, which several disks can
share. A power cut in the middle of a sync is a cut before it with part of the bytes and names kept,
so `Choice` covers it.
"""

import errno
import os
import stat
from collections.abc import Iterator
from random import Random
from zlib import crc32

from tests.sim.inodes import (
    Change,
    Inode,
    Opened,
    apply,
    clean,
    describe,
    drop,
    put,
    split,
    survivor,
)
from tests.sim.power import Choice, Power, Torn
from tests.sim.simclock import SimClock

from qmail.core.fs import FileInfo

FIRST_INODE = 11
FOLDER_INODES = 1_000_000


def _error(code: int, path: str) -> OSError:
    return OSError(code, os.strerror(code), path)


class SimFs:
    """The Fs in memory. `fail_write` and `fail_sync` number the write and the sync that fail."""

    def __init__(self, power: Power | None = None, clock: SimClock | None = None) -> None:
        self.power = power or Power()
        self.clock = clock or SimClock()
        self.fsync_keeps_names = False
        self.fail_write: int | None = None
        self.fail_sync: int | None = None
        self._listings = 0
        self._failures = 0
        self._told: dict[str, int] = {}
        self.writes = 0
        self.syncs = 0
        self._files: dict[str, Inode] = {}
        self._durable: dict[str, Inode] = {}
        self._waiting: list[Change] = []
        self._dirty: list[Inode] = []
        self._folders: dict[str, dict[str, Inode]] = {"": {}}
        self._opened: dict[int, Opened] = {}
        self._opened_folders: dict[int, str] = {}
        self._used: set[int] = set()
        self._lowest = FIRST_INODE
        """All numbers below this are in use."""
        self._next_fd = 100

    # --- for tests ------------------------------------------------------------------------------

    def make_folder(self, path: str) -> None:
        """Make a folder, and those above it, on disk at once: no operation."""
        parts = path.split("/")
        for count in range(1, len(parts) + 1):
            self._folders.setdefault("/".join(parts[:count]), {})

    @property
    def waiting(self) -> int:
        """How many names wait for a sync."""
        return len(self._waiting)

    @property
    def is_clean(self) -> bool:
        """True when a power cut takes nothing."""
        return not self._waiting and not any(inode.is_dirty for inode in self._dirty)

    def drop_descriptors(self) -> None:
        """Close all that is open: the one program that had files open was killed."""
        for fd in [*self._opened, *self._opened_folders]:
            self.close(fd)

    def files(self) -> dict[str, bytes]:
        """Return path -> bytes of every file."""
        return {path: bytes(inode.data) for path, inode in self._files.items()}

    def heal(self) -> None:
        """Forget failures that were planned and have not happened."""
        self.fail_write = self.fail_sync = None

    def opened_anew(self, who: str) -> None:
        """Note that a program was started again: it is not told of older failures."""
        self._told[who] = self._failures

    def fail_next(self, *, write: bool) -> None:
        """Let the next write find the disk full, or else the next sync fail."""
        if write:
            self.fail_write = self.writes
        else:
            self.fail_sync = self.syncs

    def fingerprint(self) -> frozenset[tuple[str, int, bytes, float]]:
        """Return what tells two disks apart on which nothing waits."""
        return frozenset(
            (path, inode.number, inode.disk, inode.mtime) for path, inode in self._files.items()
        )

    def after_power_cut(
        self, choice: Choice, power: Power | None = None, clock: SimClock | None = None
    ) -> "SimFs":
        """Return the disk as it is found when the power is back."""
        found = SimFs(power, clock or SimClock(self.clock.now()))
        found.fsync_keeps_names = self.fsync_keeps_names
        found._folders = {path: {} for path in self._folders}
        random = None if choice.seed is None else Random(choice.seed)
        names, times = self._survivors(choice.names)
        copies: dict[Inode, Inode] = {}
        for path, inode in sorted(names.items()):
            copy = copies.get(inode)
            if copy is None:
                torn = random.choice(list(Torn)) if random else choice.torn
                copy = copies[inode] = survivor(inode, torn, times.get(inode))
            copy.links += 1
            found._enter(path, copy)
            found._durable[path] = copy
            found._used.add(copy.number)
        return found

    def _survivors(self, count: int) -> tuple[dict[str, Inode], dict[Inode, float]]:
        names = dict(self._durable)
        times: dict[Inode, float] = {}
        for change in self._waiting[:count]:
            apply(change, names)
            if change.mtime is not None and change.inode is not None:
                times[change.inode] = change.mtime
        return names, times

    # --- the tree -------------------------------------------------------------------------------

    def _place(self, path: str) -> tuple[dict[str, Inode], str]:
        folder, _, name = path.rpartition("/")
        entries = self._folders.get(folder)
        if entries is None:
            above = folder
            while above and above not in self._files:
                above = above.rpartition("/")[0]
            raise _error(errno.ENOTDIR if above else errno.ENOENT, path)
        return entries, name

    def _enter(self, path: str, inode: Inode) -> None:
        entries, name = self._place(path)
        entries[name] = inode
        self._files[path] = inode

    def _leave(self, path: str) -> Inode:
        entries, name = self._place(path)
        del entries[name]
        return self._files.pop(path)

    def _find(self, path: str) -> Inode:
        self._place(path)
        inode = self._files.get(path)
        if inode is None:
            raise _error(errno.EISDIR if path in self._folders else errno.ENOENT, path)
        return inode

    def _free(self, inode: Inode) -> None:
        if not inode.links and not inode.opens:
            self._used.discard(inode.number)
            self._lowest = min(self._lowest, inode.number)

    def _new_inode(self, path: str, mode: int) -> Inode:
        inode = self._unnamed_inode(mode)
        self._add_name(path, inode)
        return inode

    def _add_name(self, path: str, inode: Inode) -> None:
        inode.links += 1
        self._enter(path, inode)
        self._waiting.append(Change(added=path, inode=inode))

    def _unnamed_inode(self, mode: int) -> Inode:
        number = self._lowest
        while number in self._used:
            number += 1
        self._used.add(number)
        self._lowest = number + 1
        now = self.clock.now()
        return Inode(number, stat.S_IFREG | mode, bytearray(), b"", now, now, now)

    def _open(self, inode: Inode, *, appends: bool) -> int:
        inode.opens += 1
        self._next_fd += 1
        self._opened[self._next_fd] = Opened(inode, 0, appends)
        return self._next_fd

    def _of(self, fd: int) -> Opened:
        found = self._opened.get(fd)
        if found is None:
            raise _error(errno.EBADF, str(fd))
        return found

    def _touch(self, inode: Inode) -> None:
        inode.mtime = inode.ctime = inode.disk_mtime = self.clock.now()
        self._soil(inode)

    def _soil(self, inode: Inode) -> None:
        if not inode.is_dirty:
            inode.is_dirty = True
            self._dirty.append(inode)

    # --- Fs -------------------------------------------------------------------------------------

    def create(self, path: str, mode: int = 0o644) -> int:
        """Create a file that must not exist; return a descriptor for writing."""
        self.power.step()
        self._place(path)
        if path in self._files or path in self._folders:
            raise _error(errno.EEXIST, path)
        return self._open(self._new_inode(path, mode), appends=False)

    def create_unnamed(self, folder: str, mode: int = 0o644) -> int:
        """Create a file that has no name; return a descriptor for writing."""
        self.power.step()
        self._place(f"{folder}/")
        return self._open(self._unnamed_inode(mode), appends=False)

    def name(self, fd: int, path: str) -> None:
        """Give an unnamed file its name, which must not exist."""
        self.power.step()
        self._place(path)
        inode = self._of(fd).inode
        if path in self._files or path in self._folders:
            raise _error(errno.EEXIST, path)
        inode.ctime = self.clock.now()
        self._add_name(path, inode)

    def open_append(self, path: str, mode: int = 0o600) -> int:
        """Open a file for writing at its end, made when missing; return a descriptor."""
        self.power.step()
        self._place(path)
        if path in self._folders:
            raise _error(errno.EISDIR, path)
        return self._open(self._files.get(path) or self._new_inode(path, mode), appends=True)

    def reuse(self, path: str) -> int:
        """Open an existing file for writing from its start; return a descriptor."""
        self.power.check()
        return self._open(self._find(path), appends=False)

    def write(self, fd: int, data: bytes) -> None:
        """Write all of `data`; half of it where the disk is full."""
        self.power.step()
        opened = self._of(fd)
        self.writes += 1
        is_full = self.writes - 1 == self.fail_write
        kept = data[: len(data) // 2] if is_full else data
        inode = opened.inode
        start = len(inode.data) if opened.appends else opened.position
        put(inode.data, start, kept)
        opened.position = start + len(kept)
        self._touch(inode)
        if is_full:
            raise _error(errno.ENOSPC, str(fd))

    def fsync(self, fd: int) -> None:
        """Put the file's bytes on disk."""
        self.power.step()
        folder = self._opened_folders.get(fd)
        inode = None if folder is not None else self._of(fd).inode
        if self._fails():
            if inode is not None:
                drop(inode)
            raise _error(errno.EIO, str(fd))
        if inode is not None:
            clean(inode)
        if self.fsync_keeps_names:
            self._keep_names()
        elif folder is not None:
            self._keep_names_in(folder)

    def open_folder(self, path: str) -> int:
        """Open a folder; `fsync` of the descriptor puts the names in it on disk."""
        self.power.check()
        if path not in self._folders:
            raise _error(errno.ENOTDIR if path in self._files else errno.ENOENT, path)
        self._next_fd += 1
        self._opened_folders[self._next_fd] = path
        return self._next_fd

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        self.power.check()
        if self._opened_folders.pop(fd, None) is not None:
            return
        inode = self._of(fd).inode
        del self._opened[fd]
        inode.opens -= 1
        self._free(inode)

    def info_of(self, fd: int) -> FileInfo:
        """Describe an open file."""
        self.power.check()
        return describe(self._of(fd).inode)

    def overwrite(self, path: str, offset: int, data: bytes) -> None:
        """Write `data` over what is at `offset`; the file keeps its length and its mtime."""
        self.power.step()
        inode = self._find(path)
        put(inode.data, offset, data)
        inode.ctime = self.clock.now()
        self._soil(inode)

    def truncate(self, fd: int, size: int) -> None:
        """Cut an open file back to `size` bytes."""
        self.power.step()
        inode = self._of(fd).inode
        del inode.data[size:]
        put(inode.data, size, b"")
        self._touch(inode)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, in one step, in place of any file of that name."""
        self.power.step()
        inode = self._find(old)
        self._place(new)
        if new in self._folders:
            raise _error(errno.EISDIR, new)
        replaced = self._files.get(new)
        if replaced is inode:
            return
        self._leave(old)
        if replaced is not None:
            replaced.links -= 1
            self._free(replaced)
        self._enter(new, inode)
        inode.ctime = self.clock.now()
        self._waiting.append(Change(removed=old, added=new, inode=inode))

    def link(self, old: str, new: str) -> None:
        """Give a file a second name that must not exist."""
        self.power.step()
        inode = self._find(old)
        self._place(new)
        if new in self._files or new in self._folders:
            raise _error(errno.EEXIST, new)
        inode.ctime = self.clock.now()
        self._add_name(new, inode)

    def unlink(self, path: str) -> None:
        """Remove a name."""
        self.power.step()
        self._find(path)
        inode = self._leave(path)
        inode.links -= 1
        inode.ctime = self.clock.now()
        self._free(inode)
        self._waiting.append(Change(removed=path))

    def set_mtime(self, path: str, when: float) -> None:
        """Set atime and mtime, seconds since 1970."""
        self.power.step()
        inode = self._find(path)
        inode.mtime = when
        inode.ctime = self.clock.now()
        self._waiting.append(Change(inode=inode, mtime=when))

    def sync(self) -> None:
        """Put every write and every name so far on disk."""
        self.power.step()
        if self._fails():
            for inode in self._dirty:
                drop(inode)
        else:
            for inode in self._dirty:
                clean(inode)
            self._keep_names()
        self._dirty.clear()
        who = self.power.who
        if self._told.get(who, 0) < self._failures:
            self._told[who] = self._failures
            raise _error(errno.EIO, "sync")

    def _fails(self) -> bool:
        self.syncs += 1
        if self.syncs - 1 != self.fail_sync:
            return False
        self._failures += 1
        return True

    def _keep_names(self) -> None:
        for change in self._waiting:
            apply(change, self._durable)
            if change.mtime is not None and change.inode is not None:
                change.inode.disk_mtime = change.mtime
        self._waiting.clear()

    def _keep_names_in(self, folder: str) -> None:
        """Put the names of one folder on disk; what else a change did still waits."""
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            here, rest = split(change, folder)
            apply(here, self._durable)
            if not rest.is_nothing:
                self._waiting.append(rest)

    def read(self, path: str, bytes_max: int) -> bytes:
        """Return the whole file.

        Raises: OSError (EFBIG): longer than `bytes_max`.
        """
        self.power.check()
        data = self._find(path).data
        if len(data) > bytes_max:
            raise _error(errno.EFBIG, path)
        return bytes(data)

    def parts(self, path: str) -> Iterator[bytes]:
        """Yield the file in parts."""
        self.power.check()
        data = bytes(self._find(path).data)
        for start in range(0, len(data), 64):
            yield data[start : start + 64]

    def parts_on_disk(self, path: str) -> Iterator[bytes]:
        """Do as `parts`; what a failed sync has dropped is not there any more."""
        self.power.check()
        inode = self._find(path)
        if not inode.is_dirty:
            inode.data[:] = inode.disk
        return self.parts(path)

    def info(self, path: str) -> FileInfo | None:
        """Describe a file; None when there is none of that name."""
        self.power.check()
        if path in self._folders:
            now = self.clock.now()
            return FileInfo(FOLDER_INODES, 0, now, now, 0, stat.S_IFDIR | 0o755)
        try:
            return describe(self._find(path))
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield name and inode number of every entry of a folder, in no order."""
        self.power.check()
        entries = self._folders.get(folder)
        if entries is None:
            self._place(folder)
            raise _error(errno.ENOTDIR if folder in self._files else errno.ENOENT, folder)
        self._listings += 1
        salt = b"%d" % self._listings
        for name, inode in sorted(entries.items(), key=lambda e: crc32(salt + e[0].encode())):
            yield name, inode.number
        inside = f"{folder}/" if folder else ""
        for index, path in enumerate(self._folders):
            if path.startswith(inside) and path and "/" not in path[len(inside) :]:
                yield path[len(inside) :], FOLDER_INODES + index
