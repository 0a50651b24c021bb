"""The one form in which the suite writes dates: `D Mon YYYY HH:MM:SS -0000` (spec/queue.md 4)."""

from __future__ import annotations

from time import gmtime

TYPE_CHECKING = False
if TYPE_CHECKING:  # qmail-inject imports this file, and nothing that takes longer to import
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
        found = _LAST[when_s] = _write_date(when_s)
    return found


def _write_date(when_s: int) -> bytes:
    at = gmtime(when_s)
    text = (
        f"{at.tm_mday} {MONTHS[at.tm_mon - 1]} {at.tm_year} "
        f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} -0000"
    )
    return text.encode()
