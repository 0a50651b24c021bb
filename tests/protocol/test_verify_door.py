"""The question whether mail for an address would be taken, and what its answer means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.protocol.netstring import FrameError, FrameReader
from qmail.protocol.verify_door import QUESTION_FRAME_MAX, Question, Verdict, verdict_of


def test_question_comes_back_as_it_was() -> None:
    question = Question(7, b"joe@example.net")
    (payload,) = FrameReader(QUESTION_FRAME_MAX).feed(question.pack())
    assert Question.unpack(payload) == question


@given(st.binary(max_size=60), st.sampled_from([b"", b"V", b"V1:7,", b"R"]))
def test_nonsense_is_a_frame_error_or_a_question(rest: bytes, start: bytes) -> None:
    try:
        Question.unpack(start + rest)
    except FrameError:
        return


@pytest.mark.parametrize(
    ("report", "verdict"),
    [
        (b"K", Verdict.KNOWN),
        (b"Kdid 1+0+0\n", Verdict.KNOWN),
        (b"DThere is no mailbox of this name here. (#5.1.1)\n", Verdict.UNKNOWN),
        (b"DSomething else is wrong for good. (#5.3.0)\n", Verdict.UNSURE),
        (b"D", Verdict.UNSURE),
        (b"ZNot now. (#4.3.0)\n", Verdict.UNSURE),
        (b"ZA text with (#5.1.1) in it\n", Verdict.UNSURE),
        (b"", Verdict.UNSURE),
        (b"d(#5.1.1)", Verdict.UNSURE),
    ],
)
def test_only_5_1_1_makes_an_address_unknown(report: bytes, verdict: Verdict) -> None:
    assert verdict_of(report) is verdict


@given(st.binary(max_size=40))
def test_a_report_without_d_in_front_never_makes_an_address_unknown(report: bytes) -> None:
    assert report[:1] == b"D" or verdict_of(report) is not Verdict.UNKNOWN
