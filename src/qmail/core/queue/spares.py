"""Spares: the two files of a finished message, kept to be written again.

To free two inodes and to find two new ones is most of what a small message costs on ext4; without a
journal it also avoids inodes that were freed in the last minutes, one by one. So qmail-clean only
renames the envelope of a finished message, todo/N, to pid/spare.N.todo: mess/N stays, in state S2,
and the next message is written over both. A quiet queue moves mess/N to pid/spare.N, empty.

Five rules make that safe.

- A spare is used only after a sync that came after its rename: before that, a power cut could bring
  the old name back, now with the bytes of another message behind it.
- Before that sync the former envelope was made unreadable: where the next message is torn in the
  middle of being written, the old pair can't come back looking whole.
- The two files stay together, so that nobody else comes to have the name of one in use.
- A file in mess/ that was not written for an hour is not touched any more: it is the sweep's, which
  removes what is in S2 after 36 hours, and whose order may be on its way to qmail-clean.
- Whoever makes a new file removes the mark that a swept spare of that inode number may have left.
"""

from typing import Final, NamedTuple

from qmail.core.clock import Clock
from qmail.core.fs import FileInfo, Fs
from qmail.core.queue.layout import SPARE, Layout, is_number

FEW: Final = 64
SPARES_MAX: Final = 1024
LOOK_EVERY: Final = 8
"""Commits between two looks into pid/: reading a folder of that size is not free."""
IDLE_S_MAX: Final = 3600
SUFFIX: Final = ".todo"
SPENT: Final = b"x"
"""First byte of an envelope that says nothing any more."""


class Spare(NamedTuple):
    """A spare that was taken: the message file is open, the envelope is not."""

    number: int
    fd: int
    size: int
    path: str
    """Where the message file is: mess/N, or pid/spare.N."""
    envelope: str


def spare_envelope(number: int) -> str:
    """Return the name in pid/ of the former envelope of message `number`."""
    return f"pid/{SPARE}{number}{SUFFIX}"


def _cold(number: int) -> str:
    return f"pid/{SPARE}{number}"


def spare_numbers(fs: Fs) -> list[int]:
    """Return the numbers of all spares. Raises: OSError."""
    return [
        int(digits)
        for name, _ in fs.names("pid")
        if name.startswith(SPARE)
        and name.endswith(SUFFIX)
        and is_number(digits := name[len(SPARE) : -len(SUFFIX)])
    ]


class Spares:
    """The spares of one queue, for its one resident writer."""

    def __init__(self, fs: Fs, clock: Clock, layout: Layout) -> None:
        self._fs = fs
        self._clock = clock
        self._layout = layout
        self._ready: dict[int, None] = {}
        self._seen: list[int] = []
        self._in_use: set[int] = set()
        self._commits = LOOK_EVERY

    def take(self) -> Spare | None:
        """Open a spare that is safe to write over; None when there is none.

        Its envelope keeps the spare's name until the next commit but one at the latest.
        """
        while self._ready:
            number, _ = self._ready.popitem()
            if self._fs.info(spare_envelope(number)) is None:
                # Removed by age, and the number may belong to a message of a lone writer by now.
                continue
            for path in (self._layout.mess(number), _cold(number)):
                try:
                    fd = self._fs.reuse(path)
                except OSError:
                    continue
                found = self._fs.info_of(fd)
                is_cold = path == _cold(number) and found.inode == number
                if is_cold or self._is_ours(number, found):
                    self._in_use.add(number)
                    return Spare(number, fd, found.size, path, spare_envelope(number))
                self._fs.close(fd)
            self._remove(number)
        return None

    def _is_ours(self, number: int, mess: FileInfo | None) -> bool:
        """Tell whether mess/N is a former message, not restored and too young for the sweep."""
        oldest = self._clock.now() - IDLE_S_MAX
        return mess is not None and mess.inode == number and mess.newest > oldest

    def named(self, number: int) -> None:
        """Note that the envelope of a spare that was taken has its own name now, or is gone."""
        self._in_use.discard(number)

    def forget(self, number: int) -> None:
        """Note that a new file has this inode number: the spare of that number is gone."""
        self._ready.pop(number, None)
        if number in self._seen:
            self._seen.remove(number)

    def look(self) -> None:
        """See which spares there are, if few are left; call before a sync."""
        self._commits += 1
        if self._seen or len(self._ready) >= FEW:
            return
        if self._commits < LOOK_EVERY and self._ready:
            return
        self._commits = 0
        known = self._in_use.union(self._ready)
        try:
            found = [number for number in spare_numbers(self._fs) if number not in known]
        except OSError:
            # Only a convenience: the messages that wait for this sync come first.
            return
        room = max(0, SPARES_MAX - len(known))
        for number in found[room:]:
            self._remove(number)
        self._seen = [number for number in found[:room] if self._spend(number)]

    def _spend(self, number: int) -> bool:
        """Break the seal of a former envelope, so that no torn write can look like the old message.

        Returns: whether it could be done.
        """
        try:
            fd = self._fs.reuse(spare_envelope(number))
            try:
                self._fs.write(fd, SPENT)
            finally:
                self._fs.close(fd)
        except OSError:
            return False
        return True

    def synced(self) -> None:
        """A sync that began after `look` has succeeded: what was seen may be used."""
        self._ready.update(dict.fromkeys(self._seen))
        self._seen = []

    def sync_failed(self) -> None:
        """Forget what was seen: what made it safe may not be on disk. The next look begins anew."""
        self._seen = []
        self._commits = LOOK_EVERY

    def blank(self) -> None:
        """Empty all of them and clear mess/: nothing was queued for a while.

        Raises: OSError: not all of it could be done now.
        """
        numbers = [n for n in spare_numbers(self._fs) if n not in self._in_use]
        full = [n for n in numbers if self._is_ours(n, self._fs.info(self._layout.mess(n)))]
        if full:
            # As for writing: not before their old names are gone for good.
            self._fs.sync()
        for number in full:
            self._fs.rename(self._layout.mess(number), _cold(number))
            self._empty(_cold(number))
            self._empty(spare_envelope(number))

    def _empty(self, path: str) -> None:
        fd = self._fs.reuse(path)
        try:
            self._fs.truncate(fd, 0)
        finally:
            self._fs.close(fd)

    def _remove(self, number: int) -> None:
        mess = self._layout.mess(number)
        try:
            paths = [mess] if self._is_ours(number, self._fs.info(mess)) else []
        except OSError:
            return
        # The envelope last: it is what tells that the other one is a spare.
        for path in (*paths, _cold(number), spare_envelope(number)):
            try:
                self._fs.unlink(path)
            except FileNotFoundError:
                continue
            except OSError:
                return
