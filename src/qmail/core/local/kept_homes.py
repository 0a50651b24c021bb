"""Homes and their `.qmail` files, kept from turn to turn while the disk says they are the same.

A file is taken as it was read where its name still leads to the same inode with the same size,
times, mode and owner. That proves it unchanged only if no change can have left all of these alone:

- it was last changed well before it was read, so that a later change has a later time, however
  coarse the clock of the file system is;
- it lies on a disk of this machine: a network file system may answer for a while from memory.

Anything else is read anew each time. (What is written through a memory map gets its time late; no
editor works like that.) A name that leads nowhere, and the home itself, are looked up every time.
"""

import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from qmail.core.local.home_files import DotqmailFile, DotqmailFiles, HomeFiles, put_off
from qmail.core.local.plan import open_home, wrong_with_mode

HOMES_MAX: Final = 16
FILES_MAX: Final = 100
TEXT_BYTES_MAX: Final = 65536
"""A longer file is read anew: a list is used once, and would only take memory."""
SETTLED_NS: Final = 2_500_000_000
"""No file system on a disk counts time in steps of more than two seconds."""

Signature = tuple[int, ...]


def signature_of(found: os.stat_result) -> Signature:
    """Return what differs after any change of a file."""
    return (
        found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns,
        found.st_mode, found.st_uid,
    )  # fmt: skip


def is_on_a_disk(found: os.stat_result) -> bool:
    """Say whether a file lies on a block device: others, as NFS, have no device of their own."""
    return os.major(found.st_dev) != 0


@dataclass(slots=True)
class _Home:
    """An open home; `identity` is what its path leads to as long as it is the same folder."""

    fd: int
    identity: tuple[int, int]
    files: "KeptFiles"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """When a signature is proof: handed in, so that tests need no waiting."""

    now_ns: Callable[[], int] = time.time_ns
    is_certain: Callable[[os.stat_result], bool] = is_on_a_disk


@dataclass(slots=True)
class KeptFiles:
    """The files of one home, read when they are new or have changed."""

    home: HomeFiles
    fd: int
    trust: Trust
    known: dict[bytes, tuple[Signature, DotqmailFile]] = field(default_factory=dict)

    def read(self, name: bytes) -> DotqmailFile | None:
        """Return the file `name`, None where there is none. Raises: StoppedError."""
        known = self.known.get(name)
        if known is not None:
            if self._is_still(name, known[0]):
                return known[1]
            del self.known[name]
        started_ns = self.trust.now_ns()
        read = self.home.read_with_stat(name)
        if read is None:
            return None
        file, found = read
        if self._may_keep(file, found, started_ns):
            if len(self.known) >= FILES_MAX:
                self.known.clear()
            self.known[name] = (signature_of(found), file)
        return file

    def exists(self, name: bytes) -> bool:
        """Say whether there is anything of that name. Raises: StoppedError: no telling now."""
        return self.home.exists(name)

    def _is_still(self, name: bytes, signature: Signature) -> bool:
        try:
            return signature_of(os.stat(name, dir_fd=self.fd)) == signature
        except OSError:
            # What that means for the mail, reading will tell.
            return False

    def _may_keep(self, file: DotqmailFile, found: os.stat_result, started_ns: int) -> bool:
        is_settled = found.st_ctime_ns + SETTLED_NS < started_ns
        return is_settled and len(file.text) <= TEXT_BYTES_MAX and self.trust.is_certain(found)


class KeptHomes:
    """The homes in use by one process. `patrn`: mode bits that neither they nor files may have."""

    def __init__(self, patrn: int, trust: Trust | None = None) -> None:
        self._patrn = patrn
        self._trust = trust or Trust()
        self._kept: dict[bytes, _Home] = {}

    def enter(self, path: bytes) -> DotqmailFiles:
        """Return the files of the home at `path`, valid until the next call.

        Raises: StoppedError: as `open_home`.
        """
        home = self._kept.get(path)
        if home is not None:
            mode = _mode_if_same(path, home.identity)
            if mode is not None:
                wrong = wrong_with_mode(mode, self._patrn, sticky_is_fine=False)
                if wrong:
                    raise put_off(wrong)
                return home.files
            self._forget(path)
        fd = open_home(path, patrn=self._patrn)
        if len(self._kept) >= HOMES_MAX:
            for other in list(self._kept):
                self._forget(other)
        found = os.fstat(fd)
        files = KeptFiles(HomeFiles(fd, self._patrn), fd, self._trust)
        self._kept[path] = _Home(fd, (found.st_dev, found.st_ino), files)
        return files

    def _forget(self, path: bytes) -> None:
        os.close(self._kept.pop(path).fd)


def _mode_if_same(path: bytes, identity: tuple[int, int]) -> int | None:
    """Return the mode of the folder at `path`; None where it is another one, or none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    is_same = (found.st_dev, found.st_ino) == identity and stat.S_ISDIR(found.st_mode)
    return found.st_mode if is_same else None
