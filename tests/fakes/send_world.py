"""qmail-send's decisions with a queue in memory: what they ask for, and how the others answer."""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from tests.fakes.queue_world import START, FakeClock

from qmail.core.addresses.routing import Routes
from qmail.core.bounce.form import bounce_parts
from qmail.core.bounce.rules import BounceControls, Material
from qmail.core.queue.engine import Act, Arrival, Claim, DamagedError, EngineError, Ticket
from qmail.core.queue.notes import Notes
from qmail.core.queue.operator_engine import About, OperatorEngine, Waiting
from qmail.core.send.dispatch import Dispatcher
from qmail.core.send.values import Bounce, Policy
from qmail.core.settings.host_limits import NO_LIMITS, HostLimits
from qmail.mail import Channel, Envelope
from qmail.protocol.doors import JOB_FRAME_MAX, Job, Notice, Report
from qmail.protocol.netstring import FrameReader

LIFETIME_S = 604800
SLOTS = 10000
"""So much the spawners make at once."""
ROUTES = Routes(frozenset((b"here.ex",)), {b"v.ex": b"joe-v"})
BOUNCES = BounceControls(b"MAILER-DAEMON", b"here.ex", b"postmaster", b"here.ex")


@dataclass(slots=True)
class Kept:
    """One preprocessed message: sender, birth, records by channel."""

    sender: bytes
    birth: int
    records: dict[Channel, bytearray]


class MemoryStore:
    """A Store of notes that lasts as long as the test; `is_broken`: the disk is full."""

    def __init__(self) -> None:
        self.raw = b""
        self.is_broken = False

    def read(self) -> bytes | None:
        return self.raw or None

    def append(self, entries: bytes) -> None:
        self.replace(self.raw + entries)

    def replace(self, entries: bytes) -> None:
        if self.is_broken:
            raise EngineError("no room")
        self.raw = entries


