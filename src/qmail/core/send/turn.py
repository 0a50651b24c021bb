"""One turn of qmail-send: what it wrote is committed once, then what waited for that is done."""

import heapq
from collections.abc import Callable

from qmail.core.clock import Clock
from qmail.core.queue.engine import EngineError

Work = Callable[[], None]


class Turn:
    """Work that waits for the commit at the end of the turn, and work that waits for a time."""

    def __init__(self, clock: Clock, commit: Work) -> None:
        self._clock = clock
        self._commit = commit
        self._dirty = False
        self._after: list[tuple[Work, Work]] = []
        self._later: list[tuple[float, int, Work]] = []
        self._count = 0

    def wrote(self) -> None:
        """Note that something is to be committed though nothing waits for it."""
        self._dirty = True

    def commit_then(self, done: Work, lost: Work) -> None:
        """After the commit call `done`, or `lost` where it failed."""
        self._dirty = True
        self._after.append((done, lost))

    def settle(self, warn: Callable[[object], None]) -> None:
        """Commit, then do what waited; repeat while that writes more."""
        while self._dirty:
            self._dirty = False
            after, self._after = self._after, []
            try:
                self._commit()
            except EngineError as trouble:
                warn(trouble)
                for _, lost in after:
                    lost()
                continue
            for done, _ in after:
                done()

    def later(self, delay_s: float, work: Work) -> None:
        """Call `work` in `delay_s` seconds."""
        self._count += 1
        heapq.heappush(self._later, (self._clock.monotonic() + delay_s, self._count, work))

    def run_timers(self) -> None:
        """Do what `later` put off and is due."""
        now = self._clock.monotonic()
        while self._later and self._later[0][0] <= now:
            heapq.heappop(self._later)[2]()

    def wait_s(self, most_s: float) -> float:
        """Return seconds until the next timer, at most `most_s`."""
        if not self._later:
            return most_s
        return min(most_s, max(0.0, self._later[0][0] - self._clock.monotonic()))
