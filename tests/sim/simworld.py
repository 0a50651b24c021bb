"""The way of a message on simulated disks: qmail-queue, qmail-send, qmail-clean, the deliverers.

A `Machine` is one run between two power cuts. It drives the real core of each program in the turns
that the programs make of it, without sockets. `Outside` is what no power cut reaches: who got which
answer, what other hosts took. Recipients say how their deliveries go: `late...` is deferred once,
`no...` fails for good, any other is delivered.
"""

import contextlib
import copy
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from tests.sim.power import Choice, Power
from tests.sim.simclock import SimClock
from tests.sim.simfs import SimFs

from qmail.core.addresses.routing import Routes
from qmail.core.bounce.form import bounce_parts
from qmail.core.bounce.rules import BounceControls, Material
from qmail.core.local.maildir import Folder, GroupCommit, deliver, prepare
from qmail.core.queue.clean import clean, clean_pid
from qmail.core.queue.desk import Caller, Desk, Manners
from qmail.core.queue.layout import OSSIFIED_S, SPLIT_FOLDERS, Layout
from qmail.core.queue.read import DiskQueue
from qmail.core.queue.spares import Spares
from qmail.core.queue.write import QueueWriter
from qmail.core.send.dispatch import Dispatcher
from qmail.core.send.values import Bounce, Message, Policy
from qmail.mail import Channel, Envelope, Result, deferred, delivered, failed
from qmail.protocol.doors import Job, Notice, Receipt, Report, Submission
from qmail.protocol.exits import QueueExit
from qmail.protocol.netstring import FrameReader

LAYOUT = Layout(2)
SLOTS = 10000
"""So much the spawners make at once."""
POLICY = Policy(
    routes=Routes(frozenset((b"here",))),
    bounces=BounceControls(b"MAILER-DAEMON", b"here", b"postmaster", b"here"),
    lifetime_s=604800,
    limits={Channel.LOCAL: 10, Channel.REMOTE: 20},
)
WAITS_S = (0, 130, 700, 1600, *[90000] * 5)
"""How a quiet machine's time passes: retries, rescans and, in the end, sweeps."""
TURNS_MAX = 300
BODY_BYTES_MAX = 1 << 20
MAIL_NUMBER = re.compile(rb"^Subject: (\d+)$", re.MULTILINE)
CLIENT_PID = 500
SEND_PID = 400
Key = tuple[int, bytes]
"""One delivery that is owed: number of the mail, recipient."""


@dataclass(frozen=True, slots=True)
class Mail:
    """One message of a scenario."""

    number: int
    sender: bytes
    recipients: tuple[bytes, ...]

    @property
    def text(self) -> bytes:
        """The message as it is submitted: other than every other, its end included."""
        lines = b"".join(b"line %d of mail %d\n" % (line, self.number) for line in range(4))
        return b"Subject: %d\n\n%bend of mail %d\n" % (self.number, lines, self.number)


def mail_number(text: bytes) -> int:
    """Return which mail a text is, 0 for a bounce and for anything else."""
    found = MAIL_NUMBER.search(text)
    return int(found[1]) if found and b"failure notice" not in text else 0


@dataclass(slots=True)
class Outside:
    """What a power cut does not reach."""

    sent: dict[int, Mail] = field(default_factory=dict)
    accepted: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    settled: list[Key] = field(default_factory=list)
    """Deliveries of whose end, K or D, qmail-send heard and whose turn it committed, in order."""
    relayed: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Recipient and text of what other hosts took."""
    tries: dict[Key, int] = field(default_factory=dict)

    def key(self) -> object:
        """Return what tells two worlds apart."""
        facts = (frozenset(self.accepted), frozenset(self.refused), tuple(self.settled))
        return (*facts, tuple(self.relayed), tuple(sorted(self.tries.items())))


@dataclass(frozen=True, slots=True)
class Disks:
    """The queue's file system and the users'; both hang on one plug."""

    queue: SimFs
    mail: SimFs

    @classmethod
    def new(cls, power: Power) -> "Disks":
        """Make an empty home."""
        clock = SimClock()
        disks = cls(SimFs(power, clock), SimFs(power, clock))
        split = [f"{folder}/{index}" for folder in SPLIT_FOLDERS for index in range(LAYOUT.split)]
        for folder in (*split, "pid", "intd", "todo", "bounce", "parked"):
            disks.queue.make_folder(folder)
        for folder in ("tmp", "new", "cur"):
            disks.mail.make_folder(folder)
        return disks

    def after_power_cut(self, queue: Choice, mail: Choice, power: Power | None = None) -> "Disks":
        """Return what is found when the power is back."""
        power, clock = power or Power(), SimClock(self.queue.clock.now() + 60)
        return Disks(
            self.queue.after_power_cut(queue, power, clock),
            self.mail.after_power_cut(mail, power, clock),
        )

    def key(self) -> object:
        """Return what tells two pairs of disks apart."""
        return self.queue.fingerprint(), self.mail.fingerprint()


class QueueProgram:
    """qmail-queue: takes submissions, commits, answers."""

    writer_class: type[QueueWriter] = QueueWriter

    def __init__(self, disks: Disks, outside: Outside, unique: int) -> None:
        clock = disks.queue.clock
        self.spares = Spares(disks.queue, clock, LAYOUT)
        writer = self.writer_class(disks.queue, clock, LAYOUT, self.spares)
        writer.recover()
        self.desk = Desk(writer, clock, Manners(lambda _: b"from network"), unique * 1000)
        self._outside = outside
        self._client = Caller(7, CLIENT_PID)
        self._send = Caller(8, SEND_PID)

    def submit(self, mail: Mail) -> None:
        """Take one message from the network."""
        self._outside.sent[mail.number] = mail
        envelope = Envelope(mail.sender, mail.recipients).pack()
        self._take(self._client, Submission(b"M", mail.number, envelope, mail.text))

    def submit_bounce(self, tag: int, envelope: Envelope, text: bytes) -> None:
        """Take a bounce from qmail-send."""
        self._take(self._send, Submission(b"M", tag, envelope.pack(), text))

    def _take(self, caller: Caller, frame: Submission) -> None:
        for payload in FrameReader(1 << 24).feed(frame.pack()):
            self.desk.take(caller, payload)

    def commit(self) -> list[Notice]:
        """One commit, if anything waits; the answers go out."""
        notices = self.desk.commit() if self.desk.has_work else []
        for receipt in _receipts(self._client):
            is_queued = receipt.code == QueueExit.QUEUED
            (self._outside.accepted if is_queued else self._outside.refused).add(receipt.tag)
        return notices

    def bounce_receipts(self) -> list[Receipt]:
        """Return the answers to qmail-send's bounces."""
        return _receipts(self._send)


def _receipts(caller: Caller) -> list[Receipt]:
    if not caller.answers:
        return []
    payloads = FrameReader(1 << 16).feed(b"".join(caller.answers))
    caller.answers.clear()
    return [Receipt.unpack(payload) for payload in payloads]


class Deliverer:
    """qmail-lspawn and qmail-rspawn with what they start: one batch of deliveries at a time."""

    def __init__(self, disks: Disks, outside: Outside, unique: int) -> None:
        self._disks = disks
        self._outside = outside
        self._unique = unique
        self._numbers = count(1)
        self.jobs: list[tuple[Channel, Job]] = []
        self.reports: deque[tuple[Channel, Report]] = deque()

    def work(self) -> None:
        """Make all deliveries that were asked for, and commit them together."""
        jobs, self.jobs = self.jobs, []
        local = []
        for channel, job in jobs:
            try:
                text = self._disks.queue.read("mess/" + job.body.decode(), BODY_BYTES_MAX)
            except OSError as trouble:
                self._report(channel, job, deferred(str(trouble).encode()))
                continue
            result = self._outcome(job, text)
            if result is not None:
                self._report(channel, job, result)
            elif channel is Channel.REMOTE:
                self._outside.relayed.append((job.recipient, text))
                self._report(channel, job, delivered(b"accepted"))
            else:
                local.append((job, text))
        for job, failure in self.deliver(local):
            result = deferred(str(failure).encode()) if failure else delivered(b"did_1+0+0/")
            self._report(Channel.LOCAL, job, result)

    def new_place(self, recipient: bytes) -> tuple[Folder, str]:
        """Return maildir and name of the file that the next delivery to `recipient` makes."""
        name = f"{self._unique}.{next(self._numbers)}R.{recipient.decode()}"
        return Folder(self._disks.mail, 1), name

    def deliver(self, mails: list[tuple[Job, bytes]]) -> Iterator[tuple[Job, OSError | None]]:
        """Put texts into new/ as qmail-local does; yield each job with what went wrong."""
        commit = GroupCommit()
        for index, (job, text) in enumerate(mails):
            folder, name = self.new_place(job.recipient)
            try:
                made = prepare(folder, name, text[:10], [text[10:]])
            except OSError as trouble:
                yield job, trouble
            else:
                commit.add(index, (made,))
        while not commit.is_idle:
            for settled in commit.step():
                yield mails[settled.ticket][0], settled.trouble

    def _outcome(self, job: Job, text: bytes) -> Result | None:
        key = (mail_number(text), job.recipient)
        self._outside.tries[key] = self._outside.tries.get(key, 0) + 1
        if job.recipient.startswith(b"late") and self._outside.tries[key] == 1:
            return deferred(b"not yet\n")
        return failed(b"nobody of that name\n") if job.recipient.startswith(b"no") else None

    def _report(self, channel: Channel, job: Job, result: Result) -> None:
        self.reports.append((channel, Report(job.delivery, result.pack())))


class LonelyDeliverer(Deliverer):
    """The same without company: each delivery syncs its own file and folder."""

    def deliver(self, mails: list[tuple[Job, bytes]]) -> Iterator[tuple[Job, OSError | None]]:
        """Deliver one after the other."""
        for job, text in mails:
            folder, name = self.new_place(job.recipient)
            try:
                deliver(folder, name, text[:10], [text[10:]])
            except OSError as trouble:
                yield job, trouble
            else:
                yield job, None


class SendProgram:
    """qmail-send: its decisions, and the doors to the others as lists."""

    def __init__(self, disks: Disks, outside: Outside) -> None:
        self._disks = disks
        self._outside = outside
        self.engine = self.make_engine()
        self.dispatcher = Dispatcher(self.engine, disks.queue.clock, self.policy())
        self.asked: dict[int, Message] = {}
        self.bounces: list[Bounce] = []
        self.started: dict[int, Key] = {}
        self.alerts: list[bytes] = []
        self._heard: list[Key] = []
        self._tags = count(1)
        self.dispatcher.start()
        for channel in Channel:
            self.dispatcher.connected(channel, SLOTS)
        self.dispatcher.rescan()
        self.settle_turn()

    def make_engine(self) -> DiskQueue:
        """Return the engine that keeps the queue."""
        return DiskQueue(self._disks.queue, self._disks.queue.clock, LAYOUT)

    def policy(self) -> Policy:
        """Return what the control files say."""
        return POLICY

    def report(self, channel: Channel, report: Report) -> None:
        """Hear how a delivery ended."""
        self.dispatcher.reported(channel, report)
        if report.text[:1] in (b"K", b"D"):
            self._heard.append(self.started[report.delivery])

    def settle_turn(self) -> None:
        """Commit the turn; only now is what it heard settled."""
        self.dispatcher.settle_turn()
        self._outside.settled += [key for key in self._heard if key[0]]
        self._heard.clear()
        lines = self.dispatcher.ending.journal.lines
        lines += [note.encode() for note in self.engine.notes]
        self.alerts += [line for line in lines if line.startswith(b"alert")]
        lines.clear()
        self.engine.notes.clear()

    def take_jobs(self) -> list[tuple[Channel, Job]]:
        """Return the deliveries to start."""
        jobs = []
        for channel, frames in self.dispatcher.outputs.jobs.items():
            if not frames:
                continue
            for payload in FrameReader(1 << 20).feed(b"".join(frames)):
                job = Job.unpack(payload)
                path = "mess/" + job.body.decode()
                try:
                    text = self._disks.queue.read(path, BODY_BYTES_MAX)
                except FileNotFoundError:
                    # Found in todo and then taken back by qmail-queue, because its sync failed.
                    self.dispatcher.reported(channel, Report(job.delivery, b"Zno message"))
                    continue
                self.started[job.delivery] = (mail_number(text), job.recipient)
                jobs.append((channel, job))
            frames.clear()
        return jobs

    def take_orders(self) -> list[bytes]:
        """Return what qmail-clean is asked for."""
        orders = list(self.dispatcher.ending.orders.new)
        self.dispatcher.ending.orders.new.clear()
        return orders

    def send_bounces(self, queue: QueueProgram) -> None:
        """Hand new bounces to qmail-queue."""
        bounces = self.dispatcher.ending.bounces
        while bounces:
            # One by one: a qmail-queue that is killed by one of them has not had the others.
            bounce = bounces.pop(0)
            tag = next(self._tags)
            self.asked[tag] = bounce.message
            parts = bounce_parts(bounce.notice, self._material(bounce), b"token%d" % tag)
            queue.submit_bounce(tag, bounce.envelope, b"".join(parts))

    def _material(self, bounce: Bounce) -> Material:
        disk, path = self._disks.queue, "mess/" + bounce.body.decode()
        found = disk.info(path)
        assert found is not None
        return Material(
            found.size,
            int(found.mtime),
            lambda: disk.parts(bounce.reports.decode()),
            lambda: disk.parts(path),
        )

    def take_receipts(self, receipts: list[Receipt]) -> None:
        """Hear what became of the bounces."""
        for receipt in receipts:
            message = self.asked.pop(receipt.tag, None)
            if message is not None:
                is_queued = receipt.code == QueueExit.QUEUED
                self.dispatcher.ending.bounced(message, receipt.qp if is_queued else None)


