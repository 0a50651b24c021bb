"""Dates in header fields: read in nearly any form, written in one.

Source: spec/inject.md 9; RFC 5322 3.3 and 4.3.
"""

from __future__ import annotations

from qmail.protocol.loose_addresses import STRING, pieces
from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

MONTHS: Final = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun",
                 b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")  # fmt: skip
_MONTH: Final = {name.lower(): number for number, name in enumerate(MONTHS, 1)}
_ZONES: Final[Mapping[bytes, int]] = {
    b"ut": 0, b"gmt": 0, b"utc": 0, b"z": 0, b"wet": 0, b"west": 60,
    b"bst": 60, b"cet": 60, b"cest": 120, b"met": 60, b"metdst": 120, b"eet": 120, b"eest": 180,
    b"ist": 120, b"hkt": 480, b"jst": 540,
    b"edt": -240, b"est": -300, b"cdt": -300, b"cst": -360,
    b"mdt": -360, b"mst": -420, b"pdt": -420, b"pst": -480,
}  # fmt: skip
"""Names of time zones, in minutes east of Greenwich."""
DIGITS_MAX: Final = 9
YEAR_MAX: Final = 99999
DAY_S: Final = 86400


class When(Record):
    """A point in time, as a date field has it."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    offset: int = 0
    """Minutes east of Greenwich."""
    has_zone: bool = False
    """False: the time is Greenwich's, and where it was written is not told (-0000)."""

    def field(self) -> bytes:
        """Return it as a date field has it."""
        sign = b"-" if self.offset < 0 or not self.has_zone else b"+"
        return b"%d %b %d %02d:%02d:%02d %b%02d%02d" % (
            *(self.day, MONTHS[self.month - 1], self.year, self.hour, self.minute, self.second),
            *(sign, *divmod(abs(self.offset), 60)),
        )

    def iso(self) -> bytes:
        """Return it as a line of 822date has it."""
        sign = b"-" if self.offset < 0 else b"+"
        return b"%d-%02d-%02d %02d:%02d:%02d %b%02d%02d" % (
            *(self.year, self.month, self.day, self.hour, self.minute, self.second),
            *(sign, *divmod(abs(self.offset), 60)),
        )

    def digits(self) -> bytes:
        """Return date and time as a Message-ID has them."""
        return b"%d%02d%02d%02d%02d%02d" % tuple(self)[:6]

    def unix_s(self) -> int:
        """Return the seconds since 1970."""
        minutes = self.hour * 60 + self.minute - self.offset
        return days_to(self.year, self.month, self.day) * DAY_S + minutes * 60 + self.second


def when_of(unix_s: int) -> When:
    """Return a point in time, seconds since 1970, by Greenwich's clock."""
    days, second = divmod(unix_s, DAY_S)
    # Years that begin with March, in cycles of 400 years: then leap days come last.
    cycle, day = divmod(days + 719468, 146097)
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= year * 365 + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5
    month, later = (month + 3, 0) if month < 10 else (month - 9, 1)
    hour, second = divmod(second, 3600)
    return When(year + cycle * 400 + later, month, day + 1, hour, *divmod(second, 60))


def days_to(year: int, month: int, day: int) -> int:
    """Return how many days lie between the start of 1970 and a day of the calendar."""
    year -= month < 3
    cycle, year = divmod(year, 400)
    in_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return cycle * 146097 + year * 365 + year // 4 - year // 100 + in_year - 719468


# --- reading ------------------------------------------------------------------------------------


def read_date(text: bytes) -> When | None:
    """Read the value of a date field, or what follows the last semicolon of a Received field.

    Returns: None where it is no date, or tells no time zone.
    """
    words = _words(text)
    try:
        day, month, year, hour, *rest = words
    except ValueError:
        return None
    minute, second, zone = _time(rest)
    month_number = _MONTH.get(month.lower())
    numbers = [_number(word) for word in (day, year, hour, minute, second)]
    if zone is None or month_number is None or None in numbers:
        return None
    day_n, year_n, hour_n, minute_n, second_n = (number or 0 for number in numbers)
    offset, has_zone = zone
    when = When(_whole_year(year_n), month_number, day_n, hour_n, minute_n, second_n,
                offset, has_zone)  # fmt: skip
    return when if _is_real(when) else None


def _words(text: bytes) -> list[bytes]:
    """Return the words, and the colons, after the last comma or semicolon."""
    words: list[bytes] = []
    for piece in pieces(text):
        if piece.kind in (",", ";"):
            words = []
        elif piece.kind in (STRING, ":"):
            words.append(piece.text)
    return words


def _time(rest: list[bytes]) -> tuple[bytes, bytes, tuple[int, bool] | None]:
    """Return minute, second, and zone: None where there is none."""
    if len(rest) < 3 or rest[0] != b":":
        return b"", b"", None
    if rest[2] == b":":
        minute, second, words = rest[1], rest[3] if len(rest) > 3 else b"", rest[4:]
    else:
        minute, second, words = rest[1], b"0", rest[2:]
    words = [word for word in words if word != b":"]
    return minute, second, _zone(words[0], words[1:]) if words else None


def _zone(word: bytes, later: list[bytes]) -> tuple[int, bool] | None:
    digits = word[1:] if word[:1] in (b"+", b"-") else word
    if digits.isdigit() and len(digits) <= DIGITS_MAX:
        hours, minutes = divmod(int(digits), 100)
        offset = hours * 60 + minutes
        return (-offset if word.startswith(b"-") else offset), word != b"-0000"
    named = _ZONES.get(word.lower())
    if named is None:
        return None
    # MET DST
    return named + 60 * sum(word.lower() == b"dst" for word in later[:1]), True


def _number(word: bytes) -> int | None:
    return int(word) if word.isdigit() and len(word) <= DIGITS_MAX else None


def _whole_year(year: int) -> int:
    if year < 50:
        return year + 2000
    return year + 1900 if year < 999 else year


def _is_real(when: When) -> bool:
    if not (0 < when.year <= YEAR_MAX and 0 < when.day <= 31 and abs(when.offset) < 1440):
        return False
    if when.hour > 23 or when.minute > 59 or when.second > 60:
        return False
    days = days_to(when.year, when.month, when.day)
    return when_of(days * DAY_S)[:3] == when[:3]
