"""A maildir as a POP3 session sees it: what is there at its start, and what QUIT does to it.

Nothing is locked. Another session, an IMAP server and deliveries may change the maildir meanwhile:
a message whose flags changed is found again by the part of its name that stays the same, one that
is gone is told to be gone, and no number ever means another message.
Source: spec/smtp.md E.3; spec/oddities.md 9; RFC 1939 5 and 6.
"""

from __future__ import annotations

import errno
import os
import time

from qmail.core.fs import RealFs
from qmail.core.local.maildir_sweep import remove_stale
from qmail.core.pop3.listing import base_of, folder_times, list_messages, places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from typing import Final

    from qmail.core.fs import Fs
    from qmail.core.pop3.cache import FolderTimes

SEEN: Final = ":2,"
"""What a message gets behind its name when it moves to cur: no flags (maildir(5))."""
HOT_S: Final = 3.0
"""A folder that was changed so shortly before it was read may have changed again unseen."""
TRIES_MAX: Final = 3


class Maildrop:
    """One maildir. Numbers of messages are counted from 1, and fixed."""

    def __init__(self, fs: Fs, clock: Callable[[], float], temporary: str) -> None:
        """List the messages of the maildir `fs`, and tidy its tmp/.

        `clock` tells seconds since 1970, `temporary` is a name in tmp/ that nobody else uses.
        Raises: FileNotFoundError: no maildir. OSError: it can't be read.
        """
        self._fs = fs
        self._clock = clock
        now = clock()
        remove_stale(fs, now)
        listing = list_messages(fs, now, temporary)
        self._paths = listing.paths
        self.sizes: Sequence[int] = listing.sizes
        """Size of each message on the wire, in bytes."""
        self.uids: Sequence[bytes] = uids_of([base_of(path[4:]) for path in listing.paths])
        """Unique id of each message."""
        self._places: dict[str, str] = {}
        self._read_at: FolderTimes | None = None

    def parts(self, number: int) -> Iterator[bytes]:
        """Yield a message in parts, as it is stored.

        Raises: FileNotFoundError: it is gone. OSError: it can't be read.
        """
        at = number - 1
        for _ in range(TRIES_MAX):
            try:
                parts = self._fs.parts(self._paths[at])
                first = next(parts, b"")
            except FileNotFoundError:
                if not self._find(at):
                    break
                continue
            yield first
            yield from parts
            return
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._paths[at])

    def end(self, deleted: Collection[int]) -> int:
        """Remove these messages, and move the others that are in new to cur.

        Returns: how many could not be removed; one that is gone already is as good as removed.
        """
        left = 0
        for at, path in enumerate(self._paths):
            if at + 1 in deleted:
                left += not self._remove(at)
            elif path.startswith("new/"):
                self._move(path)
        return left

    def _remove(self, at: int) -> bool:
        try:
            for _ in range(TRIES_MAX):
                try:
                    self._fs.unlink(self._paths[at])
                except FileNotFoundError:
                    if self._find(at):
                        continue
                return True
        except OSError:
            return False
        return False

    def _move(self, path: str) -> None:
        name = path[4:]
        try:
            self._fs.rename(path, f"cur/{name if ':' in name else name + SEEN}")
        except OSError:
            # Another reader was quicker, or it stays in new: that is no loss.
            return

    def _find(self, at: int) -> bool:
        """Look where a message is now that is not where it was. False: it is gone.

        Raises: OSError: the maildir can't be read any more.
        """
        base = base_of(self._paths[at][4:])
        if self._is_elsewhere(at, base):
            return True
        for _ in range(TRIES_MAX):
            times = folder_times(self._fs)
            if times == self._read_at:
                return False
            self._places = places(self._fs)
            # Known for certain only where nothing happened just before.
            self._read_at = times if max(times) + HOT_S < self._clock() else None
            if self._is_elsewhere(at, base):
                return True
            if folder_times(self._fs) == times:
                return False
            # A file that is renamed while a folder is read can be missed.
        return False

    def _is_elsewhere(self, at: int, base: str) -> bool:
        path = self._places.get(base)
        if path is None or path == self._paths[at]:
            return False
        self._paths[at] = path
        return True


def uids_of(bases: list[str]) -> list[bytes]:
    """Return the unique ids of messages with these names, up to the first `:`.

    A byte that may not stand in an id becomes `%` and its code (RFC 1939 7, UIDL).
    """
    # A blank may not stand in an id, so where it stands it is one of these.
    text = " ".join(bases)
    if bases and text.isascii() and text.isprintable() and text.count(" ") == len(bases) - 1:
        return text.encode().split(b" ")
    return [_uid(os.fsencode(base)) for base in bases]


def _uid(base: bytes) -> bytes:
    if all(33 <= byte <= 126 for byte in base):
        return base
    return b"".join(
        b"%c" % byte if 33 <= byte <= 126 and byte != 37 else b"%%%02X" % byte for byte in base
    )


def open_maildrop(folder: str) -> Maildrop:
    """Open the maildir `folder` for a session that begins now.

    Raises: FileNotFoundError, NotADirectoryError: no maildir. OSError: it can't be read.
    """
    temporary = f"{int(time.time())}.P{os.getpid()}.qmail-pop3d"
    return Maildrop(RealFs(folder), time.time, temporary)
