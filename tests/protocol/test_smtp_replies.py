"""Replies of a server that may say anything."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.protocol.smtp_replies import LINE_BYTES_MAX, LINES_MAX, MALFORMED, Reply, ReplyReader


def codes(*parts: bytes) -> list[int]:
    reader = ReplyReader()
    return [reply.code for part in parts for reply in reader.feed(part)]


def test_rfc5321_4_2_1_a_hyphen_says_that_more_lines_follow() -> None:
    (reply,) = ReplyReader().feed(b"250-one\r\n250-two\r\n250 three\r\n")
    assert reply == Reply(250, b"250-one\r\n250-two\r\n250 three\r")
    assert reply.said == b"Remote host said: 250-one\n250-two\n250 three\n"


def test_text_may_be_missing_and_a_bare_lf_ends_a_line_too() -> None:
    assert codes(b"250\r\n250 \n354\n") == [250, 250, 354]


@pytest.mark.parametrize(
    "bad",
    [
        b"25x ok\r\n",
        b"ok\r\n",
        b"\r\n",
        b"2500 ok\r\n",
        b"150 ok\r\n",
        b"650 ok\r\n",
        b"\xb2\xb2\xb2 x\n",
    ],
)
def test_oddities_5_digits_are_checked_and_nothing_is_read_after_a_bad_reply(bad: bytes) -> None:
    assert codes(b"220 a\r\n" + bad + b"250 b\r\n", b"250 c\r\n") == [220, MALFORMED]


def test_all_lines_of_a_reply_have_the_same_code() -> None:
    assert codes(b"250-a\r\n550 b\r\n") == [MALFORMED]


def test_a_line_without_end_is_bounded() -> None:
    assert codes(b"250 " + b"x" * LINE_BYTES_MAX) == [MALFORMED]
    assert codes(b"250 " + b"x" * LINE_BYTES_MAX + b"\r\n") == [MALFORMED]


def test_a_reply_without_end_is_bounded() -> None:
    assert codes(b"250-x\r\n" * LINES_MAX + b"250 x\r\n") == [MALFORMED]
    assert codes(b"250-x\r\n" * (LINES_MAX - 1) + b"250 x\r\n") == [250]


def test_b6_a_report_quotes_at_most_5000_bytes_and_no_nul() -> None:
    assert len(Reply(550, b"550 " + b"x" * 9000).said) < 5030
    assert Reply(550, b"550 a\0b\r").said == b"Remote host said: 550 a?b\n"


@settings(max_examples=100)
@given(
    data=st.lists(
        st.sampled_from([b"2", b"5", b"0", b" ", b"-", b"\r\n", b"\n", b"250 ok\r\n", b"250-x\r\n"])
    ).map(b"".join),
    cut=st.integers(0, 200),
)
def test_any_split_of_the_input_gives_the_same_replies(data: bytes, cut: int) -> None:
    whole, split = ReplyReader(), ReplyReader()
    assert whole.feed(data) == split.feed(data[:cut]) + split.feed(data[cut:])
