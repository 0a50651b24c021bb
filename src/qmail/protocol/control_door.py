"""The door of operators, run/control: what root and qmails can ask of the resident qmail-send.

    Q tag verb filter text limit        a question, or something to be done
    A tag kind field...                 answers; the last one to a question is `done` or `error`

verb            text             answers
--------------  ---------------  -------------------------------------------------------------
list            -                `row` for each message, at most `limit`
show            -                `row` for each message, `recipient` for each of its recipients
count           what to count by `tally` for each key
hold, release,  -                `found`, then it waits for `yes` with the same tag; `progress`
retry, delete                    now and then
bounce          what to say      the same
undo            an operation, -  the same, without `yes`
operations      -                `operation` for each that can be undone
status          -                `status` fields, `slow` and `trouble` rows

A look at very many messages answers `progress`, of two numbers, as well: how many of how many.
"""

from dataclasses import dataclass
from typing import Final

from qmail.protocol.netstring import FrameError, iter_fields, pack, pack_fields, unpack_fields
from qmail.protocol.queue_door import number
from qmail.protocol.queue_filter import Filter

QUESTION_FRAME_MAX: Final = 262144
ANSWER_FRAME_MAX: Final = 16384
TEXT_BYTES_MAX: Final = 1000
FIELDS_MAX: Final = 32
ACTS: Final = ("hold", "release", "retry", "delete", "bounce")
VERBS: Final = frozenset((*ACTS, "list", "show", "count", "undo", "operations", "status", "yes"))
COUNT_KEYS: Final = ("sender", "domain", "reason", "age")
AGES: Final = (
    (300, "under 5 minutes"),
    (3600, "under an hour"),
    (4 * 3600, "under 4 hours"),
    (86400, "under a day"),
    (3 * 86400, "under 3 days"),
)
OLDEST: Final = "3 days or more"


def age_word(age_s: int) -> str:
    """Return the group that messages of this age are counted in."""
    return next((word for most_s, word in AGES if age_s < most_s), OLDEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What an operator asks. `tag` comes back with each answer."""

    tag: int
    verb: str
    filter: Filter = Filter()
    text: bytes = b""
    limit: int = 0
    """At most so many rows; 0: all."""

    def pack(self) -> bytes:
        """Return the frame."""
        return pack(
            b"Q"
            + pack_fields(
                b"%d" % self.tag,
                self.verb.encode(),
                self.filter.pack(),
                self.text,
                b"%d" % self.limit,
            )
        )

    @classmethod
    def unpack(cls, payload: bytes) -> "Question":
        """Parse a frame's payload.

        Raises: FrameError: not a question that is known here.
        """
        if payload[:1] != b"Q":
            raise FrameError("not a question")
        tag, word, packed, text, limit = unpack_fields(payload[1:], 5)
        verb = word.decode("ascii", "replace")
        if verb not in VERBS or len(text) > TEXT_BYTES_MAX:
            raise FrameError("no such question")
        if verb == "count" and text.decode("ascii", "replace") not in COUNT_KEYS:
            raise FrameError("nothing to count by")
        return cls(
            tag=number(tag),
            verb=verb,
            filter=Filter.unpack(packed),
            text=text,
            limit=number(limit),
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """One frame of an answer: its kind, and fields whose meaning the kind decides."""

    tag: int
    kind: str
    fields: tuple[bytes, ...] = ()

    def pack(self) -> bytes:
        """Return the frame."""
        return pack(b"A" + pack_fields(b"%d" % self.tag, self.kind.encode(), *self.fields))

    @classmethod
    def unpack(cls, payload: bytes) -> "Answer":
        """Parse a frame's payload.

        Raises: FrameError: not an answer.
        """
        if payload[:1] != b"A":
            raise FrameError("not an answer")
        fields = tuple(iter_fields(payload[1:]))
        if not 2 <= len(fields) <= FIELDS_MAX:
            raise FrameError("not an answer")
        return cls(number(fields[0]), fields[1].decode("ascii", "replace"), fields[2:])


@dataclass(frozen=True, slots=True)
class Row:
    """One message as a list shows it; of `recipients` there are so many that the filter means."""

    number: int
    state: str
    age_s: int
    size: int
    due_s: int | None
    """Seconds until the next try; None: there is none, or it is being tried."""
    recipients: int
    sender: bytes
    recipient: bytes
    """The first of them."""
    reason: bytes
    """Why that one was not delivered yet, if that is known."""

    def answer(self, tag: int) -> Answer:
        """Return it as an answer."""
        due = b"" if self.due_s is None else b"%d" % max(0, self.due_s)
        return Answer(
            tag,
            "row",
            (
                b"%d" % self.number,
                self.state.encode(),
                b"%d" % self.age_s,
                b"%d" % self.size,
                due,
                b"%d" % self.recipients,
                self.sender,
                self.recipient,
                self.reason,
            ),
        )

    @classmethod
    def of(cls, answer: Answer) -> "Row":
        """Return the row that an answer holds. Raises: FrameError: it holds none."""
        if answer.kind != "row" or len(answer.fields) != 9:
            raise FrameError("not a row")
        message, state, age, size, due, count, sender, recipient, reason = answer.fields
        return cls(
            number(message),
            state.decode("ascii", "replace"),
            number(age),
            number(size),
            number(due) if due else None,
            number(count),
            sender,
            recipient,
            reason,
        )


@dataclass(frozen=True, slots=True)
class RecipientRow:
    """One recipient of a message."""

    number: int
    channel: str
    state: str
    address: bytes
    reason: bytes

    def answer(self, tag: int) -> Answer:
        """Return it as an answer."""
        words = (self.channel.encode(), self.state.encode())
        return Answer(tag, "recipient", (b"%d" % self.number, *words, self.address, self.reason))

    @classmethod
    def of(cls, answer: Answer) -> "RecipientRow":
        """Return the row that an answer holds. Raises: FrameError: it holds none."""
        if answer.kind != "recipient" or len(answer.fields) != 5:
            raise FrameError("not a recipient")
        message, channel, state, address, reason = answer.fields
        return cls(number(message), channel.decode(), state.decode(), address, reason)


def tally_of(answer: Answer) -> tuple[bytes, int, int]:
    """Return key, messages, recipients of a `tally`. Raises: FrameError: it is none."""
    if answer.kind != "tally" or len(answer.fields) != 3:
        raise FrameError("not a tally")
    key, messages, recipients = answer.fields
    return key, number(messages), number(recipients)
