"""Message headers as bytes: where the header ends, its fields, and how long fields are folded.

Source: spec/inject.md 4 and 6; RFC 5322 2.2.
"""

from __future__ import annotations

from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

NAME_BYTES_MAX: Final = 998
"""Longest field name: RFC 5322 2.1.1 allows no longer line."""
FOLD_COLUMNS: Final = 78
"""Longest line of a folded field: the 80 of spec/inject.md 6 count its end, and the blank after."""
_NAME_BYTES: Final = bytes(byte for byte in range(33, 127) if byte != ord(":"))


class HeaderTooLongError(ValueError):
    """The header does not end within the limit."""


class Field(Record):
    """One header field. `raw` is all of it, with its continuation lines and the last LF."""

    name: bytes
    """In lower case, without the blanks before the colon."""
    raw: bytes

    @property
    def label(self) -> bytes:
        """The name as it is written in the message."""
        return self.raw[: self.raw.index(b":")].rstrip(b" \t")

    @property
    def value(self) -> bytes:
        """What follows the colon, unfolded: the line ends are gone, the blanks after them not."""
        after = self.raw[self.raw.index(b":") + 1 :]
        return after.replace(b"\r\n", b"").replace(b"\n", b"")


def field_name(line: bytes) -> bytes | None:
    """Return the field name that `line` starts with, in lower case; None if it is no field."""
    colon = line.find(b":", 0, NAME_BYTES_MAX + 2)
    name = line[: max(colon, 0)].rstrip(b" \t")
    if not name or name.translate(None, _NAME_BYTES):
        return None
    return name.lower()


def make_field(label: bytes, value: bytes) -> Field:
    """Make a field of one line."""
    return Field(label.lower(), b"%b: %b\n" % (label, value))


def folded(label: bytes, pieces: Sequence[bytes]) -> bytes:
    """Write a field whose value is a list: `, ` between the pieces, or a new line for a long one.

    Source: spec/inject.md 6: lines of at most 78 characters, continued by LF and two blanks.
    """
    lines: list[bytes] = []
    line = label + b":"
    last = len(pieces) - 1
    for at, piece in enumerate(pieces):
        # Nothing stands after a last comma: no line of blanks (RFC 5322 3.2.2).
        text = b" " + piece if piece or at < last else b""
        text += b"," if at < last else b""
        if at and text and len(line) + len(text) > FOLD_COLUMNS:
            lines.append(line)
            line = b" "
        line += text
    return b"\n".join((*lines, line)) + b"\n"


class HeaderReader:
    """Takes a message in parts of any size, and cuts its header into `fields`.

    Whoever takes them out as they come holds one at a time, whatever the size of the header.
    The header ends with the first empty line, or before the first line that is neither a field nor
    continues one; an empty line is put in front of that. A line `From ...`, as mailboxes have it,
    becomes a field MBOX-Line.
    """

    def __init__(self, bytes_max: int) -> None:
        self.fields: list[Field] = []
        self._bytes_max = bytes_max
        self._size = 0
        self._tail: list[bytes] = []
        self._name = b""
        self._lines = bytearray()

    def feed(self, data: bytes) -> bytes | None:
        """Take the next bytes of the message.

        Returns: None while the header goes on; once it is over, what follows it so far, from and
        with the empty line.
        Raises: HeaderTooLongError: more than the limit, and no end.
        """
        self._tail.append(data)
        body = self._cut() if b"\n" in data else None
        if body is not None:
            return body
        if len(self._tail) > 1 and len(self._tail[0]) <= NAME_BYTES_MAX:
            # As much in one piece as a name can be long.
            self._tail[:2] = [self._tail[0] + self._tail[1]]
        start = self._tail[0] if self._tail else b""
        if len(start) > NAME_BYTES_MAX and not self._goes_on(start):
            # No need to wait for the end of a line that may never end.
            return self._end(b"\n" + b"".join(self._tail))
        self._size += len(data)
        if self._size > self._bytes_max:
            raise HeaderTooLongError(f"the header is longer than {self._bytes_max} bytes")
        return None

    def finish(self) -> bytes:
        """Take the end of the message inside the header. Returns what follows the last field."""
        rest = b"".join(self._tail)
        if rest:
            self._tail = []
            self._size -= len(rest)
            body = self.feed(rest + b"\n")
            if body is not None:
                return body
        return self._end(b"")

    def _cut(self) -> bytes | None:
        text = b"".join(self._tail)
        start = 0
        while (end := text.find(b"\n", start) + 1) > 0:
            line = text[start:end]
            if line == b"\n":
                return self._end(text[start:])
            if not self._take(line):
                return self._end(b"\n" + text[start:])
            start = end
        self._tail = [text[start:]] if start < len(text) else []
        return None

    def _goes_on(self, start: bytes) -> bool:
        continues = bool(self._lines) and start[:1] in (b" ", b"\t")
        return continues or start.startswith(b"From ") or field_name(start) is not None

    def _take(self, line: bytes) -> bool:
        if self._lines and line[:1] in (b" ", b"\t"):
            self._lines += line
            return True
        name = field_name(line)
        if name is None:
            if not line.startswith(b"From "):
                return False
            name, line = b"mbox-line", b"MBOX-Line: " + line
        self._close()
        self._name = name
        self._lines += line
        return True

    def _close(self) -> None:
        if self._lines:
            self.fields.append(Field(self._name, bytes(self._lines)))
            self._lines.clear()

    def _end(self, body: bytes) -> bytes:
        self._close()
        self._tail = []
        return body
