"""Passes: everybody who is left of a message on one channel is tried once (spec/queue.md 7.4)."""

from typing import Final

from qmail.core.queue.engine import DamagedError, EngineError, Ticket
from qmail.core.queue.schedule import SYSTEM_FAILURE_S, retry_delay
from qmail.core.send.destinations import Destination
from qmail.core.send.keeping import Keeping
from qmail.core.send.lanes import Lane, Lanes
from qmail.core.send.run import Run
from qmail.core.send.selected import Selection
from qmail.core.send.values import Job, Message, Stage
from qmail.mail import Channel

TURNS_MAX: Final = 1000
OPENED_MAX: Final = 200
"""So many turns and passes, then the program looks whether there is something else to do."""


def all_done(records: bytes) -> bool:
    """Say whether every record is one of a recipient that is done."""
    return records.count(b"\0") == records.count(b"\0D") + (records[:1] == b"D")


class Passes:
    """Begins and ends them."""

    def __init__(self, run: Run, lanes: Lanes, keeping: Keeping) -> None:
        self._run = run
        self._lanes = lanes
        self._keeping = keeping
        self._is_behind = False

    # --- begin ----------------------------------------------------------------------------------

    def begin(self, message: Message) -> None:
        """Have a new message tried for the first time."""
        arrival = message.arrival
        birth = arrival.birth if arrival else 0
        age_s = max(0, int(self._run.clock.now()) - birth)
        dying = self._run.is_dying(age_s)
        for channel, records in message.records.items():
            message.open_on(channel)
            kept, masked = self._run.engine.operators.notes.mask(message.number, channel, records)
            job = Job(message, channel, kept, age_s, self._run.clock.monotonic(), dying)
            job.left = job.turned_away = masked
            self._lanes.announce(job)
        if message.stage is Stage.KEPT:
            message.arrival = None
            message.records = {}

    def pump(self) -> None:
        """Start what is due, as far as slots are free; no longer than a moment at a time."""
        self._is_behind = False
        if self._run.is_exiting:
            return
        for channel in Channel:
            lane = self._lanes[channel]
            self._open_due(channel, lane)
            for _ in range(TURNS_MAX):
                if not (lane.ready and lane.has_room):
                    break
                self._take_turn(lane)
                if not lane.ready:
                    self._open_due(channel, lane)
            else:
                self._is_behind = True

    def _take_turn(self, lane: Lane) -> None:
        ready = lane.ready.popleft()
        if isinstance(ready, Job):
            self._advance(lane, ready)
            return
        number = self._lanes.serve(lane, ready)
        if number is not None:
            job = self._open(Ticket(number, Channel.REMOTE))
            if job is not None:
                self._advance(lane, job, ready)
            self._lanes.queue(ready)

    def _advance(self, lane: Lane, job: Job, turn_of: Destination | None = None) -> None:
        self._lanes.advance(lane, job, turn_of)
        if job.is_put_by:
            self._leave(job)
        else:
            self.end_if_done(job)

    def _open_due(self, channel: Channel, lane: Lane) -> None:
        # No more than can run at once: a long queue stays in the engine and not in memory.
        for _ in range(OPENED_MAX):
            ticket = self._run.engine.due(channel) if lane.passes <= lane.limit else None
            if ticket is None:
                return
            job = self._open(ticket)
            if job is not None:
                lane.ready.append(job)
        self._is_behind = True

    def _open(self, ticket: Ticket) -> Job | None:
        """Begin a pass. Returns: it, if there is anybody to try."""
        run = self._run
        selection = run.selected.take(ticket)
        try:
            claim = run.engine.claim(ticket)
        except EngineError as trouble:
            run.journal.warn(trouble)
            if run.engine.operators.is_there(ticket.message):
                run.selected.keep(ticket, selection)
                run.engine.renew(ticket, SYSTEM_FAILURE_S)
            return None
        except DamagedError as damage:
            run.journal.warn(damage)
            return None
        is_over = all_done(claim.records)
        if is_over and claim.masked:
            # It is scheduled again when an operator lets it go.
            return None
        message = run.messages.get(ticket.message)
        if message is not None and message.stage is Stage.ENDING:
            # Asked for on a channel that nobody is on: its bounce is on its way already.
            return None
        records, others = selection.applied(claim.records) if selection else (claim.records, 0)
        if others and all_done(records):
            # Those who were meant are served, or held by now.
            run.engine.renew(ticket, self._left_s(selection))
            return None
        if message is None:
            message = Message(ticket.message, claim.sender, None, Stage.KEPT)
            if run.journal.is_detailed:
                message.tail = run.journal.tail(run.engine.trace_id(ticket.message))
            run.messages[ticket.message] = message
        message.open_on(ticket.channel)
        dying, began = run.is_dying(claim.age_s), run.clock.monotonic()
        job = Job(message, ticket.channel, records, claim.age_s, began, dying, is_pass=True)
        job.left = job.turned_away = claim.masked + others
        job.due_at = selection.due_at if selection and others else None
        if is_over:
            job.position = len(job.records)
            self.end(job)
            return None
        self._lanes[ticket.channel].passes += 1
        return job

    # --- end ------------------------------------------------------------------------------------

    def end_if_done(self, job: Job) -> None:
        """End the pass if all its recipients were looked at and nothing of it is open."""
        if not job.outstanding and job.position >= len(job.records):
            self.end(job)

    def end(self, job: Job) -> None:
        """Everybody on this channel was tried once."""
        run, message = self._run, job.message
        if message.stage is Stage.NEW:
            if job.left:
                self._keeping.keep(message, lambda: self.end(job))
            else:
                run.journal.add(b"end msg %d%b" % (message.number, message.tail))
                run.ending.remove(message, b"done/%d" % message.number)
            return
        if message.stage is Stage.KEEPING:
            return
        try:
            is_last = self._give_back(job)
        except EngineError as trouble:
            run.journal.warn(trouble)
            # Only this is tried again: the last recipient is served and may not be marked.
            run.turn.later(SYSTEM_FAILURE_S, lambda: self.end(job))
            return
        if is_last:
            message.close_on(job.channel)
            run.ending.complete(message)
        else:
            self._leave(job)

    def _leave(self, job: Job) -> None:
        """Forget a message with one job less, if it has none: it waits elsewhere."""
        message, messages = job.message, self._run.messages
        message.close_on(job.channel)
        if not message.is_open and messages.get(message.number) is message:
            del messages[message.number]

    def _give_back(self, job: Job) -> bool:
        """Schedule what is left, or close the channel. Returns: whether the message is served."""
        run = self._run
        hurries = bool(run.hurried) and job.ticket in run.hurried
        run.hurried.discard(job.ticket)
        if job.left:
            delay_s = self._delay_s(job)
            if hurries:
                run.selected.put_off(job.ticket, run.clock.monotonic() + delay_s)
            run.engine.renew(job.ticket, 0 if hurries else delay_s)
            return False
        run.selected.take(job.ticket)
        is_last = run.engine.close(job.ticket)
        if not is_last:
            # The removed file was the mark of its last recipient; the message lives on.
            run.turn.wrote()
        return is_last

    def _left_s(self, selection: Selection | None) -> float:
        """Return in how many seconds everybody is due, of whom some were selected."""
        if selection is None or selection.due_at is None:
            return SYSTEM_FAILURE_S
        return max(0.0, selection.due_at - self._run.clock.monotonic())

    def _delay_s(self, job: Job) -> float:
        if job.due_at is not None:
            return max(0.0, job.due_at - self._run.clock.monotonic())
        if job.left == job.turned_away:
            return SYSTEM_FAILURE_S
        # Counted from the start of the pass (spec/delivery.md 12), however long that took.
        took_s = self._run.clock.monotonic() - job.began
        age_s = self._run.schedule_age_s(job.age_s)
        return max(0.0, retry_delay(age_s, job.channel) - took_s)

    # --- waiting --------------------------------------------------------------------------------

    def wait_s(self, most_s: float) -> float:
        """Return how long nothing is due, at most `most_s`."""
        if self._run.is_exiting:
            return most_s
        if self._is_behind:
            return 0.0
        for channel in Channel:
            lane = self._lanes[channel]
            due_s = self._run.engine.wait(channel) if lane.passes <= lane.limit else None
            most_s = most_s if due_s is None else min(most_s, due_s)
        return most_s
