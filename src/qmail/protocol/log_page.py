"""Lines that were read at once, in the forms in which they can be written."""

from collections.abc import Iterator, Sequence
from typing import Final

from qmail.protocol.log_record import Record, json_line, record_of
from qmail.protocol.log_tail import MARK
from qmail.protocol.tai64n import iso, tai64n

LINE_BYTES_MAX: Final = 65536
"""A longer line becomes several."""


class LineCutter:
    """Cuts a stream into lines. `rest` is what has no end yet."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that are complete with `data`, empty ones left out."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        if len(self.rest) > LINE_BYTES_MAX:
            lines.append(self.rest)
            self.rest = b""
        return [line for line in lines if line]

    def end(self) -> list[bytes]:
        """Return the last line, where the stream ended inside it."""
        return self.feed(b"\n")


class Page:
    """Some lines and the time of their reading; the stamp is tai64n, iso or none."""

    def __init__(self, lines: Sequence[bytes], now_ns: int, stamp: str) -> None:
        self.now_ns = now_ns
        self._lines = lines
        self._front = b""
        self._records: list[Record] | None = None
        if stamp == "tai64n":
            self._front = tai64n(now_ns) + b" "
        elif stamp == "iso":
            self._front = iso(now_ns).encode() + b" "

    @property
    def records(self) -> list[Record]:
        """One record for each line; made when first asked for."""
        if self._records is None:
            self._records = [record_of(line) for line in self._lines]
        return self._records

    @property
    def texts(self) -> list[bytes]:
        """The classic text of each line, b"" where it has none."""
        return [line.partition(MARK)[0] for line in self._lines]

    def classic(self) -> bytes:
        """Return the lines that have a classic text."""
        front = self._front
        return b"".join([b"%b%b\n" % (front, text) for text in self.texts if text])

    def json(self) -> bytes:
        """Return a line of JSON for each line."""
        when = iso(self.now_ns)
        return b"".join([json_line(record, when) + b"\n" for record in self.records])

    def both(self) -> bytes:
        """Return each line in both forms, one after the other."""
        return b"".join(self._both())

    def _both(self) -> Iterator[bytes]:
        when = iso(self.now_ns)
        for text, record in zip(self.texts, self.records, strict=True):
            if text:
                yield b"%b%b\n" % (self._front, text)
            yield json_line(record, when) + b"\n"
