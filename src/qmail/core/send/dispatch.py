"""qmail-send's decisions: what is delivered when, and what follows from each report.

No sockets and no files: events come in as calls, what is to be done comes out in `outputs`, the
queue is a QueueEngine. Whatever must be on disk first waits for `settle_turn`, which does one
commit for a whole turn of the program. Source: spec/queue.md 7, spec/logging.md 2.

The life of a message here:

    NEW       it is in the queue's todo only. With one recipient its delivery starts at once, and
              when that succeeds at the first try nothing more is ever written
    KEEPING   info, local, remote are written; qmail-clean was told to remove the todo entry
    KEPT      deliveries run from local and remote, or it waits in the schedule
    ENDING    nobody is left; a bounce is on its way, or the last files are being removed

Here is the front; the parts are

    core/send/arrivals.py   new messages, told of or found
    core/send/keeping.py    NEW to KEPT
    core/send/passes.py     what is due; the end of a pass
    core/send/lanes.py      slots, and whose turn it is; destinations.py: the domains' own limits
    core/send/outcomes.py   reports
    core/send/ending.py     the end: bounce, last files
    core/send/operator.py   what an operator asks
    core/send/run.py        what they share; core/send/clock_guard.py: whether ages are believed
"""

from typing import Final

from qmail.core.clock import Clock
from qmail.core.queue.engine import Act, QueueEngine
from qmail.core.send.arrivals import RESCAN_S, Arrivals
from qmail.core.send.keeping import Keeping
from qmail.core.send.lanes import Lanes
from qmail.core.send.operator import Operator
from qmail.core.send.outcomes import Outcomes
from qmail.core.send.passes import Passes
from qmail.core.send.run import Run
from qmail.core.send.values import Policy
from qmail.mail import Channel
from qmail.protocol import doors

__all__ = ["RESCAN_S", "Dispatcher"]

SWEEP_S: Final = 76431
NOTE_S: Final = 1500
"""How often it is written down that qmail-send runs."""
LONGEST_WAIT_S: Final = 60.0


class Dispatcher:
    """Decides. One instance is one run of qmail-send."""

    def __init__(self, engine: QueueEngine, clock: Clock, policy: Policy) -> None:
        self._run = Run(engine, clock, policy)
        self.ending = self._run.ending
        self._lanes = Lanes(self._run)
        self.outputs = self._lanes.outputs
        keeping = Keeping(self._run, self._dropped)
        self._passes = Passes(self._run, self._lanes, keeping)
        self._outcomes = Outcomes(self._run, self._lanes, self._passes, keeping)
        self._arrivals = Arrivals(self._run, self._passes, keeping)
        self.operator = Operator(self._run, self._lanes, self._passes)

    # --- start, end, signals --------------------------------------------------------------------

    def start(self) -> None:
        """Log the first status line and recover the queue."""
        self._lanes.log_status()
        self._run.guard.found_at_start(self._run.engine.since_last_run())
        self._note_run()
        self._arrivals.start()
        self.operator.acts.start()
        self._lanes.forget_idle()
        self._sweep()

    def _note_run(self) -> None:
        self._run.engine.note_run()
        self._run.turn.later(NOTE_S, self._note_run)

    def _sweep(self) -> None:
        self.ending.sweep()
        self._run.turn.later(SWEEP_S, self._sweep)

    def exit_soon(self) -> None:
        """TERM: start nothing more, wait for what is running."""
        if not self._run.is_exiting:
            self._run.is_exiting = True
            self._lanes.log_status()

    @property
    def exiting(self) -> bool:
        """True after TERM."""
        return self._run.is_exiting

    @property
    def is_idle(self) -> bool:
        """True when nothing is running and nothing waits for qmail-clean."""
        return self._lanes.is_quiet and not len(self.ending.orders)

    def reread(self, policy: Policy) -> None:
        """HUP: go by these settings, and by the clock, from now on.

        What is under way keeps the limits it was started with.
        """
        self._run.guard.confirm()
        self._run.policy = policy
        self._run.routes = policy.routes
        self.ending.reread(policy.bounces)
        self._lanes.reread()

    def retry_all(self) -> None:
        """ALRM: everything that waits is due now."""
        self._run.selected.clear()
        self._run.engine.act(Act.RETRY_NOW)

    def _dropped(self) -> None:
        self._arrivals.rescan_soon()

    # --- events ---------------------------------------------------------------------------------

    def rescan(self) -> None:
        """Look for queued messages that nobody told us of."""
        self._arrivals.rescan()

    def noticed(self, notice: doors.Notice) -> None:
        """Take a message that qmail-queue tells of."""
        self._arrivals.noticed(notice)

    def connected(self, channel: Channel, slots: int) -> None:
        """A spawner is there, which makes so many deliveries at once."""
        self._lanes.connected(channel, slots)

    def disconnected(self, channel: Channel) -> None:
        """A spawner is gone. What was running there is tried again later."""
        self._lanes[channel].connected = False
        self._outcomes.lost(channel)

    def reported(self, channel: Channel, report: doors.Report) -> None:
        """Take the end of a delivery."""
        self._outcomes.reported(channel, report)

    # --- turns ----------------------------------------------------------------------------------

    def pump(self) -> None:
        """Start what is due, as far as slots are free."""
        self._arrivals.pump()
        self._passes.pump()

    def settle_turn(self) -> None:
        """Commit what this turn wrote, and do what waited for it."""
        self._run.turn.settle(self._run.journal.warn)

    def run_timers(self) -> None:
        """Do what was put off and is due; see that a clock that was set back holds up nothing."""
        set_back_s = self._run.guard.look()
        if set_back_s:
            self._run.journal.warn(f"the clock was set back by {int(set_back_s)} seconds")
            self._run.engine.shift(-set_back_s)
        self._run.turn.run_timers()

    def wait_s(self) -> float:
        """Return how long the program may sleep."""
        if self._arrivals.is_behind:
            return 0.0
        return self._passes.wait_s(self._run.turn.wait_s(LONGEST_WAIT_S))
