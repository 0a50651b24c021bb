"""The one form in which the suite writes dates: `D Mon YYYY HH:MM:SS -0000` (spec/queue.md 4)."""

from functools import lru_cache
from time import gmtime
from typing import Final

MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun",
                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")  # fmt: skip


@lru_cache(maxsize=8)
def mail_date(when_s: int) -> bytes:
    """Return the date of `when_s` (seconds since 1970) in GMT, the day without leading zero."""
    at = gmtime(when_s)
    text = (
        f"{at.tm_mday} {MONTHS[at.tm_mon - 1]} {at.tm_year} "
        f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} -0000"
    )
    return text.encode()
