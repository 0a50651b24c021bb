"""Whether the clock can be believed when it says that a message is too old (spec/oddities.md 6).

A clock that is wrong by years bounces the whole queue in one pass. So nothing expires after a jump
of more than a day, whether it is seen to happen or found at the start, before somebody confirms it
(HUP) or a day has passed without another.
"""

from typing import Final

from qmail.core.clock import Clock

JUMP_S: Final = 86400
"""A longer jump forward is not believed."""
TRUST_S: Final = 86400
"""After so long without another jump the clock is believed all the same."""
STEP_BACK_S: Final = 60
"""By more than this set back, everything that waits would wait as much longer."""


class ClockGuard:
    """Compares the clock that people set with the one that only runs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall = clock.now()
        self._running = clock.monotonic()
        self._trusted_at = self._running
        self._jump_s = 0.0
        self._is_said = False

    def found_at_start(self, since_last_run_s: float | None) -> None:
        """Take in for how long, by the clock, no qmail-send has run; None: there is no telling."""
        if since_last_run_s is not None and since_last_run_s > JUMP_S:
            self._distrust(since_last_run_s)

    def look(self) -> float:
        """Compare the clocks. Returns: seconds by which the clock was set back, 0 where it wasn't.

        A machine that slept has not been set back.
        """
        wall, running = self._clock.now(), self._clock.monotonic()
        jump_s = (wall - self._wall) - (running - self._running)
        self._wall, self._running = wall, running
        if jump_s > JUMP_S:
            self._distrust(jump_s)
        return -jump_s if jump_s < -STEP_BACK_S else 0.0

    def _distrust(self, jump_s: float) -> None:
        self._trusted_at = self._clock.monotonic() + TRUST_S
        self._jump_s = jump_s
        self._is_said = False

    def confirm(self) -> None:
        """Somebody has looked at the clock: it is right."""
        self._trusted_at = self._clock.monotonic()

    @property
    def may_expire(self) -> bool:
        """True while ages are believed."""
        return self._clock.monotonic() >= self._trusted_at

    def warning(self) -> str:
        """Return what to tell when a message would expire and may not: once for each jump."""
        if self._is_said:
            return ""
        self._is_said = True
        return (
            f"the clock went {int(self._jump_s)} seconds forward, or nothing ran for so long: no"
            " message is given up for its age for a day, or until HUP says that the clock is right"
        )
