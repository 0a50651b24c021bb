"""Passes: everybody who is left of a message on one channel is tried once (spec/queue.md 7.4)."""

from qmail.core.dispatch_values import Job, Message, Stage
from qmail.core.keeping import Keeping
from qmail.core.lanes import Lane, Lanes
from qmail.core.queue_engine import DamagedError, EngineError, Ticket
from qmail.core.schedule import SYSTEM_FAILURE_S, retry_delay
from qmail.core.send_run import Run
from qmail.mail import Channel


class Passes:
    """Begins and ends them."""

    def __init__(self, run: Run, lanes: Lanes, keeping: Keeping) -> None:
        self._run = run
        self._lanes = lanes
        self._keeping = keeping

    # --- begin ----------------------------------------------------------------------------------

    def begin(self, message: Message) -> None:
        """Have a new message tried for the first time."""
        arrival = message.arrival
        birth = arrival.birth if arrival else 0
        age_s = max(0, int(self._run.clock.now()) - birth)
        dying = age_s > self._run.policy.lifetime_s
        for channel, addresses in message.lists.items():
            records = b"".join([b"T" + address + b"\0" for address in addresses])
            message.jobs += 1
            self._lanes[channel].ready.append(Job(message, channel, records, age_s, dying))
        if message.stage is Stage.KEPT:
            message.arrival = None
            message.lists = {}

    def pump(self) -> None:
        """Start what is due, as far as slots are free."""
        if self._run.is_exiting:
            return
        for channel in Channel:
            lane = self._lanes[channel]
            self._open_due(channel, lane)
            while lane.ready and lane.has_room:
                ended = self._lanes.advance(lane)
                if ended is not None:
                    self.end(ended)
                if not lane.ready:
                    self._open_due(channel, lane)

    def _open_due(self, channel: Channel, lane: Lane) -> None:
        # No more than can run at once: a long queue stays in the engine and not in memory.
        engine = self._run.engine
        while lane.passes <= lane.limit and (ticket := engine.due(channel)) is not None:
            self._open(ticket)

    def _open(self, ticket: Ticket) -> None:
        run = self._run
        try:
            claim = run.engine.claim(ticket)
        except EngineError as trouble:
            run.journal.warn(trouble)
            run.engine.renew(ticket, SYSTEM_FAILURE_S)
            return
        except DamagedError as damage:
            run.journal.alert(damage)
            return
        message = run.messages.get(ticket.message)
        if message is None:
            message = Message(ticket.message, claim.sender, None, Stage.KEPT)
            run.messages[ticket.message] = message
        message.jobs += 1
        dying = claim.age_s > run.policy.lifetime_s
        job = Job(message, ticket.channel, claim.records, claim.age_s, dying, is_pass=True)
        if claim.records:
            lane = self._lanes[ticket.channel]
            lane.passes += 1
            lane.ready.append(job)
        else:
            self.end(job)

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
                run.journal.add(b"end msg %d" % message.number)
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
        message.jobs -= 1
        if is_last:
            run.ending.complete(message)
        elif not message.jobs and run.messages.get(message.number) is message:
            del run.messages[message.number]

    def _give_back(self, job: Job) -> bool:
        """Schedule what is left, or close the channel. Returns: whether the message is served."""
        run = self._run
        if job.left:
            run.engine.renew(job.ticket, retry_delay(job.age_s, job.channel))
            return False
        is_last = run.engine.close(job.ticket)
        if not is_last:
            # The removed file was the mark of its last recipient; the message lives on.
            run.turn.wrote()
        return is_last

    # --- waiting --------------------------------------------------------------------------------

    def wait_s(self, most_s: float) -> float:
        """Return how long nothing is due, at most `most_s`."""
        if self._run.is_exiting:
            return most_s
        for channel in Channel:
            lane = self._lanes[channel]
            due_s = self._run.engine.wait(channel) if lane.passes <= lane.limit else None
            most_s = most_s if due_s is None else min(most_s, due_s)
        return most_s
