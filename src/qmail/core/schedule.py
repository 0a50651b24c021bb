"""When next: qmail's quadratic retry times, and the heap of what is due (spec/delivery.md 12)."""

import heapq
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


class Schedule:
    """Message numbers by the time at which they are due."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int]] = []

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._heap)

    def add(self, due: float, number: int) -> None:
        """Put a message in."""
        heapq.heappush(self._heap, (due, number))

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

    def entries(self) -> list[tuple[float, int]]:
        """Return times and numbers, in no order."""
        return list(self._heap)
