"""What an operator has done to messages: hold, release, retry, delete, bounce, undo.

Nothing is answered before it is on disk. Each act is made in slices: some messages, one commit.
What is deleted or bounced is set aside first, by a note; after ten minutes it becomes final:

    1. bounce: what the sender is told is appended and synced
    2. the recipients are marked done, as if delivered, and synced
    3. the note is removed, and the message is due: its next pass finds nobody left and ends it

A cut between any two of them finds the note again and goes on; with 1 done and 2 not, the bounce
says the same twice.
"""

from array import array
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from qmail.core.addresses.routing import without_prepend
from qmail.core.bounce.rules import paragraph
from qmail.core.queue.engine import EngineError, Ticket
from qmail.core.queue.notes import NOWHERE, Kind, Note, Operation, Places
from qmail.core.queue.schedule import SYSTEM_FAILURE_S
from qmail.core.send.lanes import Lanes
from qmail.core.send.passes import Passes
from qmail.core.send.run import Run
from qmail.core.send.sight import HELD, NEW, TRYING, WAITING, Seen, Sight
from qmail.core.send.values import Job, Stage
from qmail.mail import Channel
from qmail.protocol.control_door import Answer, Question
from qmail.protocol.logtext import SAFE
from qmail.protocol.queue_filter import Filter

UNDO_S: Final = 600
SLICE: Final = 250
PROGRESS_EVERY: Final = 1000
BUSY_S: Final = 5
PAUSE: Final = Answer(0, "pause")
"""Nothing more can be done in this turn."""
GIVEN_UP: Final = b"The administrator of this system gave this message up. (#5.7.0)\n"
KINDS: Final = {"hold": Kind.HELD, "delete": Kind.DELETED, "bounce": Kind.BOUNCED}
MEANT: Final = {
    "hold": (WAITING, TRYING, NEW),
    "release": (HELD,),
    "retry": (WAITING,),
    "delete": (WAITING, TRYING, NEW, HELD),
    "bounce": (WAITING, TRYING, NEW, HELD),
}
"""The states in which a recipient is taken, by verb."""
NOBODY: Final[Mapping[Ticket, set[int]]] = MappingProxyType({})
Answers = Iterator[Answer | None]
Slice = Generator[Answer | None, None, bytes]
Sights = Callable[[Filter], Iterator[Sight]]


@dataclass(slots=True)
class Deed:
    """One act under way."""

    question: Question
    operation: Operation
    messages: int = 0
    recipients: int = 0
    busy: int = 0
    undone: list[tuple[int, Note]] = field(default_factory=list)
    """What has to be put back if this slice is not on disk: the note that was there before."""
    tickets: set[Ticket] = field(default_factory=set)
    selected: dict[Ticket, set[int]] = field(default_factory=dict)
    """Retry of recipients who are named: where their records are."""


