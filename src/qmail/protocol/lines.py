"""SMTP framing: command lines with a limit, and the data of a message up to its final dot.

No byte is looked at one by one: chunks are searched, counted and replaced as a whole.
"""

from typing import Final

COMMAND_BYTES_MAX: Final = 4096
"""Longest command line, parameters included, without its line end."""
_END: Final = b"\r\n.\r\n"


class LineTooLongError(ValueError):
    """A command line over the limit. Told once for each; the rest of it is skipped."""


class BareLineEndError(ValueError):
    """A CR without LF or an LF without CR in the data of a message."""


class LineReader:
    """Cuts what a client sends into command lines, and keeps what is not used yet."""

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

    def take(self) -> bytes | None:
        """Take one command line, without its LF and one CR before it; None: needs more bytes.

        Raises: LineTooLongError: over COMMAND_BYTES_MAX; told once, then skipped up to its LF.
        Source: spec/smtp.md A.2 (a bare LF ends a command as well).
        """
        while True:
            pending, at = self._pending, self._at
            if at == len(pending):
                return None
            end = pending.find(b"\n", at)
            if end < 0:
                self._wait_for_more()
                return None
            self._at = end + 1
            if self._is_skipping:
                self._is_skipping = False
                continue
            if end > at and pending[end - 1] == 13:
                end -= 1
            if end - at > COMMAND_BYTES_MAX:
                raise LineTooLongError
            return pending[at:end]

    def _wait_for_more(self) -> None:
        rest = len(self)
        # One byte more: it may be the CR of the line end.
        if self._is_skipping or rest > COMMAND_BYTES_MAX + 1:
            was_skipping, self._is_skipping = self._is_skipping, True
            self.take_all()
            if not was_skipping:
                raise LineTooLongError

    def take_all(self) -> bytes:
        """Take everything that is there, as it is: the data of a message comes next."""
        data = self._pending[self._at :] if self._at else self._pending
        self._pending = b""
        self._at = 0
        return data


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
