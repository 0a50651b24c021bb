"""POP3 framing: command lines with a limit that depends on what is read.

A bare LF ends a line as well as CR LF, as in the original.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

COMMAND_BYTES_MAX: Final = 512
"""Longest command without its line end. RFC 2449 4 asks for 255; passwords can be longer."""
SASL_BYTES_MAX: Final = 12288
"""Longest line of a SASL exchange, and of AUTH with its initial response (RFC 5034 4)."""


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
        self._pending = self._pending[self._at :] + data
        self._at = 0

    def take(self, bytes_max: int) -> bytes | None:
        """Take one line, without its LF and one CR before it; None: needs more bytes.

        Raises: LineTooLongError: over `bytes_max`; told once, then skipped up to its LF.
        """
        while True:
            at = self._at
            end = self._pending.find(b"\n", at)
            if end < 0:
                self._wait_for_more(bytes_max)
                return None
            self._at = end + 1
            if self._is_skipping:
                self._is_skipping = False
                continue
            if end > at and self._pending[end - 1] == 13:
                end -= 1
            if end - at > bytes_max:
                raise LineTooLongError
            return self._pending[at:end]

    def _wait_for_more(self, bytes_max: int) -> None:
        # One byte more: it may be the CR of the line end.
        if self._is_skipping or len(self) > bytes_max + 1:
            was_skipping, self._is_skipping = self._is_skipping, True
            self.take_all()
            if not was_skipping:
                raise LineTooLongError

    def take_all(self) -> bytes:
        """Take everything that is there, as it is."""
        data = self._pending[self._at :]
        self._pending = b""
        self._at = 0
        return data