@dataclass
class FakeEngine:
    """A QueueEngine in memory. Calls named in `broken` raise; `log` lists what was written."""

    clock: FakeClock
    todo: dict[int, Arrival] = field(default_factory=dict)
    kept: dict[int, Kept] = field(default_factory=dict)
    told: dict[int, bytes] = field(default_factory=dict)
    schedule: list[tuple[float, Ticket]] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    log: list[str] = field(default_factory=list)
    old: list[int] = field(default_factory=list)
    senseless: list[int] = field(default_factory=list)
    parked: set[int] = field(default_factory=set)
    last_run_s: float | None = None
    read: list[int] = field(default_factory=list)
    notes: Notes = field(default_factory=lambda: Notes(MemoryStore()))
    owners: dict[int, int] = field(default_factory=dict)

    def _do(self, call: str, *about: object) -> None:
        if call in self.broken:
            raise EngineError(f"{call} failed")
        self.log.append(" ".join([call, *map(str, about)]))

    @property
    def operators(self) -> OperatorEngine:
        return self

    def birth(self, message: int) -> int | None:
        found = self.kept.get(message) or self.todo.get(message)
        return found.birth if found else None

    def is_there(self, message: int) -> bool:
        return message in self.kept or message in self.todo

    def due_now(self, tickets: Iterable[tuple[int, Channel]]) -> None:
        chosen = [Ticket(*each) for each in tickets]
        self.schedule = [entry for entry in self.schedule if entry[1] not in chosen]
        self.schedule += [(self.clock.now(), ticket) for ticket in chosen]

    def waiting(self) -> list[Waiting]:
        now = self.clock.now()
        return sorted(Waiting(*ticket, due - now) for due, ticket in self.schedule)

    def records(self, message: int, channel: Channel) -> bytes:
        kept = self.kept.get(message)
        return bytes(kept.records.get(channel, b"")) if kept else b""

    def about(self, message: int) -> About | None:
        kept = self.kept.get(message)
        return About(kept.sender, int(self.clock.now()) - kept.birth, 239) if kept else None

    def owner(self, message: int) -> int | None:
        return self.owners.get(message)

    def scan(self) -> Iterator[Arrival]:
        yield from list(self.todo.values())

    def arrivals(self, known: Container[int] = ()) -> Iterator[Arrival]:
        if "arrivals" in self.broken:
            raise OSError(5, "Input/output error")
        for number, arrival in sorted(self.todo.items()):
            if number not in known:
                self.read.append(number)
                yield arrival

    def arrival(self, message: int) -> Arrival | None:
        return self.todo.get(message)

    def unreadable(self) -> list[int]:
        found, self.senseless = self.senseless, []
        return found

    def is_parked(self, message: int) -> bool:
        return message in self.parked

    def keep(self, arrival: Arrival, records: Mapping[Channel, bytes]) -> None:
        self._do("keep", arrival.message)
        own = {channel: bytearray(each) for channel, each in records.items()}
        self.kept[arrival.message] = Kept(arrival.sender, arrival.birth, own)
        self.told.pop(arrival.message, None)

    def start_over(self, message: int) -> None:
        self.kept.pop(message, None)
        self.told.pop(message, None)

    def wait(self, channel: Channel) -> float | None:
        dues = [due for due, ticket in self.schedule if ticket.channel is channel]
        return max(0.0, min(dues) - self.clock.now()) if dues else None

    def due(self, channel: Channel) -> Ticket | None:
        for entry in sorted(self.schedule):
            if entry[1].channel is channel and entry[0] <= self.clock.now():
                self.schedule.remove(entry)
                return entry[1]
        return None

    def claim(self, ticket: Ticket) -> Claim:
        if "damaged" in self.broken:
            raise DamagedError("unknown record type")
        self._do("claim", ticket.message, ticket.channel.word)
        kept = self.kept[ticket.message]
        age_s = max(0, int(self.clock.now()) - kept.birth)
        records = bytes(kept.records.get(ticket.channel, b""))
        return Claim(kept.sender, age_s, *self.notes.mask(*ticket, records))

    def trace_id(self, message: int) -> bytes:
        return b"id%d" % message

    def body(self, message: int) -> bytes:
        return b"0/%d" % message

    def settle(self, ticket: Ticket, offset: int) -> None:
        self._do("settle", ticket.message, ticket.channel.word, offset)
        self.kept[ticket.message].records[ticket.channel][offset] = ord("D")

    def blame(self, message: int, paragraph: bytes) -> None:
        self._do("blame", message)
        self.told[message] = self.told.get(message, b"") + paragraph

    def renew(self, ticket: Ticket, delay_s: float) -> None:
        self._do("renew", ticket.message, ticket.channel.word, int(delay_s))
        self.schedule.append((self.clock.now() + delay_s, ticket))

    def close(self, ticket: Ticket) -> bool:
        self._do("close", ticket.message, ticket.channel.word)
        records = self.kept[ticket.message].records
        records.pop(ticket.channel, None)
        return not records

    def reports(self, message: int) -> bytes | None:
        if "reports" in self.broken:
            raise EngineError("reports failed")
        return b"bounce/%d" % message if self.told.get(message) else None

    def forget(self, message: int) -> None:
        self._do("forget", message)
        self.notes.forget(message)
        self.told.pop(message, None)
        self.kept.pop(message, None)

    def commit(self) -> None:
        self._do("commit")

    def since_last_run(self) -> float | None:
        return self.last_run_s

    def note_run(self) -> None:
        self.last_run_s = 0.0

    def shift(self, seconds: float) -> None:
        self.schedule = [(due + seconds, ticket) for due, ticket in self.schedule]

    def sweep(self) -> Iterator[int | None]:
        if "sweep" in self.broken:
            raise OSError(5, "Input/output error")
        yield from self.old

    def act(self, act: Act) -> None:
        assert act is Act.RETRY_NOW
        self.schedule = [(self.clock.now(), ticket) for _, ticket in self.schedule]


