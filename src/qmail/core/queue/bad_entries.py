"""Entries of todo/ that qmail-send can't read or make sense of: told once, then to be parked.

Moving them is qmail-clean's work, which looks for itself (core/queue/parking.py).
"""

from typing import Final

from qmail.core.clock import Clock
from qmail.core.fs import Fs
from qmail.core.queue.layout import ENVELOPE_BYTES_MAX, Layout
from qmail.core.queue.parking import FOR_GOOD, could_be_torn
from qmail.core.queue.records import wrong_with
from qmail.core.queue.sweep import Files

UNREADABLE_S: Final = 3600
"""An entry that still can't be read after this time is no better for being read again."""


class BadEntries:
    """What one run of qmail-send knows of them. `booted`: when the machine was started."""

    def __init__(self, fs: Fs, clock: Clock, layout: Layout, booted: float) -> None:
        self._fs = fs
        self._clock = clock
        self._layout = layout
        self._booted = booted
        self._told: dict[int, set[str]] = {}
        self._to_park: dict[int, None] = {}
        self._first_failed: dict[int, float] = {}

    def add(self, message: int) -> None:
        """Have a message parked."""
        self._to_park[message] = None

    def take(self) -> list[int]:
        """Return, and forget, what is to be parked."""
        found = list(self._to_park)
        self._to_park.clear()
        return found

    def told_once(self, message: int, text: str) -> list[str]:
        """Return the line for the log, nothing where the message had it already."""
        told = self._told.setdefault(message, set())
        if text in told:
            return []
        told.add(text)
        return [text]

    def read(self, message: int) -> None:
        """Note that the entry of a message could be read."""
        self._first_failed.pop(message, None)

    def failed(self, message: int, trouble: OSError) -> list[str]:
        """Note that it could not. It gets time: the disk may be away for a moment.

        Returns: as `make_no_sense`.
        """
        now = self._clock.monotonic()
        first = self._first_failed.setdefault(message, now)
        if trouble.errno in FOR_GOOD and now - first >= UNREADABLE_S:
            return self.make_no_sense(message)
        return []

    def make_no_sense(self, message: int) -> list[str]:
        """Have a message parked, unless other files know more of it than its entry.

        Returns: a line for the log, where it has to stay. Raises: OSError.
        """
        layout = self._layout
        paths = (
            layout.info(message),
            layout.channel("local", message),
            layout.channel("remote", message),
            layout.bounce(message),
        )
        if all(self._fs.info(path) is None for path in paths):
            self.add(message)
            return []
        what = f"alert: message {message} has a bad envelope beside other files"
        return self.told_once(message, f"{what}: run 'qmail queue check --repair'")

    def is_last_witness(self, message: int, files: Files) -> bool:
        """Tell whether its other files are all that can be known of a message that was accepted."""
        if not (files.info or files.local or files.remote or files.bounce):
            return False
        path = self._layout.todo(message)
        found = self._fs.info(path)
        try:
            records = self._fs.read(path, ENVELOPE_BYTES_MAX)
        except OSError:
            return True
        is_torn = found is None or could_be_torn(records, found.mtime, self._booted)
        return not is_torn and bool(wrong_with("todo", records))
