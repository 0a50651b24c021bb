"""How hard one remote domain is hit: deliveries at once, a rate a minute, a pause when it asks.

The limits come from control/concurrencyhost and control/concurrencyhosts. A domain that says 421 or
4.7.x gets half as many deliveries at once, after a pause that doubles each time; every success
takes one step back. Source: spec/oddities.md 4; the constants are in qmail-send(8).
"""

import re
from array import array
from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from qmail.core.send.values import Job
from qmail.core.settings.host_limits import HostLimit
from qmail.mail import Letter, Result

PAUSE_S_MIN: Final = 60
PAUSE_S_MAX: Final = 3600
LEVEL_MAX: Final = 7
AT_ONCE_MAX: Final = 1000
"""A domain without limit that recovered to so many deliveries at once has none again."""

_REFUSAL: Final = re.compile(rb"said: (?:(421)|4[0-9][0-9][ -]4\.7\.[0-9])")


class Push(Enum):
    """What a report says of us and the domain, and not of the message."""

    NONE = auto()
    SLOWER = auto()
    """4.7.x about one recipient: greylisting says so too. A short pause, which does not grow."""
    AWAY = auto()
    """421, or 4.7.x before any recipient was named or after: leave it alone, longer each time."""


def push_of(result: Result | None) -> Push:
    """Tell whether the server wants less mail from us for now."""
    if result is None or result.letter is not Letter.DEFERRED:
        return Push.NONE
    found = _REFUSAL.search(result.text)
    if found is None:
        return Push.NONE
    about_one = found[1] is None and b"does not like recipient" in result.text
    return Push.SLOWER if about_one else Push.AWAY


@dataclass(slots=True)
class Parked:
    """Recipients of one job that wait for their domain: where their records are."""

    offsets: "array[int]"
    taken: int = 0


class Destination:
    """One remote domain that something runs for, or waits for. Times are the monotonic clock's."""

    __slots__ = ("_limit", "_stepped_at", "at_once", "closed_until", "domain", "is_queued", "level",
                 "parked", "room", "used")  # fmt: skip

    def __init__(self, domain: bytes, limit: HostLimit) -> None:
        self.domain = domain
        self._limit = limit
        self.at_once = limit.at_once
        self.used = 0
        self.closed_until = 0.0
        self.level = 0
        self._stepped_at = 0
        self.is_queued = False
        """It waits for its turn in a lane, or for a time."""
        self.parked: dict[Job, Parked] = {}
        self.room: deque[int] = deque()
        """Messages with nobody left but one recipient here: numbers only, not open."""

    @property
    def is_wanted(self) -> bool:
        """True when somebody waits here."""
        return bool(self.parked or self.room)

    def is_full(self, now: float) -> bool:
        """Say whether no delivery may start now."""
        return now < self.closed_until or (self.at_once != 0 and self.used >= self.at_once)

    def is_spent(self, now: float) -> bool:
        """Say whether nothing would be lost with this object."""
        is_as_new = not self.level and self.at_once == self._limit.at_once
        return is_as_new and not (self.used or self.is_wanted) and now >= self.closed_until

    def limit_to(self, limit: HostLimit) -> None:
        """Go by new control files; what was learnt of the domain starts anew."""
        self._limit = limit
        self.at_once = limit.at_once
        self.level = 0

    # --- waiting --------------------------------------------------------------------------------

    def park(self, job: Job, offset: int) -> None:
        """Have a recipient wait."""
        parked = self.parked.get(job)
        if parked is None:
            parked = self.parked[job] = Parked(array("I"))
        parked.offsets.append(offset)
        job.parked += 1

    def unpark(self) -> tuple[Job, int]:
        """Take the next one out: the jobs take turns."""
        job = next(iter(self.parked))
        parked = self.parked.pop(job)
        offset = parked.offsets[parked.taken]
        parked.taken += 1
        if parked.taken < len(parked.offsets):
            self.parked[job] = parked
        job.parked -= 1
        return job, offset

    def withdraw(self, job: Job, offsets: set[int]) -> int:
        """Have recipients wait no more. Returns: how many of them did."""
        parked = self.parked.get(job)
        if parked is None:
            return 0
        waiting = parked.offsets[parked.taken :]
        parked.offsets = array("I", [each for each in waiting if each not in offsets])
        parked.taken = 0
        if not parked.offsets:
            del self.parked[job]
        count = len(waiting) - len(parked.offsets)
        job.parked -= count
        return count

    # --- what happens ---------------------------------------------------------------------------

    def started(self, now: float) -> None:
        """Count one delivery."""
        self.used += 1
        if self._limit.per_minute:
            # Evenly spread: in no minute are there more than the limit.
            self.closed_until = max(self.closed_until, now + 60 / self._limit.per_minute)

    def succeeded(self) -> None:
        """Take a step back to normal."""
        self.level = max(0, self.level - 1)
        if self.at_once != self._limit.at_once:
            self.at_once += 1
            if self.at_once > AT_ONCE_MAX and not self._limit.at_once:
                self.at_once = 0

    def pushed(self, push: Push, delivery: int, last: int, now: float) -> bool:
        """Take a step back from a domain that wants less.

        `delivery` said so, `last` is the last one that was started: what was under way then says
        the same once more, and counts no more. Returns: whether this one counted.
        """
        if delivery <= self._stepped_at:
            return False
        self._stepped_at = last
        self.at_once = max(1, min(self.at_once or AT_ONCE_MAX, self.used + 1) // 2)
        pause_s = float(PAUSE_S_MIN)
        if push is Push.AWAY:
            self.level = min(self.level + 1, LEVEL_MAX)
            pause_s = min(PAUSE_S_MIN * 2.0 ** (self.level - 1), PAUSE_S_MAX)
        self.closed_until = max(self.closed_until, now + pause_s)
        return True
