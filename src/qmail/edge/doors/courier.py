"""What a server of the network needs to hand a message over: the seam for its ways to the queue."""

from typing import Final, Protocol

from qmail.mail import Envelope, Result, deferred

QUEUE_LOST: Final = deferred(b"connection to the queue lost (#4.3.0)")
QUEUE_SLOW: Final = deferred(b"the queue does not answer (#4.3.0)")


class Owner(Protocol):
    """Who waits for the end of a parcel: one client's connection."""

    @property
    def trace_id(self) -> bytes:
        """The id of the message."""
        ...

    def on_queued(self, result: Result | None, qp: int) -> None:
        """Take the outcome of a finished parcel; `result` None: it is in the queue."""
        ...

    def on_room(self) -> None:
        """Learn that the parcel takes more again."""
        ...


class Parcel(Protocol):
    """One message on its way into the queue."""

    size: int

    @property
    def is_full(self) -> bool:
        """True while nothing more should be added."""
        ...

    def add(self, part: bytes) -> None:
        """Add the next part of the message."""
        ...

    def finish(self, envelope: Envelope) -> None:
        """Hand the message over; the owner is told the outcome later, never from inside here."""
        ...

    def give_up(self) -> None:
        """Forget the message; nobody is told. After `finish` it may be queued all the same."""
        ...


class Courier(Protocol):
    """A way to the queue."""

    def begin(self, owner: Owner) -> Parcel | None:
        """Begin a message; None: not possible now."""
        ...
