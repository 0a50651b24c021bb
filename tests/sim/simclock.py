"""A clock that stands still until it is told to go on."""


class SimClock:
    """The Clock of a simulated world."""

    def __init__(self, now: float = 1_000_000_000.0) -> None:
        self._now = now

    def now(self) -> float:
        """Return seconds since 1970-01-01 UTC."""
        return self._now

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds
