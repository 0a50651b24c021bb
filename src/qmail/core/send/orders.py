"""What qmail-send has asked of qmail-clean and not heard of yet (spec/queue.md 10)."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from qmail.core.queue.engine import Arrival

Done = Callable[[bool], None]
"""Called with whether the files are gone."""


class Order(NamedTuple):
    """One order, and what happens after it."""

    text: bytes
    done: Done
    arrival: Arrival | None
    """The message whose entry in todo the order removes, where it does."""


class Orders:
    """Orders in the order in which they were given: qmail-clean answers in that order."""

    def __init__(self) -> None:
        self.new: list[bytes] = []
        self._waiting: deque[Order] = deque()

    def give(self, text: bytes, done: Done, arrival: Arrival | None = None) -> None:
        """Add one order to what is sent next."""
        self.new.append(text)
        self._waiting.append(Order(text, done, arrival))

    def take_new(self) -> list[bytes]:
        """Return what is to be sent, and forget it: whoever sends may find qmail-clean gone.

        What is then given again from within is new again.
        """
        new, self.new = self.new, []
        return new

    def answered(self, answers: bytes) -> bool:
        """Take answers, one byte each. Returns: False when there were more than orders."""
        for answer in answers:
            if not self._waiting:
                return False
            self._waiting.popleft().done(answer == 43)
        return True

    def take_lost(self) -> list[Order]:
        """Empty the list: qmail-clean is gone, and with it what it had not answered."""
        lost = list(self._waiting)
        self._waiting.clear()
        self.new.clear()
        return lost

    def __len__(self) -> int:
        """Return how many are not answered."""
        return len(self._waiting)
