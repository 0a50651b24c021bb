"""TOP: the header of a message, the empty line, and some lines of its body (RFC 1939 7)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

HELD_BYTES_MAX: Final = 2


class TopCutter:
    """Cuts a message in stored form, given in parts of any size; lines end in LF or CR LF.

    The original counts lines the same way: the empty line that ends the header is not one of them.
    """

    __slots__ = ("_end", "_is_body", "_left", "is_done")

    def __init__(self, lines: int) -> None:
        self._left = lines
        self._is_body = False
        # As if a line had just ended: a message that starts with an empty line has no header.
        self._end = b"\n"
        self.is_done = False
        """Nothing of the message is wanted any more."""

    def feed(self, part: bytes) -> bytes:
        """Return how much of the next part is wanted."""
        if self.is_done:
            return b""
        at = 0 if self._is_body else self._header_end(part)
        if at is None:
            return part
        while self._left:
            end = part.find(b"\n", at)
            if end < 0:
                return part
            at = end + 1
            self._left -= 1
        self.is_done = True
        return part[:at]

    def _header_end(self, part: bytes) -> int | None:
        """Find where the body begins in `part`; what may be half of the empty line is kept."""
        held = self._end
        text = held + part
        ends = [end + len(mark) for mark in (b"\n\n", b"\n\r\n") if (end := text.find(mark)) >= 0]
        if ends:
            self._is_body = True
            return min(ends) - len(held)
        self._end = text[-HELD_BYTES_MAX:]
        return None
