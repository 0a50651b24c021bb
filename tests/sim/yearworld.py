"""The programs of a simulated year: those of simworld.py, with deliveries that take their time.

Every program reports to the `World`, which no power cut reaches: ledger, watch, network, chance.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from zlib import crc32

from tests.sim.killing import KillMachine
from tests.sim.ledger import PARAGRAPH, Digest, Entry, Ledger, Owed, digest, plain, told_of
from tests.sim.network import Attempt, Network, Server, at_home
from tests.sim.power import PowerCut
from tests.sim.simworld import (
    BODY_BYTES_MAX,
    LAYOUT,
    Deliverer,
    Disks,
    Mail,
    Outside,
    QueueProgram,
    SendProgram,
)
from tests.sim.survey import asked_for
from tests.sim.watch import Newcomer, Started, Watch

from qmail.core.bounce.rules import Material
from qmail.core.queue.desk import Caller
from qmail.core.queue.engine import Claim, Ticket
from qmail.core.queue.read import DiskQueue
from qmail.core.send.values import Bounce, Policy
from qmail.mail import Channel, Envelope
from qmail.protocol.doors import Job, Notice, Receipt, Report
from qmail.protocol.exits import QueueExit

TURNS_MAX = 1_000_000


class World(Outside):
    """What no power cut reaches, and what the administrator has written into control/."""

    def __init__(self, random: Random, network: Network, policy: Policy) -> None:
        super().__init__()
        self.random = random
        self.network = network
        self.policy = policy
        self.ledger = Ledger()
        self.watch = Watch(policy)
        self.fingerprint = 0
        """Of all log lines: two runs of a seed have the same."""
        self.log_lines = 0
        self.digests: dict[int, Digest] = {}
        """By mail number."""
        self.done: dict[int, list[bytes]] = {}
        """By mail number: whose end qmail-send has heard of and committed, in order."""
        self.arrivals: dict[int, Digest] = {}
        """Which message was the last to arrive under each number."""
        self.is_disk_ill = False
        """A sync failed: until the next power cut the disk knows less than it seems to."""

    def log(self, line: bytes) -> None:
        """Take one line of qmail-send's log."""
        self.fingerprint = crc32(line, self.fingerprint)
        self.log_lines += 1

    def heard(self) -> None:
        """Sort what was settled by mail."""
        for number, recipient in self.settled:
            self.done.setdefault(number, []).append(recipient)
        self.settled.clear()

    def crashed(self, disks: Disks) -> None:
        """A program that knew of deliveries is gone: what the disk asks for may come again."""
        owed = [(digest(text), name) for text, name in asked_for(disks.queue.files())]
        self.heard()
        if not self.is_disk_ill:
            self._check_settled(set(owed))
        self.ledger.may_repeat(owed)

    def _check_settled(self, owed: set[Owed]) -> None:
        """See survey.check_settled: the last of a message alone may be asked for again."""
        asked = {found for found, _ in owed}
        for number, found in self.digests.items():
            if found in asked:
                done = self.done.get(number, [])
                is_over = self.ledger.is_over(found)
                again = {name for name in (done[:-1] if is_over else done) if (found, name) in owed}
                assert not again, f"mail {number} is owed again to {again}, which was settled"

    def look_for_torn(self, after: Disks) -> None:
        """See that nobody is to get what a power cut has left half, whatever failed before.

        A todo entry has a seal that tells, and the ledger knows nobody who could get such a text.
        """
        files = after.queue.files()
        kept = {
            path: text
            for path, text in files.items()
            if not (path.startswith("mess/") and f"todo/{path.rpartition('/')[2]}" in files)
        }
        torn = {text for text, _ in asked_for(kept)}
        torn = {text for text in torn if digest(text) not in self.ledger.entries}
        assert not torn, f"not a whole message, and to be delivered: {torn}"

    def forget_settled(self, disks: Disks) -> None:
        """Take back what was settled and is asked for again."""
        owed = {(digest(text), name) for text, name in asked_for(disks.queue.files())}
        asked = {found for found, _ in owed}
        for number, found in self.digests.items():
            if found in asked and number in self.done:
                done = self.done[number]
                self.done[number] = [name for name in done if (found, name) not in owed]


def world_of(outside: Outside) -> World:
    """Return the world that the programs of a year are in."""
    assert isinstance(outside, World)
    return outside


class YearQueue(QueueProgram):
    """qmail-queue, whose submissions and receipts go into the ledger."""

    def __init__(self, disks: Disks, outside: Outside, unique: int) -> None:
        super().__init__(disks, outside, unique)
        self.world = world_of(outside)
        # Every submitter is another process.
        self._client = Caller(7, 10_000_000 + unique)
        self._send = Caller(8, 20_000_000 + unique)
        self.bouncing: tuple[Digest, bytes] = (b"", b"")
        self._bounces: dict[int, Digest] = {}

    def submit(self, mail: Mail) -> None:
        """Take one message from the network."""
        found = self.world.ledger.submitted(mail.text, Entry(mail.sender, mail.recipients))
        self.world.digests[mail.number] = found
        super().submit(mail)

    def submit_bounce(self, tag: int, envelope: Envelope, text: bytes) -> None:
        """Take a bounce from qmail-send."""
        parent, paragraphs = self.bouncing
        for name in PARAGRAPH.findall(paragraphs):
            assert b"<" + name + b">:" in text or b"rfc822;" + name in text, name
        names = frozenset(told_of(paragraphs))
        entry = Entry(envelope.sender, envelope.recipients, parent, names)
        self._bounces[tag] = self.world.ledger.bounce_submitted(text, entry)
        super().submit_bounce(tag, envelope, text)

    def commit(self) -> list[Notice]:
        """One commit, if anything waits; the answers go out."""
        notices = super().commit()
        for number in self.world.accepted:
            self.world.ledger.accepted(self.world.digests[number])
        self.world.accepted.clear()
        return notices

    def bounce_receipts(self) -> list[Receipt]:
        """Return the answers to qmail-send's bounces."""
        receipts = super().bounce_receipts()
        for receipt in receipts:
            if receipt.code == QueueExit.QUEUED and receipt.tag in self._bounces:
                self.world.ledger.accepted(self._bounces.pop(receipt.tag))
        return receipts


class YearEngine(DiskQueue):
    """The queue, under watch."""

    def __init__(self, disks: Disks, world: World) -> None:
        self._disk = disks.queue
        self._world = world
        super().__init__(disks.queue, disks.queue.clock, LAYOUT)

    def _birth(self, number: int) -> int:
        found = self._disk.info(LAYOUT.info(number))
        return int(found.mtime) if found else 0

    def claim(self, ticket: Ticket) -> Claim:
        """Start a pass."""
        found = self._disk.info(LAYOUT.channel(ticket.channel.word, ticket.message))
        claim = super().claim(ticket)
        key, was_due = (ticket.message, ticket.channel), found.mtime if found else 0.0
        self._world.watch.pass_began(key, self._disk.clock.now(), was_due)
        return claim

    def renew(self, ticket: Ticket, delay_s: float) -> None:
        """Give a ticket back."""
        key, now = (ticket.message, ticket.channel), self._disk.clock.now()
        self._world.watch.renewed(key, self._birth(ticket.message), delay_s, now)
        super().renew(ticket, delay_s)

    def settle(self, ticket: Ticket, offset: int) -> None:
        """Mark the record at `offset` done: so ends as well what an operator deletes."""
        number = ticket.message
        if number in self._world.watch.operated:
            path = LAYOUT.channel(ticket.channel.word, number)
            records = self._disk.read(path, BODY_BYTES_MAX)
            name = plain(records[offset + 1 : records.index(b"\0", offset)])
            found = digest(self._disk.read(LAYOUT.mess(number), BODY_BYTES_MAX))
            if found in self._world.ledger.given_up:
                self._world.ledger.deleted.add((found, name))
        super().settle(ticket, offset)

    def blame(self, message: int, paragraph: bytes) -> None:
        """Add what the sender will be told of one recipient."""
        now = self._disk.clock.now()
        self._world.watch.blamed(message, self._birth(message), paragraph, now)
        text = self._disk.read(LAYOUT.mess(message), BODY_BYTES_MAX)
        for name in told_of(paragraph):
            self._world.ledger.failed.add((digest(text), name))
        super().blame(message, paragraph)


class YearSend(SendProgram):
    """qmail-send, under watch."""

    def __init__(self, disks: Disks, outside: Outside) -> None:
        self.world = world_of(outside)
        self.world.watch.new_run(self.world.policy)
        super().__init__(disks, outside)

    def make_engine(self) -> DiskQueue:
        """Return the engine that keeps the queue."""
        return YearEngine(self._disks, self.world)

    def policy(self) -> Policy:
        """Return what the control files say."""
        return self.world.policy

    def _now(self) -> float:
        return self._disks.queue.clock.now()

    def digest_of(self, number: int) -> Digest:
        """Return which message this is."""
        return digest(self._disks.queue.read(LAYOUT.mess(number), BODY_BYTES_MAX))

    def report(self, channel: Channel, report: Report) -> None:
        """Hear how a delivery ended."""
        self.world.watch.ended(report.delivery, report.text, self._now())
        super().report(channel, report)
        self.started.pop(report.delivery, None)

    def settle_turn(self) -> None:
        """Commit the turn."""
        # What it does before the commit counts as well: look for lines twice.
        lines = self.dispatcher.ending.journal.lines
        self._read_log(lines)
        seen = len(lines)
        self.dispatcher.settle_turn()
        self._read_log(lines[seen:])
        super().settle_turn()
        assert not self.alerts, self.alerts

    def _read_log(self, lines: list[bytes]) -> None:
        for line in lines:
            self.world.log(line)
            word, _, rest = line.partition(b" msg ")
            if word == b"new":
                self._arrived(int(rest), len(lines))
            elif word == b"operator:" and b" deleted to " in rest:
                self._deleted(int(rest.partition(b" ")[0]))

    def _arrived(self, number: int, others: int) -> None:
        """Whoever is new has a right to be started before long, whoever else is."""
        now, watch, found = self._now(), self.world.watch, self.digest_of(number)
        # One that was held before qmail-send started again arrives once more, and is held.
        watch.arrived(number, now, is_known=self.world.arrivals.get(number) == found)
        self.world.arrivals[number] = found
        for channel in Channel:
            lane = self.dispatcher._lanes[channel]
            # Those that came with it can be ahead of it, and so can passes that are opened now.
            ahead = len(lane.ready) + others + lane.limit
            watch.expect(number, channel, Newcomer(now, ahead))

    def _deleted(self, number: int) -> None:
        is_meant = self.digest_of(number) in self.world.ledger.given_up
        assert is_meant, "deleted, and nobody asked for it"

    def take_jobs(self) -> list[tuple[Channel, Job]]:
        """Return the deliveries to start."""
        asked: set[int] = set()
        for channel, frames in self.dispatcher.outputs.jobs.items():
            for frame in frames:
                job = Job.unpack(frame.partition(b":")[2][:-1])
                number = int(job.body.rpartition(b"/")[2])
                begun = Started(number, channel, job.recipient)
                self.world.watch.started(job.delivery, begun, self._now())
                asked.add(job.delivery)
        jobs = super().take_jobs()
        for delivery in asked - {job.delivery for _, job in jobs}:
            # Its message was taken back by qmail-queue.
            self.world.watch.ended(delivery, b"Z", self._now())
        return jobs

    def _material(self, bounce: Bounce) -> Material:
        material = super()._material(bounce)
        paragraphs = b"".join(material.reports())
        self.queue.bouncing = (self.digest_of(bounce.message.number), paragraphs)
        return material

    def send_bounces(self, queue: QueueProgram) -> None:
        """Hand new bounces to qmail-queue."""
        assert isinstance(queue, YearQueue)
        self.queue = queue
        super().send_bounces(queue)


@dataclass(slots=True)
class Flight:
    """One delivery on its way."""

    channel: Channel
    job: Job
    found: Digest
    attempt: Attempt
    server: Server | None
    is_awaited: bool = True


