"""Maildir delivery in two steps with a sync after each, so that many messages share the syncs.

    prepare   tmp/NAME is created and written
    (sync)    its bytes are on disk
    publish   it gets its name in new/: a reader never sees half a message, whatever happens
    (sync)    the name is on disk: only now is the delivery a success

`GroupCommit` runs this as a pipeline: the sync that puts one batch's bytes on disk puts the names
of the batch before it there as well. A failed sync is final for its files: they are taken back, and
the retry writes new ones.

A delivery that has no company shares nothing: `fsync` of its file and then of new/ do the same for
it as two syncs of everything, in less than half the time where many processes deliver.
Source: spec/delivery.md 9, design "Durability".

Names hold over NFS. In tmp/ it is the random part that tells two hosts apart which think they are
the same; in new/ device and inode are in the name too, so it can only be this file's, and `rename`
replaces nothing: no `link` is needed to find out whether a name is free.
"""

import contextlib
import errno
import itertools
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import qmail.core.syncfs  # noqa: F401 - here, before a fork, and not in every child
from qmail.core.fs import Fs, RealFs

HOST_BYTES_MAX: Final = 63
NEW_NAME_MAX: Final = 70
"""POP3 calls messages by their names, and those may have 70 characters (RFC 1939 7, UIDL). What is
too long is the host's name: the rest tells messages apart."""
TMP: Final = "tmp/"
NEW: Final = "new/"


@dataclass(frozen=True, slots=True)
class Folder:
    """One maildir: a disk rooted in it, and which file system that is (they are synced once)."""

    fs: Fs
    device: int


def open_folder(path: str) -> tuple[RealFs, int]:
    """Open the maildir at `path`; return its disk and device.

    Raises: OSError: it is missing, or its parts are on different file systems.
    """
    device = os.stat(path).st_dev
    for part in (TMP, NEW):
        if os.stat(os.path.join(path, part)).st_dev != device:
            # One sync could not put both on disk, and rename would not work either.
            raise OSError(errno.EXDEV, "tmp and new are on another disk")
    return RealFs(path), device


class Copy(NamedTuple):
    """One file of a message: its path in tmp/ of its maildir, and the one it gets in new/."""

    folder: Folder
    tmp: str
    new: str


class NameMaker:
    """Makes file names that no other delivery makes: time, pid and counter are not trusted alone.

    Pids repeat, containers share a host name, clocks step: so each process adds a random part.
    """

    __slots__ = ("_count", "_end", "_middle")

    def __init__(self, host: str, *, pid: int, random: bytes) -> None:
        safe_host = host[:HOST_BYTES_MAX].replace("/", "\\057").replace(":", "\\072")
        self._count = itertools.count(1)
        self._middle = f"P{pid}R{random.hex()}Q"
        self._end = "." + (safe_host or "localhost")

    @classmethod
    def of_this_process(cls) -> "NameMaker":
        """Make one for the running process; after a fork the child makes its own."""
        return cls(os.uname().nodename, pid=os.getpid(), random=os.urandom(6))

    def next(self, now_ns: int | None = None) -> str:
        """Return the next name; `now_ns` is nanoseconds since 1970."""
        seconds, fraction = divmod(time.time_ns() if now_ns is None else now_ns, 1_000_000_000)
        micros = fraction // 1000
        return f"{seconds}.M{micros}{self._middle}{next(self._count)}{self._end}"


def prepare(
    folder: Folder, name: str, head: bytes, rest: Iterable[bytes] = (), *, is_alone: bool = False
) -> Copy:
    """Write tmp/NAME: `head`, then the parts of `rest`. Nothing stays behind on failure.

    `name`: as `NameMaker` makes it. `is_alone`: no sync will be shared, so the bytes are put on
    disk here. Returns: the file, with the name it will have in new/.
    Raises: OSError: no maildir there, name taken, disk full, or the message can't be read.
    """
    fs, path = folder.fs, TMP + name
    fd = fs.create(path)
    try:
        try:
            new = NEW + _new_name(name, folder.device, fs.info_of(fd).inode)
            fs.write(fd, head)
            for part in rest:
                fs.write(fd, part)
            if is_alone:
                fs.fsync(fd)
        finally:
            fs.close(fd)
    except BaseException:
        with contextlib.suppress(OSError):
            fs.unlink(path)
        raise
    return Copy(folder, path, new)


