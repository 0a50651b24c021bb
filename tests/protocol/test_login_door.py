"""The frames at run/login."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.protocol.login_door import (
    LOGIN_FRAME_MAX,
    RESPONSE_BYTES_MAX,
    Accepted,
    Answer,
    Begin,
    Begun,
    Call,
    Challenge,
    Ended,
    GiveUp,
    Mechanism,
    Offer,
    Proof,
    Refusal,
    Refused,
    Response,
    Start,
    unpack_answer,
    unpack_call,
)
from qmail.protocol.netstring import FrameError, FrameReader

TAGS = st.integers(0, 10**10 - 1)
BYTES = st.binary(max_size=300)
CALLS = st.one_of(
    st.builds(
        Begin,
        tag=TAGS,
        service=st.sampled_from([b"pop3", b"smtp"]),
        mechanism=st.sampled_from(Mechanism),
        login=BYTES,
        secret=BYTES,
        challenge=BYTES,
        client=st.binary(max_size=64),
    ),
    st.builds(Response, TAGS, BYTES),
    st.builds(GiveUp, TAGS),
    st.builds(Start, TAGS),
)
ANSWERS = st.one_of(
    st.builds(Offer, st.lists(st.sampled_from(Mechanism)).map(tuple)),
    st.builds(Challenge, TAGS, BYTES),
    st.builds(Accepted, TAGS, BYTES, st.sampled_from(Proof)),
    st.builds(Refused, TAGS, st.sampled_from(Refusal)),
    st.builds(Begun, TAGS),
    st.builds(Ended, TAGS, st.integers(0, 255)),
)


@given(CALLS)
def test_a_call_comes_back_as_it_was(call: Call) -> None:
    (payload,) = FrameReader(LOGIN_FRAME_MAX).feed(call.pack())
    assert unpack_call(payload) == call


@given(ANSWERS)
def test_an_answer_comes_back_as_it_was(answer: Answer) -> None:
    (payload,) = FrameReader(LOGIN_FRAME_MAX).feed(answer.pack())
    assert unpack_answer(payload) == answer


@given(st.sampled_from("LCXSOKNBE"), st.binary(max_size=80))
def test_nonsense_is_a_frame_error_or_a_frame(letter: str, rest: bytes) -> None:
    for unpack in (unpack_call, unpack_answer):
        try:
            frame = unpack(letter.encode() + rest)
        except FrameError:
            continue
        assert frame.pack()


@given(st.one_of(CALLS, ANSWERS), st.data())
def test_a_cut_frame_is_none(frame: Call | Answer, data: st.DataObject) -> None:
    (payload,) = FrameReader(LOGIN_FRAME_MAX).feed(frame.pack())
    short = payload[: data.draw(st.integers(0, len(payload) - 1))]
    for unpack in (unpack_call, unpack_answer):
        with pytest.raises(FrameError):
            unpack(short)


def test_the_longest_fields_fit_into_a_frame_and_longer_ones_are_refused() -> None:
    longest = b"x" * RESPONSE_BYTES_MAX
    begin = Begin(
        tag=10**10 - 1,
        service=b"x" * 16,
        mechanism=Mechanism.USER,
        login=longest,
        secret=longest,
        challenge=b"x" * 512,
        client=b"x" * 64,
    )
    assert FrameReader(LOGIN_FRAME_MAX).feed(begin.pack())
    for make in (
        lambda text: Begin(tag=1, service=b"pop3", mechanism=Mechanism.PLAIN, login=text),
        lambda text: Response(1, text),
        lambda text: Challenge(1, text),
        lambda text: Accepted(1, text),
    ):
        assert make(longest)
        with pytest.raises(FrameError):
            make(longest + b"x")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"X",
        b"X1:a,",
        b"X2:-1,",
        b"X11:10000000000,",
        b"X1:1,1:2,",
        b"L1:1,4:pop3,8:CRAM-MD5,1:a,1:b,0:,0:,",
        b"L1:1,17:aaaaaaaaaaaaaaaaa,4:USER,1:a,1:b,0:,0:,",
        b"R1:1,",
    ],
)
def test_calls_that_are_refused(payload: bytes) -> None:
    with pytest.raises(FrameError):
        unpack_call(payload)


@pytest.mark.parametrize(
    "payload", [b"N1:1,5:wrong,", b"K1:1,3:joe,6:maybe,", b"O8:CRAM-MD5,", b"E1:1,4:1000,"]
)
def test_answers_that_are_refused(payload: bytes) -> None:
    with pytest.raises(FrameError):
        unpack_answer(payload)


def test_what_is_printed_of_a_frame_never_shows_a_secret() -> None:
    begin = Begin(tag=1, service=b"pop3", mechanism=Mechanism.USER, login=b"joe", secret=b"hunter2")
    assert "hunter2" not in repr(begin)
    assert "hunter2" not in repr(Response(1, b"\0joe\0hunter2"))
