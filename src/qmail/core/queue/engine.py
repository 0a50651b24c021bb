"""The narrow interface between qmail-send's decisions and whatever keeps the queue.

No path and no inode crosses it, and times cross it as durations, so that another engine (a database
shared by several machines) can stand behind it. The one engine today is the queue on disk: its
`enqueue` is core/queue/write.py, in another process; the rest is core/queue/read.py.
"""

from collections.abc import Collection, Container, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple, Protocol

from qmail.core.queue.operator_engine import OperatorEngine
from qmail.mail import Channel


class EngineError(Exception):
    """The engine could not do it now. Try again later.

    The text is the log's line (spec/logging.md 3); `why` is what the system said, for another one.
    """

    def __init__(self, text: str, why: object = "") -> None:
        super().__init__(text)
        self.why = str(why)


class DamagedError(Exception):
    """What is kept for a message makes no sense: report it once and leave it alone."""


class Ticket(NamedTuple):
    """One message on one channel: what is scheduled, claimed and settled."""

    message: int
    channel: Channel


class Arrival(NamedTuple):
    """A message that is queued and not yet taken apart. Times are opaque to the caller."""

    message: int
    size: int
    uid: int
    qp: int
    birth: int
    sender: bytes
    recipients: Collection[bytes]
    trace_id: bytes = b""


@dataclass(frozen=True, slots=True)
class Claim:
    """A pass over one ticket: who is left, as records `T`/`D` address NUL, and how old it is."""

    sender: bytes
    age_s: int
    records: bytes
    masked: int = 0
    """How many of those who are left look done because an operator holds or gave them up."""


class Act(Enum):
    """What an operator can have done to scheduled messages."""

    RETRY_NOW = auto()


class QueueEngine(Protocol):
    """What qmail-send needs. Every method but `commit` may leave its work unsynced until then.

    All raise EngineError where the engine can't now.
    """

    @property
    def operators(self) -> OperatorEngine:
        """What operators need."""
        ...

    def scan(self) -> Iterator[Arrival]:
        """Recover after a start: schedule what is preprocessed, then yield what is not.

        It need not be read to its end: what is left comes with `arrivals`.
        """
        ...

    def arrivals(self, known: Container[int] = ()) -> Iterator[Arrival]:
        """Yield what is queued and not preprocessed but those `known`, the oldest first."""
        ...

    def arrival(self, message: int) -> Arrival | None:
        """Read one such message; None when it is not there (any more)."""
        ...

    def unreadable(self) -> list[int]:
        """Return what was found since the last call with an envelope that makes no sense.

        Each is to be parked, where nobody meets it again; until then it is found again.
        """
        ...

    def is_parked(self, message: int) -> bool:
        """Tell whether the message is out of the way, until somebody mends its envelope."""
        ...

    def keep(self, arrival: Arrival, records: Mapping[Channel, bytes]) -> None:
        """Write down who is to get the message, by channel (S4 to S5 but for the envelope).

        `records` are `T` address NUL for each recipient.
        """
        ...

    def start_over(self, message: int) -> None:
        """Take back `keep`, which failed or is not on disk: the message will arrive again."""
        ...

    def wait(self, channel: Channel) -> float | None:
        """Return seconds until something is due there, None when nothing is scheduled."""
        ...

    def due(self, channel: Channel) -> Ticket | None:
        """Take one ticket of this channel whose time has come."""
        ...

    def claim(self, ticket: Ticket) -> Claim:
        """Start a pass. Raises: EngineError, DamagedError."""
        ...

    def trace_id(self, message: int) -> bytes:
        """Return the id that the message has in the log; b"" where that can't be found out."""
        ...

    def body(self, message: int) -> bytes:
        """Return where a spawner finds the message, in the engine's words."""
        ...

    def settle(self, ticket: Ticket, offset: int) -> None:
        """Mark the record at `offset` done."""
        ...

    def blame(self, message: int, paragraph: bytes) -> None:
        """Add what the sender will be told of one recipient."""
        ...

    def renew(self, ticket: Ticket, delay_s: float) -> None:
        """Give a ticket back, due again in `delay_s` seconds."""
        ...

    def close(self, ticket: Ticket) -> bool:
        """Everybody on this ticket is done. Returns: True when no ticket of the message is left."""
        ...

    def reports(self, message: int) -> bytes | None:
        """Return where to find what `blame` gathered, in the engine's words; None: nothing."""
        ...

    def forget(self, message: int) -> None:
        """Drop reports and sender: nothing is owed to anybody any more."""
        ...

    def commit(self) -> None:
        """Put all of the above on disk. Raises: EngineError: nothing of it may be believed."""
        ...

    def since_last_run(self) -> float | None:
        """Return seconds since `note_run` was last called, by this process or an earlier one."""
        ...

    def note_run(self) -> None:
        """Write down that qmail-send runs now; where that can't be done, nothing happens."""
        ...

    def shift(self, seconds: float) -> None:
        """Move the whole schedule: the clock was set by so much."""
        ...

    def sweep(self) -> Iterator[int | None]:
        """Yield the numbers of messages that were begun long ago and never accepted.

        None: a good moment to do something else.
        """
        ...

    def act(self, act: Act) -> None:
        """Do what an operator asks."""
        ...