class Machine:
    """All programs from a start to a power cut. `who` is the one that is at work."""

    queue_class: type[QueueProgram] = QueueProgram
    send_class: type[SendProgram] = SendProgram
    deliverer_class: type[Deliverer] = Deliverer
    fsync_keeps_names = False

    def __init__(self, disks: Disks, outside: Outside, boot: int = 1) -> None:
        for disk in (disks.queue, disks.mail):
            disk.fsync_keeps_names = self.fsync_keeps_names
        self.disks = disks
        self.outside = outside
        self.boots = boot
        self.who = "queue"
        self.queue = self.queue_class(disks, outside, boot)
        self.who = "send"
        self.send = self.send_class(disks, outside)
        self.deliverer = self.deliverer_class(disks, outside, boot)
        self.orders: list[bytes] = []

    @property
    def who(self) -> str:
        """The program at work."""
        return self.disks.queue.power.who

    @who.setter
    def who(self, who: str) -> None:
        self.disks.queue.power.who = who

    def submit(self, *mails: Mail) -> None:
        """Messages come in, all at once."""
        self.who = "queue"
        for mail in mails:
            self.queue.submit(mail)

    def queue_turn(self) -> None:
        """qmail-queue commits, answers, and tells qmail-send."""
        self.who = "queue"
        notices = self.queue.commit()
        receipts = self.queue.bounce_receipts()
        self.who = "send"
        for notice in notices:
            self.send.dispatcher.noticed(notice)
        self.send.take_receipts(receipts)

    def accept_all(self) -> None:
        """Let qmail-queue work until everything is answered; nothing is delivered yet."""
        while self.queue.desk.has_work:
            self.queue_turn()

    def turn(self) -> bool:
        """One turn of every program, one report at a time. Returns: whether anything was done."""
        send = self.send
        self.who = "send"
        send.dispatcher.pump()
        send.settle_turn()
        self.deliverer.jobs += send.take_jobs()
        self.orders += send.take_orders()
        self.who = "queue"
        send.send_bounces(self.queue)
        is_busy = bool(self.orders or self.deliverer.jobs or self.queue.desk.has_work)
        self.clean_turn()
        self.who = "deliverer"
        self.deliverer.work()
        self.queue_turn()
        if self.deliverer.reports:
            is_busy = True
            send.report(*self.deliverer.reports.popleft())
        send.dispatcher.run_timers()
        send.settle_turn()
        return is_busy

    def clean_turn(self) -> None:
        """qmail-clean carries out its orders."""
        self.who = "clean"
        answers = self.do_orders(self.orders)
        self.orders = []
        self.who = "send"
        assert self.send.dispatcher.ending.orders.answered(answers)

    def do_orders(self, orders: list[bytes]) -> bytes:
        """Return qmail-clean's answers."""
        return b"".join([clean(self.disks.queue, LAYOUT, order) for order in orders])

    def work(self) -> None:
        """Go on until everybody waits."""
        for _ in range(TURNS_MAX):
            if not self.turn():
                return
        raise AssertionError("the programs never come to rest")

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and what it brings."""
        self.disks.queue.clock.advance(seconds)
        self.who = "send"
        self.send.dispatcher.run_timers()

    def rest(self) -> None:
        """Let time pass until the queue is empty, or until it ought to have been long ago."""
        for wait_s in WAITS_S:
            self.pass_time(wait_s)
            self.work()
            self.who = "queue"
            # It may be told of a sync that failed for another program; the next one is better.
            with contextlib.suppress(OSError):
                self.queue.spares.blank()
            if not any(path[:4] != "pid/" for path in self.disks.queue.files()):
                break
        self.who = "clean"
        clean_pid(self.disks.queue, self.disks.queue.clock.now() + OSSIFIED_S)


def copy_of(outside: Outside) -> Outside:
    """Return a world that goes on separately from here."""
    return copy.deepcopy(outside)
