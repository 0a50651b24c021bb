"""The frames at run/control: there and back, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.protocol.control_door import (
    ANSWER_FRAME_MAX,
    QUESTION_FRAME_MAX,
    Answer,
    Question,
    RecipientRow,
    Row,
    age_word,
)
from qmail.protocol.netstring import FrameError, FrameReader, pack_fields
from qmail.protocol.queue_filter import Filter

ROW = Row(12, "waiting", 90, 4096, 30, 2, b"joe@a", b"x@b", b"no (#4.4.1)")


def test_a_question_crosses_unchanged() -> None:
    asked = Question(tag=7, verb="count", filter=Filter(older_s=5), text=b"domain", limit=3)
    (payload,) = FrameReader(QUESTION_FRAME_MAX).feed(asked.pack())
    assert Question.unpack(payload) == asked


@pytest.mark.parametrize("due_s", [None, 0, 30])
def test_a_row_crosses_unchanged(due_s: int | None) -> None:
    row = Row(12, "waiting", 90, 4096, due_s, 2, b"joe@a", b"x@b", b"no (#4.4.1)")
    (payload,) = FrameReader(ANSWER_FRAME_MAX).feed(row.answer(3).pack())
    answer = Answer.unpack(payload)
    assert answer.tag == 3
    assert Row.of(answer) == row


def test_a_message_that_is_late_is_due_now() -> None:
    late = Row(12, "waiting", 90, 4096, -5, 2, b"", b"x@b", b"")
    assert Row.of(late.answer(1)).due_s == 0


def test_a_recipient_crosses_unchanged() -> None:
    row = RecipientRow(12, "remote", "held", b"x@b", b"")
    assert RecipientRow.of(row.answer(1)) == row
    with pytest.raises(FrameError):
        RecipientRow.of(ROW.answer(1))
    with pytest.raises(FrameError):
        Row.of(row.answer(1))


@pytest.mark.parametrize(
    "fields",
    [
        (b"1", b"format", Filter().pack(), b"", b"0"),
        (b"x", b"list", Filter().pack(), b"", b"0"),
        (b"1", b"list", b"", b"", b"0"),
        (b"1", b"list", Filter().pack(), b"", b"-1"),
        (b"1", b"list", Filter().pack(), b"x" * 1001, b"0"),
        (b"1", b"count", Filter().pack(), b"weather", b"0"),
        (b"1", b"list", Filter().pack(), b""),
    ],
)
def test_other_questions_are_refused(fields: tuple[bytes, ...]) -> None:
    with pytest.raises(FrameError):
        Question.unpack(b"Q" + pack_fields(*fields))


@given(st.binary(max_size=300), st.sampled_from([b"", b"Q", b"A"]))
def test_nonsense_is_refused_as_a_frame_error(noise: bytes, letter: bytes) -> None:
    for kind in (Question, Answer):
        try:
            kind.unpack(letter + noise)
        except FrameError:
            continue


def test_ages_are_counted_in_groups() -> None:
    ages = [0, 299, 300, 3600, 5 * 3600, 86400, 5 * 86400]
    assert [age_word(age_s) for age_s in ages] == [
        "under 5 minutes",
        "under 5 minutes",
        "under an hour",
        "under 4 hours",
        "under a day",
        "under 3 days",
        "3 days or more",
    ]
