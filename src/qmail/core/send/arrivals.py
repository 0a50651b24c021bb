"""New messages: told of by qmail-queue or found in the queue, and taken apart (spec/queue.md 7.3).

One can come both ways, and its number can come back before the news of its end: each is taken once.
"""

from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Final

from qmail.core.queue.engine import Arrival
from qmail.core.queue.schedule import SYSTEM_FAILURE_S
from qmail.core.send.keeping import Keeping
from qmail.core.send.passes import Passes
from qmail.core.send.run import Run
from qmail.core.send.sorting import Sorting, sort_one
from qmail.core.send.values import Message, Stage
from qmail.mail import Envelope
from qmail.protocol import doors
from qmail.protocol.logtext import SAFE

RESCAN_S: Final = 1500
OPENDIR_S: Final = 10
"""When a folder that can't be read is looked at again (spec/logging.md 4)."""
SETTLING_S: Final = 3
"""No commit takes as long as this, or the next look finds it."""
MESSAGES_MAX: Final = 20000
"""With so many messages at work no more are taken; they are found when half of those are gone."""


class Arrivals:
    """Takes new messages."""

    def __init__(self, run: Run, passes: Passes, keeping: Keeping) -> None:
        self._run = run
        self._passes = passes
        self._keeping = keeping
        self._scanned: set[tuple[int, int]] = set()
        self._scanned_before: set[tuple[int, int]] = set()
        self._is_rescan_due = False
        self._is_settling = False
        self._is_crowded = False
        self._sorting: deque[Sorting] = deque()

    # --- found ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Recover the queue, and look into it now and then from now on."""
        self._take_all(self._run.engine.scan())
        self._run.turn.later(RESCAN_S, self._rescan_again)

    def _rescan_again(self) -> None:
        # No notice is on its way for as long as this: what was scanned before is forgotten.
        self._scanned_before, self._scanned = self._scanned, set()
        self.rescan()
        self._run.turn.later(RESCAN_S, self._rescan_again)

    def rescan_soon(self) -> None:
        """Look again when trouble may have passed."""
        if not self._is_rescan_due:
            self._is_rescan_due = True
            self._run.turn.later(SYSTEM_FAILURE_S, self._rescan_now)

    def _rescan_settled(self) -> None:
        self._is_settling = False
        self.rescan()

    def _rescan_now(self) -> None:
        self._is_rescan_due = False
        self.rescan()

    def rescan(self) -> None:
        """Look for queued messages that nobody told us of."""
        run = self._run
        if run.is_exiting:
            return
        # One that ends may have left its number to a new message already.
        known = {m.number for m in run.messages.values() if m.stage is not Stage.ENDING}
        try:
            self._take_all(run.engine.arrivals(known))
        except OSError as trouble:
            run.journal.alert("unable to opendir todo, sleeping...")
            run.journal.add(f"qmail-send: todo: {trouble}".encode(errors="replace"))
            if not self._is_settling:
                self._is_settling = True
                run.turn.later(OPENDIR_S, self._rescan_settled)

    def _take_all(self, arrivals: Iterator[Arrival]) -> None:
        for arrival in arrivals:
            if self._has_no_room():
                return
            if not self._run.ending.is_removing(arrival):
                self._found(arrival)
        self._park()

    def _has_no_room(self) -> bool:
        self._is_crowded = self._is_crowded or len(self._run.messages) >= MESSAGES_MAX
        return self._is_crowded

    def _found(self, arrival: Arrival) -> None:
        """Take a message that was found in the queue; a notice of it may still be under way.

        One that came just now may not be accepted yet, and would be taken back if its sync failed:
        it is left for its notice, or for another look.
        """
        if 0 <= int(self._run.clock.now()) - arrival.birth < SETTLING_S:
            if not self._is_settling:
                self._is_settling = True
                self._run.turn.later(SETTLING_S, self._rescan_settled)
            return
        self._scanned.add((arrival.message, arrival.qp))
        self._arrived(arrival)

    # --- told -----------------------------------------------------------------------------------

    def noticed(self, notice: doors.Notice) -> None:
        """Take a message that qmail-queue tells of."""
        key = (notice.message, notice.qp)
        if self._run.is_exiting or key in self._scanned or key in self._scanned_before:
            self._scanned.discard(key)
            self._scanned_before.discard(key)
            return
        known = self._run.messages.get(notice.message)
        if self._has_no_room():
            return
        if known is not None and known.stage is not Stage.ENDING:
            return
        if notice.envelope:
            envelope = Envelope.unpack(notice.envelope)
            self._arrived(
                Arrival(
                    notice.message,
                    notice.size,
                    notice.uid,
                    notice.qp,
                    notice.birth,
                    envelope.sender,
                    envelope.recipients,
                    notice.trace_id,
                )
            )
            return
        arrival = self._run.engine.arrival(notice.message)
        if arrival is not None:
            self._arrived(arrival)
        self._park()

    # --- what makes no sense --------------------------------------------------------------------

    def _park(self) -> None:
        """Have what makes no sense moved to where the queue does not meet it again."""
        run = self._run
        for number in run.engine.unreadable():
            if number not in run.messages:
                run.ending.orders.give(b"park/%d" % number, partial(self._parked, number))

    def _parked(self, number: int, is_done: bool) -> None:
        journal = self._run.journal
        if not is_done:
            journal.warn(f"qmail-clean unable to clean up park/{number}")
        elif self._run.engine.is_parked(number):
            journal.alert(f"message {number} has no readable envelope: parked/{number}.mess has it")

    # --- taken apart ----------------------------------------------------------------------------

    def _arrived(self, arrival: Arrival) -> None:
        """Preprocess: decide the channel of each recipient."""
        run, number = self._run, arrival.message
        message = Message(number, arrival.sender, arrival, Stage.NEW)
        tail = message.tail = run.journal.tail(arrival.trace_id)
        run.messages[number] = message
        run.gauges.arrived()
        run.journal.add(b"new msg %d%b" % (number, tail))
        sender = arrival.sender.translate(SAFE)
        run.journal.add(
            b"info msg %d: bytes %d from <%b> qp %d uid %d%b"
            % (number, arrival.size, sender, arrival.qp, arrival.uid, tail)
        )
        if not arrival.recipients:
            run.journal.add(b"end msg %d%b" % (number, tail))
            run.ending.remove(message, b"done/%d" % number)
        elif len(arrival.recipients) == 1:
            # The entry in todo/ says all that info and local would say: nothing is written.
            (recipient,) = arrival.recipients
            message.records = sort_one(recipient, run.routes)
            self._passes.begin(message)
        else:
            self._sort(Sorting(message))

    def _sort(self, sorting: Sorting) -> None:
        message = sorting.message
        if sorting.go_on(self._run.routes):
            self._keeping.keep(message, lambda: self._passes.begin(message))
        else:
            self._sorting.append(sorting)

    def pump(self) -> None:
        """Go on with what is too long, or was too much, to be taken at once."""
        if self._run.is_exiting:
            return
        if self._sorting:
            self._sort(self._sorting.popleft())
        if self._is_crowded and len(self._run.messages) <= MESSAGES_MAX // 2:
            self._is_crowded = False
            self.rescan()

    @property
    def is_behind(self) -> bool:
        """True when `pump` has more to do."""
        return bool(self._sorting) and not self._run.is_exiting