def _new_name(name: str, device: int, inode: int) -> str:
    before, letter, after = name.partition("R")
    random, dot, host = after.partition(".")
    unique = f"{before}V{device:x}I{inode:x}{letter}{random}{dot}"
    return unique + host[: max(1, NEW_NAME_MAX - len(unique))]


def publish(copy: Copy) -> None:
    """Give the file its name in new/. Its bytes must be on disk.

    Raises: OSError.
    """
    fs = copy.folder.fs
    try:
        fs.rename(copy.tmp, copy.new)
    except FileNotFoundError:
        # Over NFS the answer to a rename can get lost. The server that is asked again finds it
        # done: no file of that name in tmp/, and in new/ one that no other delivery can have made.
        if fs.info(copy.new) is None:
            raise


def take_back(copy: Copy) -> None:
    """Remove a file whose sync failed, wherever it is; a reader may have been quicker."""
    for path in (copy.tmp, copy.new):
        with contextlib.suppress(OSError):
            copy.folder.fs.unlink(path)


class Settled(NamedTuple):
    """The end of one ticket: on disk where `trouble` is None."""

    ticket: int
    trouble: OSError | None


class GroupCommit:
    """Carries prepared deliveries to disk, all that are waiting at once."""

    def __init__(self) -> None:
        self._written: list[tuple[int, Sequence[Copy]]] = []
        self._named: list[tuple[int, Sequence[Copy]]] = []

    @property
    def is_idle(self) -> bool:
        """True when every ticket is settled."""
        return not self._written and not self._named

    def add(self, ticket: int, copies: Sequence[Copy]) -> None:
        """Take over the prepared files of one delivery."""
        self._written.append((ticket, copies))

    def step(self) -> list[Settled]:
        """Sync once; then the written get their names, and the named are done.

        Returns: the tickets that are settled now.
        """
        written, named = self._written, self._named
        self._written, self._named = [], []
        broken = _sync_all([*written, *named])
        settled = []
        for ticket, copies in named:
            trouble = _first_trouble(copies, broken) if broken else None
            if trouble is not None:
                _take_back_all(copies)
            settled.append(Settled(ticket, trouble))
        for ticket, copies in written:
            trouble = _first_trouble(copies, broken) if broken else None
            trouble = trouble or _publish_all(copies)
            if trouble is None:
                self._named.append((ticket, copies))
            else:
                _take_back_all(copies)
                settled.append(Settled(ticket, trouble))
        return settled


def _sync_all(waiting: list[tuple[int, Sequence[Copy]]]) -> dict[int, OSError]:
    """Sync every file system once. Returns: those that failed."""
    disks = {copy.folder.device: copy.folder.fs for _, copies in waiting for copy in copies}
    broken = {}
    for device, fs in disks.items():
        try:
            fs.sync()
        except OSError as trouble:
            broken[device] = trouble
    return broken


def _first_trouble(copies: Sequence[Copy], broken: dict[int, OSError]) -> OSError | None:
    for copy in copies:
        if copy.folder.device in broken:
            return broken[copy.folder.device]
    return None


def _publish_all(copies: Sequence[Copy]) -> OSError | None:
    for copy in copies:
        try:
            publish(copy)
        except OSError as trouble:
            return trouble
    return None


def _take_back_all(copies: Sequence[Copy]) -> None:
    for copy in copies:
        take_back(copy)


def deliver(folder: Folder, name: str, head: bytes, rest: Iterable[bytes] = ()) -> None:
    """Deliver one message, alone: all steps, both syncs.

    Raises: OSError: it is not delivered, and nothing of it is left.
    """
    finish_alone((prepare(folder, name, head, rest, is_alone=True),))


def finish_alone(copies: Sequence[Copy]) -> None:
    """Publish the files of one delivery, whose bytes are on disk, and put the names there too.

    Raises: OSError: it is not delivered, and nothing of it is left.
    """
    try:
        for copy in copies:
            _publish_for_good(copy)
    except OSError:
        _take_back_all(copies)
        raise


def _publish_for_good(copy: Copy) -> None:
    fs = copy.folder.fs
    # Opened before, so that no failure of the disk from there on goes unnoticed.
    fd = fs.open_folder("new")
    try:
        publish(copy)
        fs.fsync(fd)
    finally:
        fs.close(fd)
