"""What the tools that look into a header share, and what three of them print.

Source: spec/companion.md 7.
"""

from __future__ import annotations

from time import localtime

from qmail.protocol.date_field import read_date
from qmail.protocol.header import HeaderReader
from qmail.protocol.loose_addresses import BLANK, COMMENT, STRING, pieces, read_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Final

    from qmail.protocol.date_field import When
    from qmail.protocol.header import Field
    from qmail.protocol.loose_addresses import Piece

HEADER_BYTES_MAX: Final = 16 * 1024 * 1024
MBOX_LINE: Final = b"mbox-line"
"""What HeaderReader makes of a line `From ...` on top: it is no part of the message."""
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun",
                  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")  # fmt: skip


def split_message(parts: Iterator[bytes]) -> tuple[list[Field], bytes]:
    """Return the fields of a message, and what was read of what follows them.

    Raises: HeaderTooLongError: no end within HEADER_BYTES_MAX.
    """
    reader = HeaderReader(HEADER_BYTES_MAX)
    body: bytes | None = None
    while body is None:
        part = next(parts, b"")
        body = reader.feed(part) if part else reader.finish()
    return [field for field in reader.fields if field.name != MBOX_LINE], body


def values(fields: Iterable[Field], name: bytes) -> list[bytes]:
    """Return the values of all fields of a name, unfolded."""
    return [field.value for field in fields if field.name == name]


def names_one(fields: Sequence[Field], wanted: Iterable[bytes]) -> bool:
    """Say whether To or Cc has one of the addresses `wanted`, upper and lower case being equal."""
    lower = {address.lower() for address in wanted}
    public = values(fields, b"to") + values(fields, b"cc")
    entries = [entry for value in public for entry in read_list(value)]
    return any(entry.address is not None and entry.address.lower() in lower for entry in entries)


def last_date(fields: Iterable[Field], name: bytes) -> When | None:
    """Return what the last date field of that name says that can be understood; None: none does."""
    found = [read_date(value) for value in values(fields, name)]
    return next((when for when in reversed(found) if when is not None), None)


def local_time(unix_s: int) -> bytes:
    """Return a point in time by this machine's clock, as C's ctime writes it."""
    at = localtime(unix_s)
    text = f"{_DAYS[at.tm_wday]} {_MONTHS[at.tm_mon - 1]} {at.tm_mday:2} "
    return f"{text}{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} {at.tm_year}".encode()


# --- 822received --------------------------------------------------------------------------------

BREAKS: Final = (b"from", b"by", b"for", b"id")
"""Before these words a new line begins."""
INDENT: Final = b"\n\t\t\t "


def received_line(value: bytes) -> bytes:
    """Return one Received field in an easier form: its time here, then its parts, a line each."""
    when = read_date(value)
    time = b"\t\t\t" if when is None else local_time(when.unix_s())
    return time + b" " + b"".join(_received_parts(pieces(value))) + b"\n"


def _received_parts(found: Iterable[Piece]) -> Iterator[bytes]:
    has_begun = after_blank = after_date = False
    for piece in found:
        if piece.kind == BLANK:
            if after_date or (has_begun and not after_blank):
                yield b" "
                after_blank = True
            continue
        if piece.kind == ";":
            yield (INDENT if has_begun and not after_date else b"") + b";"
            after_date = True
        elif piece.kind == COMMENT:
            yield b"(" + piece.text + b")"
        else:
            is_break = piece.kind == STRING and piece.text.lower() in BREAKS
            if is_break and after_blank and not after_date:
                yield INDENT
            yield piece.text
        has_begun, after_blank = True, False
