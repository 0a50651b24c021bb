"""What the parts of one run of qmail-send share: queue, clock, log, settings, messages at work."""

from qmail.core.clock import Clock
from qmail.core.queue.engine import QueueEngine, Ticket
from qmail.core.send.clock_guard import ClockGuard
from qmail.core.send.ending import Ending
from qmail.core.send.gauges import Gauges
from qmail.core.send.reasons import Reasons
from qmail.core.send.selected import Selections
from qmail.core.send.turn import Turn
from qmail.core.send.values import Policy


class Run:
    """Handed to every part of core/send/dispatch.py; each of them does one thing with it."""

    def __init__(self, engine: QueueEngine, clock: Clock, policy: Policy) -> None:
        self.engine = engine
        self.clock = clock
        self.policy = policy
        self.routes = policy.routes
        self.guard = ClockGuard(clock)
        self.turn = Turn(clock, engine.commit)
        self.ending = Ending(engine, clock, policy.bounces, self.turn)
        self.journal = self.ending.journal
        self.messages = self.ending.messages
        self.is_exiting = False
        self.reasons = Reasons()
        self.gauges = Gauges(clock)
        self.hurried: set[Ticket] = set()
        """Passes that are open, and are to be made again as soon as they end."""
        self.selected = Selections()

    def is_dying(self, age_s: int) -> bool:
        """Say whether what is tried at this age is tried for the last time."""
        if age_s <= self.policy.lifetime_s or self.guard.may_expire:
            return age_s > self.policy.lifetime_s
        warning = self.guard.warning()
        if warning:
            self.journal.alert(warning)
        return False

    def schedule_age_s(self, age_s: int) -> int:
        """Return the age by which a message is scheduled: one that is not believed counts less."""
        return age_s if self.guard.may_expire else min(age_s, self.policy.lifetime_s)
