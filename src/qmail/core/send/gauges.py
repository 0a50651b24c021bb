"""What `qmail top` shows of deliveries: totals, rates, slow domains, the last errors. All bounded.

Nothing here wakes the program: the totals of each second are noted when something is counted.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from qmail.core.clock import Clock
from qmail.mail import Channel, Letter, Result

WINDOW_S: Final = 60
DOMAINS_MAX: Final = 1000
TROUBLES_MAX: Final = 20
TEXT_BYTES_MAX: Final = 200


class Totals(NamedTuple):
    """How many since the start."""

    arrived: int = 0
    delivered: int = 0
    deferred: int = 0
    failed: int = 0


@dataclass(slots=True)
class Pace:
    """How long deliveries to one domain took."""

    count: int = 0
    total_s: float = 0.0
    longest_s: float = 0.0


class Trouble(NamedTuple):
    """One delivery that did not go through; `at` is the monotonic clock's."""

    at: float
    letter: Letter
    address: bytes
    text: bytes


@dataclass(slots=True)
class Gauges:
    """Counts. `began` is the clock's time at the start."""

    clock: Clock
    totals: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    troubles: deque[Trouble] = field(default_factory=lambda: deque(maxlen=TROUBLES_MAX))
    _paces: dict[bytes, Pace] = field(default_factory=dict)
    _started: dict[int, float] = field(default_factory=dict)
    _seconds: deque[tuple[int, Totals]] = field(default_factory=deque)

    def _now(self) -> float:
        now = self.clock.monotonic()
        second = int(now)
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append((second, Totals(*self.totals)))
            while self._seconds[0][0] < second - WINDOW_S - 1:
                self._seconds.popleft()
        return now

    def arrived(self) -> None:
        """Count a new message."""
        self._now()
        self.totals[0] += 1

    def started(self, delivery: int) -> None:
        """Note when a delivery began."""
        self._started[delivery] = self.clock.monotonic()

    def ended(self, delivery: int, channel: Channel, address: bytes, result: Result | None) -> None:
        """Count a delivery that ended."""
        now = self._now()
        began = self._started.pop(delivery, now)
        if channel is Channel.REMOTE:
            self._pace(address[address.rfind(b"@") + 1 :].lower(), now - began)
        letter = Letter.DEFERRED if result is None else result.letter
        place = 1 if letter is Letter.DELIVERED else 2 if letter is Letter.DEFERRED else 3
        self.totals[place] += 1
        if place != 1:
            text = b"the delivery program is gone" if result is None else result.text
            self.troubles.append(Trouble(now, letter, address, text[:TEXT_BYTES_MAX].strip()))

    def _pace(self, domain: bytes, took_s: float) -> None:
        # The one that was used last is the last: with too many, the first is forgotten.
        pace = self._paces.pop(domain, None) or Pace()
        self._paces[domain] = pace
        pace.count += 1
        pace.total_s += took_s
        pace.longest_s = max(pace.longest_s, took_s)
        if len(self._paces) > DOMAINS_MAX:
            del self._paces[next(iter(self._paces))]

    def rates(self, window_s: int) -> tuple[float, ...]:
        """Return how many a second there were of each of `totals` in the last `window_s` seconds.

        The second that is going on does not count.
        """
        self._now()
        second, now = self._seconds[-1]
        # Between two notes nothing was counted: the next one says what there was before it.
        then = next(totals for at, totals in self._seconds if at >= second - window_s)
        return tuple((b - a) / window_s for a, b in zip(then, now, strict=True))

    def slowest(self, count: int) -> list[tuple[bytes, Pace]]:
        """Return the domains whose deliveries take longest, on average."""
        by_pace = sorted(self._paces.items(), key=lambda item: -item[1].total_s / item[1].count)
        return by_pace[:count]
