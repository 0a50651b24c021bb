"""Lines that were read at once, in the forms in which they can be written."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from qmail.protocol.log_record import Record, json_line, record_of
from qmail.protocol.log_tail import MARK
from qmail.protocol.tai64n import iso, seconds, tai64n

LINE_BYTES_MAX: Final = 65536
"""A longer line becomes several."""


STAMPS: Final[Mapping[str, Callable[[int], bytes]]] = {
    "tai64n": tai64n,
    "iso": lambda now_ns: iso(now_ns).encode(),
    "seconds": seconds,
}
"""What stands in front of a classic line; for any other word nothing does."""


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
    """Some lines and the time of their reading; `stamp` is one of STAMPS, or none."""

    def __init__(self, lines: Sequence[bytes], now_ns: int, stamp: str) -> None:
        self.now_ns = now_ns
        self._lines = lines
        make = STAMPS.get(stamp)
        self._front = b"" if make is None else make(now_ns) + b" "
        self._records: list[Record] | None = None

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