class World:
    """A Dispatcher on a fake engine; spawners, qmail-clean and qmail-queue are played by hand."""

    def __init__(self, *, local: int = 10, remote: int = 20, hosts: HostLimits = NO_LIMITS) -> None:
        self.clock = FakeClock()
        self.engine = FakeEngine(self.clock)
        self.policy = Policy(
            routes=ROUTES,
            bounces=BOUNCES,
            lifetime_s=LIFETIME_S,
            limits={Channel.LOCAL: local, Channel.REMOTE: remote},
            hosts=hosts,
        )
        self.send = Dispatcher(self.engine, self.clock, self.policy)
        self.jobs: dict[int, tuple[Channel, Job]] = {}
        self.orders: list[bytes] = []
        self.bounces: list[Bounce] = []
        self.lines: list[bytes] = []
        for channel in Channel:
            self.send.connected(channel, SLOTS)

    # --- one turn as qmail-send makes it --------------------------------------------------------

    def turn(self) -> list[bytes]:
        """Do what is due. Returns: the log lines since the last turn."""
        self.send.run_timers()
        self.send.settle_turn()
        self.send.pump()
        self.send.settle_turn()
        for channel, frames in self.send.outputs.jobs.items():
            for payload in FrameReader(JOB_FRAME_MAX).feed(b"".join(frames)):
                job = Job.unpack(payload)
                self.jobs[job.delivery] = (channel, job)
            frames.clear()
        self.orders += self.send.ending.orders.new
        self.send.ending.orders.new.clear()
        self.bounces += self.send.ending.bounces
        self.send.ending.bounces.clear()
        lines = list(self.send.ending.journal.lines)
        self.send.ending.journal.lines.clear()
        self.lines += lines
        return lines

    def pass_time(self, seconds: float) -> list[bytes]:
        """Let time pass, and do what is due then."""
        self.clock.time += seconds
        return self.turn()

    def reread(self, routes: Routes, *, local: int = 10) -> None:
        """HUP: the routes, and the limit of local deliveries, are these now."""
        limits = {**self.policy.limits, Channel.LOCAL: local}
        self.send.reread(replace(self.policy, routes=routes, limits=limits))

    def set_hosts(self, hosts: HostLimits) -> None:
        """HUP: the limits of domains are these now."""
        self.send.reread(replace(self.policy, hosts=hosts))

    # --- what the others do ---------------------------------------------------------------------

    def queued(
        self,
        number: int,
        *recipients: bytes,
        sender: bytes = b"joe@a.ex",
        age_s: int = 10,
        qp: int = 9,
    ) -> Arrival:
        """Put a message into todo; nobody is told. It is no longer new, unless `age_s` says so."""
        birth = int(START) - age_s
        arrival = Arrival(number, 239, 5, qp, birth, sender, recipients)
        self.engine.todo[number] = arrival
        return arrival

    def notice(self, arrival: Arrival, *, is_long: bool = False) -> None:
        """Tell of a message as qmail-queue does."""
        packed = b"" if is_long else Envelope(arrival.sender, tuple(arrival.recipients)).pack()
        number, size, uid, qp = arrival.message, arrival.size, arrival.uid, arrival.qp
        self.send.noticed(Notice(number, size, uid, qp, arrival.birth, packed))

    def arrive(
        self,
        number: int,
        *recipients: bytes,
        sender: bytes = b"joe@a.ex",
        age_s: int = 0,
        qp: int = 9,
    ) -> list[bytes]:
        """Queue a message, tell of it, do a turn."""
        self.notice(self.queued(number, *recipients, sender=sender, age_s=age_s, qp=qp))
        return self.turn()

    def report(self, delivery: int, text: bytes) -> list[bytes]:
        """Have a spawner report, do a turn."""
        channel, _ = self.jobs.pop(delivery)
        self.send.reported(channel, Report(delivery, text))
        return self.turn()

    def clean(self, answer: bytes = b"+") -> list[bytes]:
        """Have qmail-clean carry out all orders (or fail at each), do a turn."""
        orders, self.orders = self.orders, []
        for order in orders:
            if answer == b"+" and order[:5] in (b"todo/", b"done/"):
                self.engine.todo.pop(int(order[5:]), None)
        assert self.send.ending.orders.answered(answer * len(orders))
        return self.turn()

    def text_of(self, bounce: Bounce) -> bytes:
        """Return a bounce as it is queued; the original is one line."""
        told = self.engine.told[bounce.message.number]
        material = Material(9, int(START), lambda: iter((told,)), lambda: iter((b"original\n",)))
        return b"".join(bounce_parts(bounce.notice, material, b"token"))

    @property
    def running(self) -> list[tuple[int, bytes]]:
        """Deliveries that were started and not reported: number, recipient."""
        return [(delivery, job.recipient) for delivery, (_, job) in sorted(self.jobs.items())]
