"""When next: qmail's quadratic retry times, and the heap of what is due (spec/delivery.md 12)."""

import heapq
from collections.abc import Collection
from math import isqrt
from typing import Final

from qmail.mail import Channel

SKIP: Final = {Channel.LOCAL: 10, Channel.REMOTE: 20}
SYSTEM_FAILURE_S: Final = 123
"""Wait after trouble with our own disk or programs (spec/queue.md 12)."""


def retry_delay(age_s: int, channel: Channel) -> int:
    """Return in how many seconds a message of this age is tried again, after the attempt now.

    The same as birth + (isqrt(age) + skip)^2 of spec/delivery.md 12, seen from now.
    """
    age_s = max(0, age_s)
    return (isqrt(age_s) + SKIP[channel]) ** 2 - age_s


HERD_MAX: Final = 500
HERD_PER_S: Final = 50
"""After a start so many overdue messages are due at once, then so many each second: new mail gets
its turn, and the hosts that we were away from are not run down (spec/oddities.md 6)."""
FARTHEST_S: Final = 86400
"""No message waits longer than this after a start: its file's time is then of another clock."""

Due = tuple[float, int]


def spread(dues: list[Due], now: float) -> list[Due]:
    """Return what was found at a start in order, without a herd at its head."""
    dues.sort()
    herd = [entry for entry in dues if entry[0] <= now or entry[0] > now + FARTHEST_S]
    spread_out = [(min(due, now), number) for due, number in herd[:HERD_MAX]]
    spread_out += [
        (now + index / HERD_PER_S, number) for index, (_, number) in enumerate(herd[HERD_MAX:])
    ]
    later = [entry for entry in dues if now < entry[0] <= now + FARTHEST_S]
    return sorted(spread_out + later)


class Schedule:
    """Message numbers by the time at which they are due."""

    def __init__(self) -> None:
        self._heap: list[Due] = []

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._heap)

    def add(self, due: float, number: int) -> None:
        """Put a message in."""
        heapq.heappush(self._heap, (due, number))

    def fill(self, dues: list[Due], now: float) -> None:
        """Take what was found at a start."""
        # A list in order is a heap.
        self._heap = spread([*dues, *self._heap], now)

    def shift(self, seconds: float) -> None:
        """Go by a clock that was set: everything waits for as long as it would have."""
        self._heap = [(due + seconds, number) for due, number in self._heap]

    def next_due(self) -> float | None:
        """Return the earliest time, None when nothing waits."""
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: float) -> int | None:
        """Take out the earliest message if its time has come."""
        if self._heap and self._heap[0][0] <= now:
            return heapq.heappop(self._heap)[1]
        return None

    def all_due_now(self, now: float) -> list[int]:
        """Make everything due; return the numbers."""
        numbers = [number for _, number in self._heap]
        self._heap = [(now, number) for number in numbers]
        return numbers

    def move(self, numbers: Collection[int], due: float) -> None:
        """Have these messages, whether or not they are in, due at one time."""
        self._heap = [entry for entry in self._heap if entry[1] not in numbers]
        self._heap += [(due, number) for number in numbers]
        heapq.heapify(self._heap)

    def entries(self) -> list[Due]:
        """Return times and numbers, in no order."""
        return list(self._heap)
