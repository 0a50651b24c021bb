"""The data of a message from a simple client: lines end in LF, with a CR before it or without.

For clients of our own users alone (ofmipd): a server for the world must not end a message at a dot
between bare LFs, see protocol/lines.py. Source: spec/companion.md 7.
"""

from typing import Final

LINE_BYTES_HELD: Final = 8192
"""Of a longer line the beginning is passed on before its end has come."""


class LooseDataReader:
    """Turns what follows a 354 reply into the stored form: lines end in LF, dots unstuffed."""

    __slots__ = ("_at_line_start", "_held", "has_bare_cr", "is_ended", "rest")

    def __init__(self) -> None:
        self._held = b""
        self._at_line_start = True
        self.has_bare_cr = False
        """A CR came that is not before a LF: nobody knows what it means."""
        self.is_ended = False
        self.rest = b""
        """After the end: what came behind the final dot, commands probably."""

    def feed(self, chunk: bytes) -> bytes:
        """Take the next chunk; return what of the message is now sure."""
        lines = (self._held + chunk).split(b"\n")
        self._held = lines.pop()
        stored = []
        for number, line in enumerate(lines, 1):
            text = line.rstrip(b"\r")
            if text == b"." and self._at_line_start:
                self.is_ended = True
                self.rest = b"\n".join((*lines[number:], self._held))
                self._held = b""
                break
            stored.append(self._line(text) + b"\n")
            self._at_line_start = True
        if len(self._held) > LINE_BYTES_HELD:
            text = self._held.rstrip(b"\r")
            # Of the CRs one is enough to tell what the next byte makes of them.
            self._held = self._held[len(text) :][:1]
            stored.append(self._line(text))
            self._at_line_start = False
        return b"".join(stored)

    def _line(self, text: bytes) -> bytes:
        if b"\r" in text:
            self.has_bare_cr = True
            text = text.replace(b"\r", b"")
        return text[1:] if self._at_line_start and text.startswith(b".") else text
