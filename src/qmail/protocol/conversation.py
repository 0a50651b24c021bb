"""What the conversations of servers share: a client's lines with a limit, and an event that waits.

A bare LF ends a line as well as CR LF, as in the original (spec/smtp.md A.2).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    Event = TypeVar("Event")


class LineTooLongError(ValueError):
    """A line over the limit. Told once for each; the rest of it is skipped."""


class LineReader:
    """Cuts what a client sends into lines, and keeps what is not used yet."""

    __slots__ = ("_at", "_is_skipping", "_pending")

    def __init__(self) -> None:
        self._pending = b""
        self._at = 0
        self._is_skipping = False

    def __len__(self) -> int:
        return len(self._pending) - self._at

    def feed(self, data: bytes) -> None:
        """Add the next bytes from the client."""
        if self._at < len(self._pending):
            data = self._pending[self._at :] + data
        self._pending = data
        self._at = 0

    def take(self, bytes_max: int) -> bytes | None:
        """Take one line, without its LF and one CR before it; None: needs more bytes.

        Raises: LineTooLongError: over `bytes_max`; told once, then skipped up to its LF.
        """
        while True:
            pending, at = self._pending, self._at
            if at == len(pending):
                return None
            end = pending.find(b"\n", at)
            if end < 0:
                self._wait_for_more(bytes_max)
                return None
            self._at = end + 1
            if self._is_skipping:
                self._is_skipping = False
                continue
            if end > at and pending[end - 1] == 13:
                end -= 1
            if end - at > bytes_max:
                raise LineTooLongError
            return pending[at:end]

    def _wait_for_more(self, bytes_max: int) -> None:
        # One byte more: it may be the CR of the line end.
        if self._is_skipping or len(self) > bytes_max + 1:
            was_skipping, self._is_skipping = self._is_skipping, True
            self.take_all()
            if not was_skipping:
                raise LineTooLongError

    def take_all(self) -> bytes:
        """Take everything that is there, as it is."""
        data = self._pending[self._at :] if self._at else self._pending
        self._pending = b""
        self._at = 0
        return data


class Conversation:
    """The client's side of a conversation; what a line means, and what is sent, its kinds know."""

    __slots__ = ("_lines", "_waiting", "is_closed")

    def __init__(self) -> None:
        self._lines = LineReader()
        self._waiting: object | None = None
        self.is_closed = False
        """Nothing more is read; what is to be sent still is."""

    @property
    def is_waiting(self) -> bool:
        """True while an event has not been answered."""
        return self._waiting is not None

    @property
    def bytes_pending(self) -> int:
        """How much of the client's input lies here unread."""
        return len(self._lines)

    def feed(self, data: bytes) -> None:
        """Take what the client sent; b"" is the end of its input."""
        if not data:
            self._close()
        elif not self.is_closed:
            self._lines.feed(data)

    def _ask(self, event: Event) -> Event:
        self._waiting = event
        return event

    def _close(self) -> None:
        self.is_closed = True
        self._lines.take_all()
