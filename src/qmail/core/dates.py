"""The form in which the suite writes dates: `D Mon YYYY HH:MM:SS -0000` (spec/queue.md 4)."""

from __future__ import annotations

from time import gmtime, localtime

TYPE_CHECKING = False
if TYPE_CHECKING:  # qmail-inject imports this file, and nothing that takes longer to import
    from time import struct_time
    from typing import Final

MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun",
                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")  # fmt: skip


_LAST: dict[int, bytes] = {}
# Many messages of one second ask for the same date.


def mail_date(when_s: int) -> bytes:
    """Return the date of `when_s` (seconds since 1970) in GMT, the day without leading zero."""
    found = _LAST.get(when_s)
    if found is None:
        _LAST.clear()
        found = _LAST[when_s] = _written(gmtime(when_s), "-0000")
    return found


def local_date(when_s: int) -> bytes:
    """Return the date of `when_s` with the time, and the offset, of this machine's time zone."""
    at = localtime(when_s)
    hours, minutes = divmod(abs(at.tm_gmtoff) // 60, 60)
    sign = "-" if at.tm_gmtoff < 0 else "+"
    return _written(at, f"{sign}{hours:02}{minutes:02}")


def _written(at: struct_time, zone: str) -> bytes:
    text = (
        f"{at.tm_mday} {MONTHS[at.tm_mon - 1]} {at.tm_year} "
        f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} {zone}"
    )
    return text.encode()
