"""What an operator asks of qmail-send, answered in slices by generators.

Each of them yields None, or now and then how far it is, for every message it has looked at, so that
the program can stop there and see to deliveries. Nothing is kept of the queue but the numbers of
its messages.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from qmail.core.queue.operator_engine import Waiting
from qmail.core.send.lanes import Lanes
from qmail.core.send.operator_acts import Acts, progress
from qmail.core.send.passes import Passes
from qmail.core.send.run import Run
from qmail.core.send.sight import STATES, TRYING, Flying, Seen, Sight
from qmail.mail import Channel
from qmail.protocol.control_door import ACTS, Answer, Question, RecipientRow, Row, age_word
from qmail.protocol.queue_filter import Filter, code_of

KEYS_MAX: Final = 100000
SHOWN: Final = 8
OTHERS: Final = b"(others)"
UNKNOWN: Final = b"unknown until tried"
Answers = Iterator[Answer | None]


class Operator:
    """Answers questions about the messages of one run, and has `acts` act on them."""

    def __init__(self, run: Run, lanes: Lanes, passes: Passes) -> None:
        self._run = run
        self._lanes = lanes
        self.acts = Acts(run, lanes, passes, self.sights)

    # --- which messages -------------------------------------------------------------------------

    def sights(self, chosen: Filter) -> Iterator[Sight]:
        """Yield every message, or those that the filter numbers, in the order of their numbers."""
        flying: Flying = set(self._lanes.flying())
        if chosen.numbers:
            waiting = self._only(set(chosen.numbers))
            numbers = sorted(set(chosen.numbers))
        else:
            waiting = self._run.engine.operators.waiting()
            numbers = sorted(self._at_work())
        total = len({entry.message for entry in waiting}.union(numbers))
        for place, sight in enumerate(self._merged(waiting, numbers, flying), 1):
            sight.place, sight.total = place, total
            yield sight

    def _only(self, numbers: set[int]) -> list[Waiting]:
        waiting = self._run.engine.operators.waiting()
        return [entry for entry in waiting if entry.message in numbers]

    def _at_work(self) -> set[int]:
        return {
            *self._run.messages,
            *self._lanes.put_by(),
            *self._run.engine.operators.notes.numbers(),
        }

    def _merged(self, waiting: list[Waiting], others: list[int], flying: Flying) -> Iterator[Sight]:
        at = 0
        for number in [*others, None]:
            dues: dict[Channel, float] = {}
            while at < len(waiting) and (number is None or waiting[at].message <= number):
                found = waiting[at].message
                dues = {}
                while at < len(waiting) and waiting[at].message == found:
                    dues[waiting[at].channel] = waiting[at].due_s
                    at += 1
                if found != number:
                    yield Sight(self._run, found, dues, flying)
                    dues = {}
            if number is not None:
                yield Sight(self._run, number, dues, flying)

    # --- questions ------------------------------------------------------------------------------

    def answer(self, question: Question) -> Answers:
        """Answer a question, or do what it asks for."""
        if question.verb in ACTS:
            return self.acts.act(question)
        if question.verb == "undo":
            return self.acts.undo(question)
        if question.verb == "operations":
            return self._operations(question)
        if question.verb == "status":
            return self._status(question)
        if question.verb == "count":
            return self._count(question)
        return self._list(question, is_full=question.verb == "show")

    def _operations(self, question: Question) -> Answers:
        now = self._run.clock.now()
        found = self.acts.undoable()
        for each in found:
            left_s = max(0, int(each.final_at - now))
            numbers = (b"%d" % len(each.messages), b"%d" % left_s)
            word = STATES[each.kind].encode()
            yield Answer(question.tag, "operation", (b"%d" % each.id, word, *numbers))
        yield Answer(question.tag, "done", (b"%d" % len(found), b"0"))

    def _status(self, question: Question) -> Answers:
        tag, gauges, now = question.tag, self._run.gauges, self._run.clock.monotonic()
        thousandths = [int(1000 * rate) for window_s in (1, 60) for rate in gauges.rates(window_s)]
        lanes = [self._lanes[channel] for channel in Channel]
        slots = [number for lane in lanes for number in (lane.used, lane.limit)]
        held = len(self._run.engine.operators.notes)
        numbers = (*thousandths, *slots, len(self._run.messages), held)
        yield Answer(tag, "status", tuple(b"%d" % number for number in numbers))
        for domain, pace in gauges.slowest(question.limit or SHOWN):
            mean_ms = 1000 * pace.total_s / pace.count
            numbers = (pace.count, int(mean_ms), int(1000 * pace.longest_s))
            yield Answer(tag, "slow", (domain, *[b"%d" % number for number in numbers]))
        for trouble in list(gauges.troubles)[-(question.limit or SHOWN) :]:
            letter = bytes((trouble.letter,))
            ago_s = b"%d" % max(0, int(now - trouble.at))
            yield Answer(tag, "trouble", (ago_s, letter, trouble.address, trouble.text))
        yield Answer(tag, "done", (b"0", b"0"))

    def _list(self, question: Question, *, is_full: bool, owner: int | None = None) -> Answers:
        tag, rows, recipients = question.tag, 0, 0
        for sight in self.sights(question.filter):
            if owner is not None and sight.owner != owner:
                yield None
                continue
            meant = sight.meant(question.filter)
            row = row_of(sight, meant) if meant else None
            if row is None:
                # How long the queue is, is for operators.
                yield progress(tag, sight) if owner is None else None
                continue
            rows += 1
            recipients += len(meant)
            yield row.answer(tag)
            if is_full:
                for seen in meant:
                    yield recipient_row(sight.number, seen).answer(tag)
            if rows == question.limit:
                break
        yield Answer(tag, "done", (b"%d" % rows, b"%d" % recipients))

    def own(self, question: Question, uid: int) -> Answers:
        """Show the messages that the account `uid` has queued, as `show` does, and no others."""
        return self._list(question, is_full=True, owner=uid)

    def _count(self, question: Question) -> Answers:
        tag, word = question.tag, question.text.decode()
        messages: Counter[bytes] = Counter()
        recipients: Counter[bytes] = Counter()
        count = total = 0
        for sight in self.sights(question.filter):
            meant = sight.meant(question.filter)
            keys = Counter(_keys(word, sight, meant)) if meant else Counter[bytes]()
            for key, times in keys.items():
                kept = key if key in messages or len(messages) < KEYS_MAX else OTHERS
                messages[kept] += 1
                recipients[kept] += times
            count += bool(keys)
            total += keys.total()
            yield progress(tag, sight)
        for place, (key, times) in enumerate(messages.most_common()):
            if question.limit and place >= question.limit:
                break
            yield Answer(tag, "tally", (key, b"%d" % times, b"%d" % recipients[key]))
        yield Answer(tag, "done", (b"%d" % count, b"%d" % total))


def _keys(word: str, sight: Sight, meant: list[Seen]) -> list[bytes]:
    """Return what each of these recipients is counted under."""
    if word == "domain":
        return [seen.address[seen.address.rfind(b"@") + 1 :].lower() for seen in meant]
    if word == "reason":
        return [code_of(seen.reason) or seen.reason or UNKNOWN for seen in meant]
    about = sight.about
    if about is None:
        return []
    key = about.sender or b"<>" if word == "sender" else age_word(about.age_s).encode()
    return [key] * len(meant)


def row_of(sight: Sight, meant: list[Seen]) -> Row | None:
    """Return a message as a list shows it; None: it is gone."""
    about = sight.about
    if about is None:
        return None
    states = {seen.state for seen in meant}
    state = TRYING if TRYING in states else meant[0].state
    return Row(
        number=sight.number,
        state=state,
        age_s=about.age_s,
        size=about.size,
        due_s=int(min(sight.dues.values())) if sight.dues else None,
        recipients=len(meant),
        sender=about.sender,
        recipient=meant[0].address,
        reason=meant[0].reason,
    )


def recipient_row(number: int, seen: Seen) -> RecipientRow:
    """Return one recipient as `show` shows it."""
    return RecipientRow(number, seen.channel.word, seen.state, seen.address, seen.reason)
