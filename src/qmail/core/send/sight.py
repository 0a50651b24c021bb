"""One message as an operator's question meets it: what the question does not need is not read."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from qmail.core.addresses.routing import route
from qmail.core.queue.notes import Kind
from qmail.core.queue.operator_engine import About
from qmail.core.send.run import Run
from qmail.core.send.values import Message, Stage
from qmail.mail import Channel
from qmail.protocol.queue_filter import Filter

NEW = "new"
WAITING = "waiting"
TRYING = "trying"
HELD = "held"
STATES: Final = {Kind.HELD: HELD, Kind.DELETED: "deleted", Kind.BOUNCED: "bounced"}

Flying = set[tuple[int, Channel, int]]
"""Deliveries under way: message, channel, where the recipient's record is."""


class Seen(NamedTuple):
    """One recipient who is left."""

    channel: Channel
    offset: int
    address: bytes
    state: str
    reason: bytes


class Sight:
    """Looks at one message. `dues` says in how many seconds it is due, by channel."""

    __slots__ = (
        "_about",
        "_flying",
        "_kinds",
        "_message",
        "_run",
        "dues",
        "number",
        "place",
        "total",
    )

    def __init__(self, run: Run, number: int, dues: dict[Channel, float], flying: Flying) -> None:
        self._run = run
        self._message: Message | None = run.messages.get(number)
        self._about: About | None = None
        self._flying = flying
        self._kinds = run.engine.operators.notes.kinds(number)
        self.number = number
        self.dues = dues
        self.place = self.total = 0
        """Which of how many messages this is, counted from 1."""

    @property
    def is_new(self) -> bool:
        """True while nothing but its entry in todo is kept of it."""
        return self._message is not None and self._message.stage in (Stage.NEW, Stage.KEEPING)

    @property
    def is_single(self) -> bool:
        """True for a new message with one recipient."""
        arrival = self._message.arrival if self._message else None
        return arrival is not None and len(arrival.recipients) == 1

    @property
    def owner(self) -> int | None:
        """The account that queued it here; None: it came from elsewhere, or is gone."""
        arrival = self._message.arrival if self._message else None
        if self.is_new and arrival is not None:
            return arrival.uid
        return self._run.engine.operators.owner(self.number)

    @property
    def about(self) -> About | None:
        """Sender, age and size; None: it is gone."""
        if self._about is None:
            arrival = self._message.arrival if self._message else None
            if self.is_new and arrival is not None:
                age_s = max(0, int(self._run.clock.now()) - arrival.birth)
                self._about = About(arrival.sender, age_s, arrival.size)
            else:
                self._about = self._run.engine.operators.about(self.number)
        return self._about

    def meant(self, chosen: Filter) -> list[Seen]:
        """Return the recipients that a filter means; none where it does not mean the message."""
        if self._message is not None and self._message.stage is Stage.ENDING:
            return []
        found = [
            seen
            for seen in self._left(chosen)
            if chosen.takes_reason(seen.reason) and (not chosen.held or seen.state == HELD)
        ]
        return found if found and self._is_meant(chosen) else []

    def _is_meant(self, chosen: Filter) -> bool:
        needs_size = chosen.size_min is not None or chosen.size_max is not None
        needs_age = chosen.older_s is not None or chosen.younger_s is not None
        if not (needs_size or needs_age) and chosen.sender is None:
            return True
        about = self.about
        return (
            about is not None
            and chosen.takes_sender(about.sender)
            and chosen.takes_age(about.age_s)
            and chosen.takes_size(about.size)
        )

    def _left(self, chosen: Filter) -> Iterator[Seen]:
        reasons = self._run.reasons
        for channel, offset, address in self._places():
            if chosen.takes_recipient(channel, address):
                reason = reasons.of(self.number, channel, offset)
                yield Seen(channel, offset, address, self._state(channel, offset), reason)

    def _state(self, channel: Channel, offset: int) -> str:
        # What an operator said of a recipient counts, also while the last try is under way.
        kind = self._kinds.get((channel, offset))
        if kind is not None:
            return STATES[kind]
        if (self.number, channel, offset) in self._flying:
            return TRYING
        return NEW if self.is_new else WAITING

    def _places(self) -> Iterator[tuple[Channel, int, bytes]]:
        if self.is_new:
            yield from self._new_places()
            return
        for channel in self._channels():
            records = self._run.engine.operators.records(self.number, channel)
            start = 0
            while start < len(records):
                end = records.index(b"\0", start)
                if records[start] == ord("T"):
                    yield channel, start, records[start + 1 : end]
                start = end + 1

    def _channels(self) -> Iterable[Channel]:
        """Return where somebody can be left: elsewhere nothing is scheduled, open or held."""
        is_elsewhere = not self.dues or self._kinds or self._message is not None
        return Channel if is_elsewhere else self.dues

    def _new_places(self) -> Iterator[tuple[Channel, int, bytes]]:
        arrival = self._message.arrival if self._message else None
        ends = dict.fromkeys(Channel, 0)
        for recipient in arrival.recipients if arrival else ():
            channel, address = route(recipient, self._run.routes)
            yield channel, ends[channel], address
            ends[channel] += len(address) + 2
