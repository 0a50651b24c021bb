"""Spare files: what finished messages leave in pid/ to be written again.

To free two inodes and to find two new ones is most of what a small message costs on ext4; without a
journal it also avoids inodes that were freed in the last minutes, one by one. So qmail-clean only
renames the files of a finished message, and qmail-queue writes the next one over them.

Two rules make that safe. A spare is used only after a sync that came after its rename: before that,
a power cut could bring the old names back, now with the bytes of another message behind them. And
each is named by its own inode number, so that nobody else comes to have the name of one in use: a
former envelope keeps its name until the commit that makes it todo/N.
"""

from typing import Final, NamedTuple

from qmail.core.fs import Fs
from qmail.core.queue_layout import SPARE

FEW: Final = 64
SPARES_MAX: Final = 1024
LOOK_EVERY: Final = 8
"""Commits between two looks into pid/: reading a folder of that size is not free."""


class File(NamedTuple):
    """A file open for writing: where it is, its inode number, and how long it was."""

    path: str
    fd: int
    number: int
    size: int


class Spares:
    """The spares of one queue, for its one resident writer: former messages, former envelopes."""

    def __init__(self, fs: Fs) -> None:
        self._fs = fs
        self._messages: list[str] = []
        self._envelopes: list[str] = []
        self._seen: list[str] = []
        self._in_use: set[str] = set()
        self._commits = LOOK_EVERY

    def take_message(self) -> File | None:
        """Open a former message that is safe to write over; None when there is none."""
        return self._take(self._messages)

    def take_envelope(self) -> File | None:
        """Open a former envelope, likewise. It keeps its path until the next commit."""
        file = self._take(self._envelopes)
        if file is not None:
            self._in_use.add(file.path)
        return file

    def _take(self, ready: list[str]) -> File | None:
        while ready:
            path = ready.pop()
            try:
                fd = self._fs.reuse(path)
            except OSError:
                # Removed by hand or by age: it was only a convenience.
                continue
            found = self._fs.info_of(fd)
            return File(path, fd, found.inode, found.size)
        return None

    def look(self) -> None:
        """See which spares there are, if few are left; call before a sync."""
        self._commits += 1
        # The commit that begins gives all of these their names in todo, or removes them.
        in_use, self._in_use = self._in_use, set()
        if self._seen or min(len(self._messages), len(self._envelopes)) >= FEW:
            return
        if self._commits < LOOK_EVERY and self._messages:
            return
        self._commits = 0
        known = {*self._messages, *self._envelopes, *in_use}
        try:
            found = [path for path in self._all() if path not in known]
        except OSError:
            # Only a convenience: the messages that wait for this sync come first.
            return
        room = max(0, SPARES_MAX - len(known))
        self._remove(found[room:])
        self._seen = found[:room]

    def synced(self) -> None:
        """A sync that began after `look` has succeeded: what was seen may be used."""
        for path in self._seen:
            (self._envelopes if path.endswith(".todo") else self._messages).append(path)
        self._seen = []

    def blank(self) -> None:
        """Empty all of them: nothing was queued for a while, and they hold what came last."""
        full = [path for path in self._all() if (f := self._fs.info(path)) is not None and f.size]
        if full:
            # As for writing: not before their old names are gone for good.
            self._fs.sync()
        for path in full:
            fd = self._fs.reuse(path)
            try:
                self._fs.truncate(fd, 0)
            finally:
                self._fs.close(fd)

    def _all(self) -> list[str]:
        return [f"pid/{name}" for name, _ in self._fs.names("pid") if name.startswith(SPARE)]

    def _remove(self, paths: list[str]) -> None:
        for path in paths:
            try:
                self._fs.unlink(path)
            except OSError:
                continue
