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
"""

from collections.abc import Callable
from typing import Final

from qmail.core.bounce import TOO_LONG, paragraph
from qmail.core.clock import Clock
from qmail.core.dispatch_values import Job, Lane, Message, Outputs, Policy, Stage
from qmail.core.ending import Ending
from qmail.core.queue_engine import Arrival, DamagedError, EngineError, QueueEngine, Ticket
from qmail.core.routing import Routes, route, verp_sender, without_prepend
from qmail.core.schedule import SYSTEM_FAILURE_S, retry_delay
from qmail.core.turn import Turn
from qmail.mail import Channel, Envelope, Letter, Result
from qmail.protocol import doors
from qmail.protocol.logtext import SAFE

RESCAN_S: Final = 1500
SETTLING_S: Final = 3
"""No commit takes as long as this, or the next look finds it."""
SWEEP_S: Final = 76431
LONGEST_WAIT_S: Final = 60.0
KIND_TODO: Final = ord("T")
KIND_DONE: Final = ord("D")


class Dispatcher:
    """Decides. One instance is one run of qmail-send."""

    def __init__(self, engine: QueueEngine, clock: Clock, policy: Policy) -> None:
        self._turn = Turn(clock, engine.commit)
        self.ending = Ending(engine, clock, policy.bounces, self._turn)
        self.outputs = Outputs()
        self.exiting = False
        self._journal = self.ending.journal
        self._messages = self.ending.messages
        self._engine = engine
        self._clock = clock
        self._policy = policy
        self._routes = policy.routes
        self._lanes = {channel: Lane(policy.limits[channel]) for channel in Channel}
        self._scanned: set[tuple[int, int]] = set()
        self._scanned_before: set[tuple[int, int]] = set()
        self._is_rescan_due = False
        self._is_settling = False
        self._delivery = 0
        self._tail = b""

    # --- start, end, signals --------------------------------------------------------------------

    def log_status(self) -> None:
        """Log how many deliveries run (spec/logging.md 2)."""
        local, remote = self._lanes[Channel.LOCAL], self._lanes[Channel.REMOTE]
        self._journal.add(
            b"status: local %d/%d remote %d/%d%b"
            % (local.used, local.limit, remote.used, remote.limit, self._tail)
        )

    def start(self) -> None:
        """Log the first status line and recover the queue."""
        self.log_status()
        for arrival in self._engine.scan():
            self._found(arrival)
        self._sweep()
        self._turn.later(RESCAN_S, self._rescan_again)

    def _sweep(self) -> None:
        self.ending.sweep()
        self._turn.later(SWEEP_S, self._sweep)

    def _rescan_again(self) -> None:
        # No notice is on its way for as long as this: what was scanned before is forgotten.
        self._scanned_before, self._scanned = self._scanned, set()
        self.rescan()
        self._turn.later(RESCAN_S, self._rescan_again)

    def _rescan_soon(self) -> None:
        if not self._is_rescan_due:
            self._is_rescan_due = True
            self._turn.later(SYSTEM_FAILURE_S, self._rescan_now)

    def _rescan_settled(self) -> None:
        self._is_settling = False
        self.rescan()

    def _rescan_now(self) -> None:
        self._is_rescan_due = False
        self.rescan()

    def rescan(self) -> None:
        """Look for queued messages that nobody told us of."""
        if self.exiting:
            return
        # One that ends may have left its number to a new message already.
        known = {m.number for m in self._messages.values() if m.stage is not Stage.ENDING}
        try:
            for arrival in self._engine.arrivals(known):
                if not self.ending.is_removing(arrival):
                    self._found(arrival)
        except OSError as trouble:
            self._journal.warn(f"unable to scan the queue: {trouble}")

    def _found(self, arrival: Arrival) -> None:
        """Take a message that was found in the queue; a notice of it may still be under way.

        One that came just now may not be accepted yet, and would be taken back if its sync failed:
        it is left for its notice, or for another look.
        """
        if 0 <= int(self._clock.now()) - arrival.birth < SETTLING_S:
            if not self._is_settling:
                self._is_settling = True
                self._turn.later(SETTLING_S, self._rescan_settled)
            return
        self._scanned.add((arrival.message, arrival.qp))
        self.arrived(arrival)

    def noticed(self, notice: doors.Notice) -> None:
        """Take a message that qmail-queue tells of."""
        key = (notice.message, notice.qp)
        if self.exiting or key in self._scanned or key in self._scanned_before:
            self._scanned.discard(key)
            self._scanned_before.discard(key)
            return
        known = self._messages.get(notice.message)
        if known is not None and known.stage is not Stage.ENDING:
            return
        if notice.envelope:
            envelope = Envelope.unpack(notice.envelope)
            self.arrived(
                Arrival(
                    notice.message,
                    notice.size,
                    notice.uid,
                    notice.qp,
                    notice.birth,
                    envelope.sender,
                    envelope.recipients,
                )
            )
            return
        arrival = self._engine.arrival(notice.message)
        if arrival is not None:
            self.arrived(arrival)

    def exit_soon(self) -> None:
        """TERM: start nothing more, wait for what is running."""
        if not self.exiting:
            self.exiting = True
            self._tail = b" exitasap"
            self.log_status()

    @property
    def is_idle(self) -> bool:
        """True when nothing is running and nothing waits for qmail-clean."""
        return not any(lane.used for lane in self._lanes.values()) and not len(self.ending.orders)

    def reread(self, routes: Routes) -> None:
        """HUP: route by these from now on."""
        self._routes = routes

    def connected(self, channel: Channel, *, is_up: bool) -> None:
        """A spawner came or went. What was running there is tried again later."""
        lane = self._lanes[channel]
        lane.connected = is_up
        if not is_up:
            for delivery in list(lane.running):
                self.reported(channel, doors.Report(delivery, b""))

    # --- new messages ---------------------------------------------------------------------------

    def arrived(self, arrival: Arrival) -> None:
        """Preprocess: decide the channel of each recipient (spec/queue.md 7.3)."""
        number = arrival.message
        message = Message(number, arrival.sender, arrival, Stage.NEW)
        self._messages[number] = message
        self._journal.add(b"new msg %d" % number)
        self._journal.add(
            b"info msg %d: bytes %d from <%b> qp %d uid %d"
            % (number, arrival.size, arrival.sender.translate(SAFE), arrival.qp, arrival.uid)
        )
        for recipient in arrival.recipients:
            channel, address = route(recipient, self._routes)
            message.lists.setdefault(channel, []).append(address)
        if not arrival.recipients:
            self._journal.add(b"end msg %d" % number)
            self.ending.remove(message, b"done/%d" % number)
        elif len(arrival.recipients) == 1:
            # The entry in todo/ says all that info and local would say: nothing is written.
            self._open_jobs(message)
        else:
            self._keep(message, lambda: self._open_jobs(message))

    def _keep(self, message: Message, then: Callable[[], None]) -> None:
        """Write info, local and remote, sync, have todo removed, then go on."""
        arrival = message.arrival
        assert arrival is not None
        message.stage = Stage.KEEPING
        try:
            self._engine.keep(arrival, message.lists)
        except EngineError as trouble:
            self._drop(message, trouble)
            return
        self._turn.commit_then(
            lambda: self.ending.orders.give(b"todo/%d" % message.number, cleaned, arrival),
            lambda: self._drop(message, "trouble syncing"),
        )

        def cleaned(is_gone: bool) -> None:
            if not is_gone:
                self._drop(message, f"qmail-clean unable to clean up todo/{message.number}")
                return
            message.stage = Stage.KEPT
            then()

    def _drop(self, message: Message, why: object) -> None:
        """Forget a message that is still in todo; the next scan starts over with it."""
        self._journal.warn(why)
        self._engine.start_over(message.number)
        if self._messages.get(message.number) is message:
            del self._messages[message.number]
        self._rescan_soon()

    def _open_jobs(self, message: Message) -> None:
        arrival = message.arrival
        birth = arrival.birth if arrival else 0
        age_s = max(0, int(self._clock.now()) - birth)
        dying = age_s > self._policy.lifetime_s
        for channel, addresses in message.lists.items():
            records = b"".join([b"T" + address + b"\0" for address in addresses])
            message.jobs += 1
            self._lanes[channel].ready.append(Job(message, channel, records, age_s, dying))
        if message.stage is Stage.KEPT:
            message.arrival = None
            message.lists = {}

    # --- passes ---------------------------------------------------------------------------------

    def pump(self) -> None:
        """Start what is due, as far as slots are free."""
        if self.exiting:
            return
        for channel, lane in self._lanes.items():
            self._open_passes(channel, lane)
            while lane.ready and lane.connected and lane.used < lane.limit:
                self._advance(lane)
                if not lane.ready:
                    self._open_passes(channel, lane)

    def _open_passes(self, channel: Channel, lane: Lane) -> None:
        # No more than can run at once: a long queue stays in the engine and not in memory.
        while lane.passes <= lane.limit and (ticket := self._engine.due(channel)) is not None:
            self._open_pass(ticket)

    def _open_pass(self, ticket: Ticket) -> None:
        try:
            claim = self._engine.claim(ticket)
        except EngineError as trouble:
            self._journal.warn(trouble)
            self._engine.renew(ticket, SYSTEM_FAILURE_S)
            return
        except DamagedError as damage:
            self._journal.add(b"alert: " + str(damage).encode())
            return
        message = self._messages.get(ticket.message)
        if message is None:
            message = Message(ticket.message, claim.sender, None, Stage.KEPT)
            self._messages[ticket.message] = message
        message.jobs += 1
        dying = claim.age_s > self._policy.lifetime_s
        job = Job(message, ticket.channel, claim.records, claim.age_s, dying, is_pass=True)
        if claim.records:
            lane = self._lanes[ticket.channel]
            lane.passes += 1
            lane.ready.append(job)
        else:
            self._end_pass(job)

    def _advance(self, lane: Lane) -> None:
        """Start one delivery of the first job that is ready; the jobs take turns."""
        job = lane.ready.popleft()
        records, start = job.records, job.position
        size = len(records)
        while start < size and records[start] == KIND_DONE:
            start = records.index(b"\0", start) + 1
        if start < size:
            end = records.index(b"\0", start)
            job.position = end + 1
            if records[start] == KIND_TODO:
                self._start(lane, job, start, records[start + 1 : end])
            else:
                self._journal.warn(
                    f"unknown record type in the recipients of message {job.message.number}!"
                )
                job.left += 1
                job.position = size
        else:
            job.position = size
        if job.position < size:
            lane.ready.append(job)
            return
        lane.passes -= job.is_pass
        if not job.outstanding:
            self._end_pass(job)

    def _start(self, lane: Lane, job: Job, offset: int, address: bytes) -> None:
        self._delivery += 1
        delivery, message = self._delivery, job.message
        job.outstanding += 1
        lane.used += 1
        lane.running[delivery] = (job, offset, address)
        self._journal.add(
            b"starting delivery %d: msg %d to %b %b"
            % (
                delivery,
                message.number,
                b"remote" if job.channel else b"local",
                address.translate(SAFE),
            )
        )
        self.log_status()
        self.outputs.jobs[job.channel].append(
            doors.Job(
                delivery,
                self._engine.body(message.number),
                verp_sender(message.sender, address),
                address,
            ).pack()
        )

    # --- reports --------------------------------------------------------------------------------

    def reported(self, channel: Channel, report: doors.Report) -> None:
        """Take the end of a delivery. An empty report: its spawner is gone."""
        lane = self._lanes[channel]
        running = lane.running.pop(report.delivery, None)
        if running is None:
            self._journal.warn("internal error: delivery report out of range")
            return
        job, offset, address = running
        lane.used -= 1
        job.outstanding -= 1
        result = Result.unpack(report.text)
        head = b"delivery %d: " % report.delivery
        if result is None:
            self._journal.add(head + b"report mangled, will defer")
            job.left += 1
        elif result.letter is Letter.DELIVERED:
            self._journal.add(head + b"success: " + result.text.translate(SAFE))
            self._settle(job, offset)
        elif result.letter is Letter.DEFERRED and not job.dying:
            self._journal.add(head + b"deferral: " + result.text.translate(SAFE))
            job.left += 1
        else:
            text = result.text
            if result.letter is Letter.DEFERRED:
                text = (text if text.endswith(b"\n") or not text else text + b"\n") + TOO_LONG
            self._journal.add(head + b"failure: " + text.translate(SAFE))
            self._blame(job, offset, address, text)
        self.log_status()
        if not job.outstanding and job.position >= len(job.records):
            self._end_pass(job)

    def _settle(self, job: Job, offset: int) -> None:
        is_last = job.position >= len(job.records) and not (job.outstanding or job.left)
        if job.message.stage is Stage.NEW or is_last:
            # Removing the envelope, or the file of this channel, says the same as a mark.
            return
        try:
            self._engine.settle(job.ticket, offset)
            self._turn.wrote()
        except EngineError as trouble:
            self._journal.warn(trouble)

    def _blame(self, job: Job, offset: int, address: bytes, text: bytes) -> None:
        """Write what the sender is to be told, and only when that is on disk mark the recipient."""
        message = job.message
        if message.stage is Stage.NEW:
            self._keep_and_blame(job, address, text)
            return
        job.outstanding += 1

        def written() -> None:
            job.outstanding -= 1
            self._settle(job, offset)
            if not job.outstanding and job.position >= len(job.records):
                self._end_pass(job)

        def lost() -> None:
            job.outstanding -= 1
            job.left += 1
            if not job.outstanding and job.position >= len(job.records):
                self._end_pass(job)

        try:
            self._engine.blame(
                message.number, paragraph(without_prepend(address, self._routes), text)
            )
        except EngineError as trouble:
            # Never a failure that nobody is told of: the recipient is tried again. Whoever reported
            # it ends the pass.
            self._journal.warn(trouble)
            job.outstanding -= 1
            job.left += 1
            return
        self._turn.commit_then(written, lost)

    def _keep_and_blame(self, job: Job, address: bytes, text: bytes) -> None:
        message = job.message
        job.outstanding += 1

        def kept() -> None:
            job.outstanding -= 1
            self._end_pass(job)

        self._keep(message, kept)
        if message.stage is Stage.KEEPING:
            try:
                told = paragraph(without_prepend(address, self._routes), text)
                self._engine.blame(message.number, told)
            except EngineError as trouble:
                self._journal.warn(trouble)
                job.left += 1

    def _end_pass(self, job: Job) -> None:
        """Everybody on this channel was tried once."""
        message = job.message
        if message.stage is Stage.NEW:
            if job.left:
                self._keep(message, lambda: self._end_pass(job))
            else:
                self._journal.add(b"end msg %d" % message.number)
                self.ending.remove(message, b"done/%d" % message.number)
            return
        if message.stage is Stage.KEEPING:
            return
        try:
            if job.left:
                self._engine.renew(job.ticket, retry_delay(job.age_s, job.channel))
                is_last = False
            else:
                is_last = self._engine.close(job.ticket)
                if not is_last:
                    # The removed file was the mark of its last recipient; the message lives on.
                    self._turn.wrote()
        except EngineError as trouble:
            self._journal.warn(trouble)
            # Only this is tried again: the last recipient is served and may not be marked.
            self._turn.later(SYSTEM_FAILURE_S, lambda: self._end_pass(job))
            return
        message.jobs -= 1
        if is_last:
            self.ending.complete(message)
        elif not message.jobs and self._messages.get(message.number) is message:
            del self._messages[message.number]

    # --- turns ----------------------------------------------------------------------------------

    def settle_turn(self) -> None:
        """Commit what this turn wrote, and do what waited for it."""
        self._turn.settle(self._journal.warn)

    def run_timers(self) -> None:
        """Do what was put off and is due."""
        self._turn.run_timers()

    def wait_s(self) -> float:
        """Return how long the program may sleep."""
        wait_s = self._turn.wait_s(LONGEST_WAIT_S)
        for channel, lane in self._lanes.items():
            if lane.passes <= lane.limit and not self.exiting:
                due_s = self._engine.wait(channel)
                wait_s = wait_s if due_s is None else min(wait_s, due_s)
        return wait_s