class Spawners(Deliverer):
    """qmail-lspawn and qmail-rspawn with a delivery for each job, as long as it takes."""

    def __init__(self, disks: Disks, outside: Outside, unique: int) -> None:
        super().__init__(disks, outside, unique)
        self.world = world_of(outside)
        self.flights: list[tuple[float, int, Flight]] = []

    def work(self) -> None:
        """Start what was asked for."""
        jobs, self.jobs = self.jobs, []
        now = self._disks.queue.clock.now()
        for channel, job in jobs:
            try:
                text = self._disks.queue.read("mess/" + job.body.decode(), BODY_BYTES_MAX)
            except OSError as trouble:
                self.reports.append((channel, Report(job.delivery, b"Z" + str(trouble).encode())))
                continue
            if channel is Channel.REMOTE:
                attempt, server = self.world.network.attempt(job.recipient, now)
            else:
                attempt, server = at_home(job.recipient, now, self.world.random), None
            flight = Flight(channel, job, digest(text), attempt, server)
            heapq.heappush(self.flights, (now + attempt.took_s, next(self._numbers), flight))

    def next_landing(self) -> float | None:
        """Return when the next delivery ends."""
        return self.flights[0][0] if self.flights else None

    def land(self) -> None:
        """End what is at its end."""
        now = self._disks.queue.clock.now()
        while self.flights and self.flights[0][0] <= now:
            flight = heapq.heappop(self.flights)[2]
            self._end(flight, is_taken=flight.attempt.is_taken)
            if flight.is_awaited:
                report = Report(flight.job.delivery, flight.attempt.text)
                self.reports.append((flight.channel, report))

    def _end(self, flight: Flight, *, is_taken: bool) -> None:
        if flight.server is not None:
            flight.server.sessions -= 1
        if is_taken:
            self.world.ledger.has(flight.found, flight.job.recipient)

    def orphan(self) -> None:
        """Nobody waits for the reports of what is under way any more."""
        for _, _, flight in self.flights:
            flight.is_awaited = False

    def abandon(self) -> None:
        """End everything at once: some of it was taken, and nobody hears of that."""
        for _, _, flight in self.flights:
            self.world.ledger.may_repeat([(flight.found, flight.job.recipient)])
            is_taken = flight.attempt.is_taken and self.world.random.random() < 0.5
            self._end(flight, is_taken=is_taken)
        self.flights.clear()


class YearMachine(KillMachine):
    """All programs from one power cut to the next."""

    queue_class = YearQueue
    send_class = YearSend
    deliverer_class = Spawners
    queue: YearQueue
    send: YearSend
    deliverer: Spawners

    def __init__(self, disks: Disks, outside: Outside, boot: int = 1) -> None:
        self.world = world_of(outside)
        super().__init__(disks, outside, boot)

    def guarded(self, who: str, work: Callable[[], object]) -> None:
        """Have one program do something; it may be killed."""
        self.who = who
        try:
            work()
        except PowerCut:
            self._survive()

    def go_on(self) -> None:
        """Take turns until everybody waits."""
        self.deliverer.land()
        # What timers bring is seen to in the next turn, of which there would be none.
        self.guarded("send", self.send.dispatcher.run_timers)
        for _ in range(TURNS_MAX):
            if not self.turn():
                return
        raise AssertionError("the programs never come to rest")

    def _died(self) -> None:
        self.disks.queue.power.restore()
        if self.who in ("send", "deliverer"):
            self.world.crashed(self.disks)
        super()._died()

    def _restart_send(self) -> None:
        self.deliverer.work()
        self.deliverer.orphan()
        super()._restart_send()

    def restart_send(self) -> None:
        """After TERM and the end of everything that ran."""
        self.guarded("send", self._restart_send)

    def kill_spawners(self) -> None:
        """Both are gone at once, and come back."""
        self.who = "deliverer"
        self._died()

    def _restart_deliverer(self) -> None:
        self.deliverer.abandon()
        for channel in Channel:
            self.world.watch.lost(channel, self.disks.queue.clock.now())
        super()._restart_deliverer()