class Acts:
    """Acts on the messages of one run."""

    def __init__(self, run: Run, lanes: Lanes, passes: Passes, sights: Sights) -> None:
        self._run = run
        self._lanes = lanes
        self._passes = passes
        self._sights = sights
        self._notes = run.engine.operators.notes

    def start(self) -> None:
        """After a start: what was set aside becomes final in its time."""
        for operation in tuple(self._notes.operations.values()):
            self._finish_later(operation)

    # --- acts -----------------------------------------------------------------------------------

    def act(self, question: Question) -> Answers:
        """Say how many are meant, wait until the answer is taken on, then act on exactly those."""
        numbers = array("Q")
        recipients = 0
        for sight in self._sights(question.filter):
            count = len(self._meant(sight, question))
            if count:
                numbers.append(sight.number)
                recipients += count
            yield progress(question.tag, sight)
        tag = question.tag
        yield Answer(tag, "found", (b"%d" % len(numbers), b"%d" % recipients))
        deed = Deed(question, self._operation(question))
        for start in range(0, len(numbers), SLICE):
            trouble = yield from self._slice(deed, numbers[start : start + SLICE])
            if trouble:
                self._end(deed)
                yield Answer(tag, "error", (trouble,))
                return
            done = min(start + SLICE, len(numbers))
            yield Answer(tag, "progress", (b"%d" % done, b"%d" % len(numbers)))
        self._end(deed)
        yield self._done(deed)

    def _operation(self, question: Question) -> Operation:
        now = int(self._run.clock.now())
        kind = KINDS.get(question.verb, Kind.HELD)
        final_at = 0 if kind is Kind.HELD else now + UNDO_S
        return self._notes.begin(kind, now, final_at, question.text)

    def _done(self, deed: Deed) -> Answer:
        made = deed.operation.id if deed.operation.messages else 0
        numbers = (made, deed.messages, deed.recipients, deed.busy)
        return Answer(deed.question.tag, "done", tuple(b"%d" % each for each in numbers))

    @staticmethod
    def _meant(sight: Sight, question: Question) -> list[Seen]:
        states = MEANT[question.verb]
        return [seen for seen in sight.meant(question.filter) if seen.state in states]

    def _slice(self, deed: Deed, numbers: "array[int]") -> Slice:
        """Act on some messages and have that on disk. Returns: what went wrong, b"" for nothing."""
        deed.undone.clear()
        jobs = self._lanes.open_jobs()
        flying = set(self._lanes.flying())
        for number in numbers:
            sight = Sight(self._run, number, {}, flying)
            meant = self._meant(sight, deed.question)
            if meant:
                self._one(deed, sight, meant, jobs.get(sight.number, []))
        if not deed.undone:
            return b""
        return (yield from self._written(deed))

    def _written(self, deed: Deed) -> Slice:
        settled: list[bool] = []
        try:
            self._notes.flush()
        except EngineError as trouble:
            self._put_back(deed)
            return str(trouble).encode()
        self._run.turn.commit_then(lambda: settled.append(True), lambda: settled.append(False))
        while not settled:
            yield PAUSE
        if settled[0]:
            return b""
        self._put_back(deed)
        return b"trouble syncing the queue: see the log of qmail-send"

    def _put_back(self, deed: Deed) -> None:
        for number, note in reversed(deed.undone):
            self._notes.put(number, note)
            deed.tickets |= {Ticket(number, channel) for channel in Channel}
        self._notes.spoilt()
        self._run.turn.later(SYSTEM_FAILURE_S, self._mend)

    def _mend(self) -> None:
        try:
            self._notes.flush()
        except EngineError as trouble:
            self._run.journal.warn(trouble)
            self._run.turn.later(SYSTEM_FAILURE_S, self._mend)
        self._run.turn.wrote()

    # --- one message ----------------------------------------------------------------------------

    def _one(self, deed: Deed, sight: Sight, meant: list[Seen], jobs: list[Job]) -> None:
        verb, number = deed.question.verb, sight.number
        if verb in KINDS:
            places = self._new_places(sight, meant)
            birth = self._run.engine.operators.birth(number)
            if places is None or birth is None:
                deed.busy += 1
                return
            self._put(deed, number, Note(deed.operation, birth, places))
            self._withdraw(jobs, places)
        elif verb == "release":
            self._release(deed, number, meant)
        if verb in ("release", "retry"):
            deed.tickets.update(Ticket(number, seen.channel) for seen in meant)
        if verb == "retry" and deed.question.filter.names_recipients:
            for seen in meant:
                deed.selected.setdefault(Ticket(number, seen.channel), set()).add(seen.offset)
        deed.messages += 1
        deed.recipients += len(meant)

    def _put(self, deed: Deed, number: int, note: Note) -> None:
        before = next(
            (each for each in self._notes.of(number) if each.operation is note.operation),
            note._replace(places=NOWHERE),
        )
        deed.undone.append((number, before))
        self._notes.put(number, note)

    def _new_places(self, sight: Sight, meant: list[Seen]) -> Places | None:
        """Return what the note is about; None: the message is just being taken apart."""
        if not sight.is_new:
            return places_of(meant)
        message = self._run.messages[sight.number]
        if message.stage is not Stage.NEW or not sight.is_single:
            return None
        # It is sorted again if this program ends before it is written down.
        return None if meant[0].state == TRYING else ((0,), (0,))

    def _withdraw(self, jobs: list[Job], places: Places) -> None:
        for job in jobs:
            self._lanes.withdraw(job, set(places[job.channel]))
            if job.position >= len(job.records):
                self._passes.end_if_done(job)

    def _release(self, deed: Deed, number: int, meant: list[Seen]) -> None:
        released = places_of(meant)
        for note in self._notes.of(number):
            if note.operation.kind is Kind.HELD:
                rest = without(note.places, released)
                self._put(deed, number, note._replace(places=rest))

    # --- afterwards -----------------------------------------------------------------------------

    def _end(self, deed: Deed) -> None:
        self._due_now(deed.tickets, deed.selected)
        self._finish_later(deed.operation)

    def _due_now(self, tickets: set[Ticket], selected: Mapping[Ticket, set[int]] = NOBODY) -> None:
        """Have messages tried at once: those that are being tried, as soon as that has ended.

        Of a ticket that is `selected` only those whose records are named there.
        """
        put_by = set(self._lanes.put_by())
        dues = self._dues() if selected else {}
        now = self._run.clock.monotonic()
        free = []
        for ticket in tickets:
            message = self._run.messages.get(ticket.message)
            due_at = dues.get(ticket)
            is_put_by = ticket.channel is Channel.REMOTE and ticket.message in put_by
            if message is not None and message.is_open_on(ticket.channel):
                is_for_all = ticket in self._run.hurried
                self._run.hurried.add(ticket)
            elif not is_put_by and (message is None or self._has_records(ticket)):
                is_for_all = due_at is not None and due_at <= now
                free.append(ticket)
            else:
                continue
            self._run.selected.choose(ticket, selected.get(ticket), due_at, is_for_all=is_for_all)
        self._run.engine.operators.due_now(free)

    def _dues(self) -> dict[Ticket, float]:
        now = self._run.clock.monotonic()
        waiting = self._run.engine.operators.waiting()
        return {Ticket(each.message, each.channel): now + each.due_s for each in waiting}

    def _has_records(self, ticket: Ticket) -> bool:
        return bool(self._run.engine.operators.records(*ticket))

    # --- undo -----------------------------------------------------------------------------------

    def undoable(self) -> list[Operation]:
        """Return what can be undone, the last one last."""
        return [each for each in self._notes.operations.values() if self._can_undo(each)]

    @staticmethod
    def _can_undo(operation: Operation) -> bool:
        return operation.kind is not Kind.HELD and not operation.is_final

    def undo(self, question: Question) -> Answers:
        """Take back what was deleted or bounced."""
        found = self.undoable()
        if question.text:
            found = [each for each in found if b"%d" % each.id == question.text]
        if not found:
            yield Answer(question.tag, "done", (b"0", b"0", b"0", b"0"))
            return
        operation = max(found, key=lambda each: each.id)
        deed = Deed(question, operation)
        numbers = sorted(operation.messages)
        for start in range(0, len(numbers), SLICE):
            trouble = yield from self._undo_slice(deed, numbers[start : start + SLICE])
            if trouble:
                self._due_now(deed.tickets)
                yield Answer(question.tag, "error", (trouble,))
                return
        self._due_now(deed.tickets)
        counts = (operation.id, deed.messages, deed.recipients, 0)
        yield Answer(question.tag, "done", tuple(b"%d" % each for each in counts))

    def _undo_slice(self, deed: Deed, numbers: list[int]) -> Slice:
        deed.undone.clear()
        for number in numbers:
            for note in self._notes.of(number):
                if note.operation is deed.operation and not deed.operation.is_final:
                    self._put(deed, number, note._replace(places=NOWHERE))
                    deed.messages += 1
                    deed.recipients += sum(map(len, note.places))
                    deed.tickets |= tickets_of(number, note.places)
        return (yield from self._written(deed)) if deed.undone else b""

    # --- final ----------------------------------------------------------------------------------

    def _finish_later(self, operation: Operation) -> None:
        if operation.kind is not Kind.HELD and operation.messages:
            delay_s = max(0.0, operation.final_at - self._run.clock.now())
            self._run.turn.later(delay_s, lambda: self._finish(operation))

    def _finish(self, operation: Operation) -> None:
        """Make an operation final, some messages in a turn."""
        if self._run.is_exiting or not operation.messages:
            return
        operation.is_final = True
        put_by = set(self._lanes.put_by())
        at_work = self._run.messages
        free = (n for n in sorted(operation.messages) if n not in at_work and n not in put_by)
        chosen = [number for _, number in zip(range(SLICE), free, strict=False)]
        if not chosen:
            self._run.turn.later(BUSY_S, lambda: self._finish(operation))
            return
        notes = [(number, self._note_of(number, operation)) for number in chosen]
        if operation.kind is Kind.BOUNCED:
            self._tell(operation, notes)
        else:
            self._mark(operation, notes)

    def _note_of(self, number: int, operation: Operation) -> Note:
        return next(note for note in self._notes.of(number) if note.operation is operation)

    def _again(self, operation: Operation) -> None:
        self._run.turn.later(SYSTEM_FAILURE_S, lambda: self._finish(operation))

    def _tell(self, operation: Operation, notes: list[tuple[int, Note]]) -> None:
        text = operation.text or GIVEN_UP
        text = text if text.endswith(b"\n") else text + b"\n"
        try:
            for number, note in notes:
                for _, _, address in self._left(number, note):
                    told = paragraph(without_prepend(address, self._run.routes), text)
                    self._run.engine.blame(number, told)
        except EngineError as trouble:
            self._run.journal.warn(trouble)
            self._again(operation)
            return
        self._run.turn.commit_then(
            lambda: self._mark(operation, notes), lambda: self._again(operation)
        )

    def _mark(self, operation: Operation, notes: list[tuple[int, Note]]) -> None:
        try:
            for number, note in notes:
                for channel, offset, address in self._left(number, note):
                    self._run.engine.settle(Ticket(number, channel), offset)
                    self._run.reasons.drop(number, channel, offset)
                    self._log(operation, number, channel, address)
        except EngineError as trouble:
            self._run.journal.warn(trouble)
            self._again(operation)
            return
        self._run.turn.commit_then(
            lambda: self._drop(operation, notes), lambda: self._again(operation)
        )

    def _log(self, operation: Operation, number: int, channel: Channel, address: bytes) -> None:
        word = b"bounced" if operation.kind is Kind.BOUNCED else b"deleted"
        journal = self._run.journal
        tail = journal.tail(self._run.engine.trace_id(number)) if journal.is_detailed else b""
        journal.add(
            b"operator: msg %d %b to %b %b%b"
            % (number, word, channel.word.encode(), address.translate(SAFE), tail)
        )

    def _drop(self, operation: Operation, notes: list[tuple[int, Note]]) -> None:
        tickets: set[Ticket] = set()
        for number, note in notes:
            if self._notes.remove(number, operation):
                tickets |= tickets_of(number, note.places)
        try:
            self._notes.flush()
        except EngineError as trouble:
            self._run.journal.warn(trouble)
        self._run.turn.wrote()
        self._due_now(tickets)
        self._run.turn.later(0, lambda: self._finish(operation))

    def _left(self, number: int, note: Note) -> Iterator[tuple[Channel, int, bytes]]:
        for channel in Channel:
            records = self._run.engine.operators.records(number, channel)
            for offset in note.places[channel]:
                if offset < len(records) and records[offset] == ord("T"):
                    yield channel, offset, records[offset + 1 : records.index(b"\0", offset)]


def progress(tag: int, sight: Sight) -> Answer | None:
    """Return how far a look at many messages is; None where nobody needs to know."""
    if sight.place % PROGRESS_EVERY:
        return None
    return Answer(tag, "progress", (b"%d" % sight.place, b"%d" % sight.total))


def places_of(meant: list[Seen]) -> Places:
    """Return where the records of these recipients are."""
    local = tuple(seen.offset for seen in meant if seen.channel is Channel.LOCAL)
    return local, tuple(seen.offset for seen in meant if seen.channel is Channel.REMOTE)


def without(places: Places, removed: Places) -> Places:
    """Return the places that are not among those `removed`."""
    local, remote = (
        tuple(each for each in some if each not in set(others))
        for some, others in zip(places, removed, strict=True)
    )
    return local, remote


def tickets_of(number: int, places: Places) -> set[Ticket]:
    """Return on which channels a note is about somebody."""
    return {Ticket(number, channel) for channel in Channel if places[channel]}
