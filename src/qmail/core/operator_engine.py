"""What operators need of the engine that keeps the queue, beside core/queue_engine.py.

No path and no inode crosses this interface either, and times cross it as durations.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

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

    def waiting(self) -> list[Waiting]:
        """Return what is scheduled, in the order of the messages' numbers."""
        ...

    def records(self, message: int, channel: Channel) -> bytes:
        """Return who is left and who is done on one channel: records `T`/`D` address NUL."""
        ...

    def about(self, message: int) -> About | None:
        """Return sender, age and size."""
        ...
