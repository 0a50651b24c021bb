"""SMTP framing: how long a command may be, and the data of a message up to its final dot.

No byte is looked at one by one: chunks are searched, counted and replaced as a whole.
"""

from typing import Final

COMMAND_BYTES_MAX: Final = 4096
"""Longest command line, parameters included, without its line end."""
_END: Final = b"\r\n.\r\n"


class BareLineEndError(ValueError):
    """A CR without LF or an LF without CR in the data of a message."""


class DataReader:
    """Turns the bytes after a 354 reply into the stored form: lines end in LF, dots unstuffed.

    Only CR LF . CR LF ends the data (RFC 5321 4.1.1.4); a dot line right at the start does, too.
    Bytes that may be the beginning of it are held back until the next chunk tells.
    """

    __slots__ = ("_held", "_is_first", "is_ended", "rest")

    def __init__(self) -> None:
        # As if a line had just ended: so the first line is looked at like every other.
        self._held = b"\r\n"
        self._is_first = True
        self.is_ended = False
        self.rest = b""
        """After the end: what came behind the final dot, commands probably."""

    def feed(self, chunk: bytes) -> bytes:
        """Take the next chunk; return what of the message is now sure, in stored form.

        Raises: BareLineEndError: a CR or LF alone before the end; nothing after it counts.
        Source: RFC 5321 2.3.8, 4.5.2; spec/oddities.md 1.
        """
        data = self._held + chunk
        end = data.find(_END)
        if end >= 0:
            self.is_ended = True
            self.rest = data[end + 5 :]
            self._held = b""
            data = data[: end + 2]
        else:
            held = _held_back(data)
            self._held = data[len(data) - held :]
            data = data[: len(data) - held]
        if not data:
            return data
        # As many CRs and as many LFs as CR LFs: then none of them is alone. Removing one byte is
        # a quarter of the work of counting it, and the CRs have to go anyway.
        stored = data.replace(b"\r", b"")
        pairs = data.count(b"\r\n")
        lf_count = len(stored) - len(stored.replace(b"\n", b""))
        if len(data) - len(stored) != pairs or lf_count != pairs:
            raise BareLineEndError
        stored = stored.replace(b"\n.", b"\n")
        if self._is_first:
            self._is_first = False
            return stored[1:]
        return stored


def _held_back(data: bytes) -> int:
    """Return how many of the last bytes may be the beginning of the end."""
    for length in (4, 3, 2, 1):
        if data.endswith(_END[:length]):
            return length
    return 0
