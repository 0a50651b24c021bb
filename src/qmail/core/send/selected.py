"""Recipients whom an operator has retried, while the others of their message wait on.

A pass is about a message on one channel. The next pass of a ticket that is here tries those who are
selected and takes the others as put off; what is left is due again when it would have been without
it. Kept in memory alone: a restart forgets nothing but an extra try.
"""

from dataclasses import dataclass

from qmail.core.queue.engine import Ticket
from qmail.core.queue.notes import masked


@dataclass(slots=True)
class Selection:
    """Where the records are of those to be tried, and when, by the monotonic clock, all are due."""

    offsets: set[int]
    due_at: float | None = None

    def applied(self, records: bytes) -> tuple[bytes, int]:
        """Return the records with everybody else as if done; and how many those are."""
        others = set()
        start = 0
        while start < len(records):
            if start not in self.offsets:
                others.add(start)
            start = records.index(b"\0", start) + 1
        return masked(records, others)


class Selections:
    """The selections of one run, by ticket."""

    def __init__(self) -> None:
        self._by_ticket: dict[Ticket, Selection] = {}

    def choose(
        self, ticket: Ticket, offsets: set[int] | None, due_at: float | None, *, is_for_all: bool
    ) -> None:
        """Select recipients for the next pass, None: everybody.

        An earlier selection and its time stay; where everybody is to be tried already, they are.
        """
        if offsets is None:
            self._by_ticket.pop(ticket, None)
        elif ticket in self._by_ticket or not is_for_all:
            found = self._by_ticket.setdefault(ticket, Selection(set(), due_at))
            found.offsets |= offsets

    def put_off(self, ticket: Ticket, due_at: float) -> None:
        """A pass ends and the selected are next: note when the others are due."""
        found = self._by_ticket.get(ticket)
        if found is not None:
            found.due_at = due_at

    def take(self, ticket: Ticket) -> Selection | None:
        """Take out what the next pass is about; None: everybody."""
        return self._by_ticket.pop(ticket, None) if self._by_ticket else None

    def keep(self, ticket: Ticket, selection: Selection | None) -> None:
        """Put back what was taken: the pass did not begin."""
        if selection is not None:
            self._by_ticket[ticket] = selection

    def clear(self) -> None:
        """Everybody is to be tried."""
        self._by_ticket.clear()
