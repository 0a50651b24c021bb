"""Stored message to wire form: CRLF line ends, dots stuffed, the final dot.

What a CR in a stored message means is decided before the lines are split: CR LF and a lone CR are
line ends, each. So no CR leaves but in CR LF, every line start that leaves is looked at, and no
stored bytes can spell the end of the data (RFC 5321 4.1.1.4, 4.5.2; spec/oddities.md 1).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

END_OF_DATA: Final = b".\r\n"


class DotStuffer:
    """Turns one message, given in parts of any size, into what follows a 354 reply."""

    __slots__ = ("_after_cr", "_at_line_start")

    def __init__(self) -> None:
        self._at_line_start = True
        self._after_cr = False

    def feed(self, part: bytes) -> bytes:
        """Return the wire form of the next part of the message."""
        if self._after_cr and part:
            # The CR that ended the part before has been sent as a line end already.
            self._after_cr = False
            if part[0] == 10:
                part = part[1:]
        if b"\r" in part:
            self._after_cr = part[-1] == 13
            part = part.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if not part:
            return b""
        wire = part.replace(b"\n.", b"\n..").replace(b"\n", b"\r\n")
        if self._at_line_start and part[0] == 46:
            wire = b"." + wire
        self._at_line_start = part[-1] == 10
        return wire

    def finish(self) -> bytes:
        """Return what ends the message: a line end where it lacks its last one, then the dot."""
        return END_OF_DATA if self._at_line_start else b"\r\n" + END_OF_DATA


def wire_form(message: bytes) -> bytes:
    """Return all of a message that is held in memory as it follows a 354 reply, with its end.

    It is what a `DotStuffer` makes of it, without the state that parts need.
    """
    if b"\r" in message:
        message = message.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    wire = message.replace(b"\n.", b"\n..").replace(b"\n", b"\r\n")
    if message[:1] == b".":
        wire = b"." + wire
    if message and message[-1] != 10:
        return wire + b"\r\n.\r\n"
    return wire + END_OF_DATA
