"""What qmail-send holds in memory of the messages it works on."""

from dataclasses import dataclass, field
from enum import Enum, auto

from qmail.core.addresses.routing import Routes
from qmail.core.bounce.rules import BounceControls, Notice
from qmail.core.queue.engine import Arrival, Ticket
from qmail.core.settings.host_limits import NO_LIMITS, HostLimits
from qmail.mail import Channel, Envelope
from qmail.protocol.log_tail import MARK, packed_tail, split_line


class Stage(Enum):
    """How far a message is (core/send/dispatch.py has the story)."""

    NEW = auto()
    KEEPING = auto()
    KEPT = auto()
    ENDING = auto()


@dataclass(eq=False, slots=True)
class Message:
    """A message that is being worked on; those that only wait are in the engine alone."""

    number: int
    sender: bytes
    arrival: Arrival | None
    stage: Stage
    passes: int = 0
    """The channels on which one is open, as bits."""
    records: dict[Channel, bytes] = field(default_factory=dict)
    """New: its recipients by channel, as `T` address NUL."""
    tail: bytes = b""
    """What log lines about it end with (protocol/log_tail.py)."""

    @property
    def is_open(self) -> bool:
        """True while there is a pass on any channel."""
        return bool(self.passes)

    def is_open_on(self, channel: Channel) -> bool:
        """Say whether there is a pass on this channel, or will be as soon as it is kept."""
        return self.stage is not Stage.KEPT or bool(self.passes & 1 << channel)

    def open_on(self, channel: Channel) -> None:
        """A pass begins."""
        self.passes |= 1 << channel

    def close_on(self, channel: Channel) -> None:
        """A pass ends."""
        self.passes &= ~(1 << channel)


@dataclass(eq=False, slots=True)
class Job:
    """One pass over a message's recipients on one channel."""

    message: Message
    channel: Channel
    records: bytes
    age_s: int
    began: float
    """When, by the monotonic clock: the next try is counted from there."""
    dying: bool = False
    position: int = 0
    outstanding: int = 0
    """Recipients that are tried now or wait to be, `parked` ones included."""
    parked: int = 0
    left: int = 0
    turned_away: int = 0
    """How many of `left` were not even tried, because too many wait already."""
    due_at: float | None = None
    """Some recipients only: when, by the monotonic clock, the next pass for everybody is due."""
    is_pass: bool = False
    """Opened from the engine's schedule, and not a new message."""
    is_put_by: bool = False
    """Its last recipient waits for its domain, and it need not stay open for that."""

    @property
    def ticket(self) -> Ticket:
        """What the engine calls this."""
        return Ticket(self.message.number, self.channel)


@dataclass(frozen=True, slots=True)
class Bounce:
    """A bounce to be queued: `notice`, with what `reports` and `body` name in the queue."""

    message: Message
    envelope: Envelope
    notice: Notice
    reports: bytes
    body: bytes


@dataclass(slots=True)
class Outputs:
    """What the program has to do after a turn."""

    jobs: dict[Channel, list[bytes]] = field(
        default_factory=lambda: {Channel.LOCAL: [], Channel.REMOTE: []}
    )
    hosts: list[bytes] = field(default_factory=list)
    """Domains that mail is about to go to, which have no slot yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the control files say."""

    routes: Routes
    bounces: BounceControls
    lifetime_s: int
    limits: dict[Channel, int]
    hosts: HostLimits = NO_LIMITS


class Journal:
    """The log lines of one turn (spec/logging.md 2 to 4)."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.add = self.lines.append
        self.is_detailed = False
        """Whether lines get a tail for qmail-log."""

    def tail(self, trace_id: bytes) -> bytes:
        """Return the tail of lines about the message with this id."""
        if not self.is_detailed:
            return b""
        return packed_tail(id=trace_id) or MARK

    def child_of(self, tail: bytes, child: bytes) -> None:
        """Note which message the new message `child` is about."""
        parent = split_line(tail)[1].get("id", b"")
        if parent and child:
            self.add(packed_tail(event=b"child", id=child, parent=parent))

    def warn(self, text: object) -> None:
        """Add a warning."""
        self._say(b"warning: ", text)

    def alert(self, text: object) -> None:
        """Add an alert."""
        self._say(b"alert: ", text)

    def _say(self, start: bytes, text: object) -> None:
        # The original's line ends where its text ends; the reason stands in one of ours.
        self.add(start + str(text).encode(errors="replace").replace(b"\n", b"/"))
        why = str(getattr(text, "why", ""))
        if why:
            self.add(b"qmail-send: " + why.encode(errors="replace").replace(b"\n", b"/"))
