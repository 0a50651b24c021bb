"""The seam for time: a Protocol and the real clock, side by side."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where the programs learn what time it is."""

    def now(self) -> float:
        """Return seconds since 1970-01-01 UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never run backwards, from an arbitrary start."""
        ...


class RealClock:
    """The machine's clock."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


def booted() -> float:
    """Return when this machine was started, in seconds since 1970 by the clock as it is now."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


REAL_CLOCK = RealClock()
