"""822print: a header in two columns, with the overstriking that pagers show as bold and underlined.

Source: spec/companion.md 7.
"""

from __future__ import annotations

from qmail.core.inject.outgoing import TRACE
from qmail.core.tools.header_tools import last_date, values
from qmail.protocol.date_field import when_of
from qmail.protocol.header import Field
from qmail.protocol.loose_addresses import read_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Final

    Cells = list[bytes]
    """A character each, with its overstriking."""

LEFT_MAX: Final = 73
BOTH_MAX: Final = 76
HALF_MAX: Final = 50
COLUMNS: Final = 78
RULE: Final = b"-" * 78 + b"\n"
PLAIN, UNDERLINED, BOLD = b"=", b"_", b"+"
_LISTS: Final = (
    (b"to", b"To: ", b""), (b"cc", b"Cc: ", b""), (b"bcc", b"Bcc: ", b""),
    (b"notice-requested-upon-delivery-to", b"Notice-Requested-Upon-Delivery-To: ", b""),
)  # fmt: skip
_REPLIES: Final = (
    (b"sender", b"Sender: ", b"sender "),
    (b"reply-to", b"Reply-To: ", b"reply to "),
    (b"mail-reply-to", b"Mail-Reply-To: ", b"reply to "),
    (b"mail-followup-to", b"Mail-Followup-To: ", b"follow up to "),
)
_IDS: Final = ((b"references", b"Ref: "), (b"message-id", b"Message-ID: "))
_TOP: Final = TRACE - {b"return-receipt-to"}
_SAME: Final = {b"apparently-to": b"bcc"}
_SHOWN: Final = {
    b"subject", b"from", b"date", b"return-path", b"in-reply-to",
    *(name for name, *_ in (*_LISTS, *_REPLIES, *_IDS)),
}  # fmt: skip
"""Fields that have a place of their own."""


def printed(fields: Sequence[Field], offset_s: Callable[[int], int]) -> bytes:
    """Return the header for a terminal.

    `offset_s` tells how many seconds this machine's clock is ahead of Greenwich's at a time.
    """
    fields = [Field(_SAME.get(field.name, field.name), field.raw) for field in fields]
    subject = b" ".join(values(fields, b"subject"))
    lines = [_both(_cells(b"Subject:"), _cells(subject, UNDERLINED, PLAIN))]
    lines += _addresses(fields, (b"from", b"From: ", b""), BOLD)
    lines.append(_date(fields, offset_s))
    lines += _addresses(fields, (b"return-path", b"Return-Path: ", b"return "), BOLD)
    lines += _raw(fields, _TOP)
    lines += _raw(fields, {b"in-reply-to"})
    for name, label in _IDS:
        lines += _addresses(fields, (name, label, b""), UNDERLINED)
    lines.append(RULE)
    for where in _LISTS:
        lines += _addresses(fields, where, BOLD)
    lines.append(RULE)
    for where in _REPLIES:
        lines += _addresses(fields, where, BOLD)
    lines += _raw(fields, {field.name for field in fields} - _SHOWN - _TOP)
    return b"".join(lines)


def _cells(text: bytes, style: bytes = PLAIN, odd_style: bytes = UNDERLINED) -> Cells:
    """Return a text in a style; what a terminal might obey is shown by its number."""
    found = []
    for byte in text.replace(b"\t", b" "):
        if 32 <= byte <= 126:
            found.append(_cell(byte, style))
        else:
            found += [_cell(digit, odd_style) for digit in b"\\%03o" % byte]
    return found


def _cell(byte: int, style: bytes) -> bytes:
    char = bytes((byte,))
    under = {PLAIN: b"", UNDERLINED: b"_\b", BOLD: char + b"\b"}[style]
    return under + char


def _left(cells: Cells) -> bytes:
    """Return lines, broken at blanks where there are any."""
    lines = []
    while len(cells) > LEFT_MAX:
        blanks = [at for at in range(1, LEFT_MAX) if cells[at][-1:] == b" "]
        end = blanks[-1] if blanks else LEFT_MAX
        lines.append(cells[:end])
        cells = cells[end:]
    return b"".join(b"".join(line) + b"\n" for line in (*lines, cells))


def _both(left: Cells, right: Cells) -> bytes:
    """Return lines with both texts, the one at the left margin, the other at the right one."""
    lines = []
    while len(left) + len(right) > BOTH_MAX:
        left_end = min(HALF_MAX, len(left))
        right_end = min(HALF_MAX, len(right), BOTH_MAX - left_end)
        lines.append(_line(left[:left_end], right[:right_end]))
        left, right = left[left_end:], right[right_end:]
    return b"".join((*lines, _line(left, right)))


def _line(left: Cells, right: Cells) -> bytes:
    blanks = b" " * (COLUMNS - len(left) - len(right))
    return b"".join(left) + blanks + b"".join(right) + b"\n"


def _addresses(
    fields: Sequence[Field], where: tuple[bytes, bytes, bytes], style: bytes
) -> Iterator[bytes]:
    name, label, post = where
    for value in values(fields, name):
        for entry in read_list(value):
            left = _cells(label) + _cells(entry.name or b"", UNDERLINED, PLAIN)
            if entry.address is None:
                yield _left(left)
            else:
                yield _both(left, _cells(post) + _cells(entry.address, style))


def _date(fields: Sequence[Field], offset_s: Callable[[int], int]) -> bytes:
    left = _cells(b"Date:" + b" ".join(values(fields, b"date")))
    when = last_date(fields, b"date")
    if when is None:
        return _left(left)
    unix_s = when.unix_s()
    here = when_of(unix_s + offset_s(unix_s)).iso().rpartition(b" ")[0]
    return _both(left, _cells(here, UNDERLINED, PLAIN))


def _raw(fields: Sequence[Field], names: set[bytes] | frozenset[bytes]) -> Iterator[bytes]:
    for field in fields:
        if field.name in names:
            yield from (_left(_cells(line)) for line in field.raw.removesuffix(b"\n").split(b"\n"))
