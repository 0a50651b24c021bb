"""What operators need of the engine that keeps the queue, beside core/queue/engine.py.

No path and no inode crosses this interface either, and times cross it as durations.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from qmail.core.queue.notes import Notes
from qmail.mail import Channel


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a message beside its recipients."""

    sender: bytes
    age_s: int
    size: int


class Waiting(NamedTuple):
    """One message on one channel in the schedule; `due_s` is negative where it is late."""

    message: int
    channel: Channel
    due_s: float


class OperatorEngine(Protocol):
    """Looks at what is kept. A message that is gone in the meantime is None, or has no records."""

    @property
    def notes(self) -> Notes:
        """What operators have said of recipients."""
        ...

    def birth(self, message: int) -> int | None:
        """Return what tells a message from another of its number, None where there is none."""
        ...

    def is_there(self, message: int) -> bool:
        """Say whether there is such a message, as far as can be told now."""
        ...

    def due_now(self, tickets: Iterable[tuple[int, Channel]]) -> None:
        """Have these due at once, whether or not they are scheduled."""
        ...

    def waiting(self) -> list[Waiting]:
        """Return what is scheduled, in the order of the messages' numbers."""
        ...

    def records(self, message: int, channel: Channel) -> bytes:
        """Return who is left and who is done on one channel: records `T`/`D` address NUL."""
        ...

    def about(self, message: int) -> About | None:
        """Return sender, age and size."""
        ...

    def owner(self, message: int) -> int | None:
        """Return the uid that queued it, where the message itself says so in its first line."""
        ...
