"""Spare files: what finished messages leave in pid/ to be written again.

To free two inodes and to find two new ones is most of what a small message costs on ext4; without a
journal it also avoids inodes that were freed in the last minutes, one by one. So qmail-clean only
renames the files of a finished message, and qmail-queue writes the next one over them.

One rule makes that safe: a spare is used only after a sync that came after its rename. Before that,
a power cut could bring the old names back, now with the bytes of another message behind them.
"""

from dataclasses import dataclass
from typing import Final

from qmail.core.fs import Fs
from qmail.core.queue_layout import SPARE

FEW: Final = 64
SPARES_MAX: Final = 2048


@dataclass(frozen=True, slots=True)
class File:
    """A file open for writing: where it is, its inode number, and how long it was."""

    path: str
    fd: int
    number: int
    size: int


class Spares:
    """The spares of one queue, for its one resident writer."""

    def __init__(self, fs: Fs) -> None:
        self._fs = fs
        self._ready: list[str] = []
        self._seen: list[str] = []

    def take(self) -> File | None:
        """Open one spare that is safe to use; None when there is none."""
        while self._ready:
            path = self._ready.pop()
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
        if self._seen or len(self._ready) >= FEW:
            return
        ready = set(self._ready)
        found = [
            path
            for name, _ in self._fs.names("pid")
            if name.startswith(SPARE) and (path := f"pid/{name}") not in ready
        ]
        self._remove(found[SPARES_MAX:])
        self._seen = found[:SPARES_MAX]

    def synced(self) -> None:
        """A sync that began after `look` has succeeded: what was seen may be used."""
        self._ready += self._seen
        self._seen = []

    def drop(self) -> int:
        """Remove all: nothing was queued for a while. Returns: how many there were."""
        found = [f"pid/{name}" for name, _ in self._fs.names("pid") if name.startswith(SPARE)]
        self._ready, self._seen = [], []
        self._remove(found)
        return len(found)

    def _remove(self, paths: list[str]) -> None:
        for path in paths:
            try:
                self._fs.unlink(path)
            except OSError:
                continue
