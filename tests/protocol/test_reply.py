"""Replies: their bytes, their codes, the table of all of them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.mail import deferred, failed
from qmail.protocol import reply as replies
from qmail.protocol.reply import Reply

TABLE = {name: value for name, value in vars(replies).items() if isinstance(value, Reply)}


def test_a_reply_of_one_line() -> None:
    assert Reply(250, b"2.1.0", b"ok").wire == b"250 2.1.0 ok\r\n"


def test_rfc5321_4_2_1_every_line_but_the_last_has_a_hyphen() -> None:
    reply = Reply(214, b"2.0.0", b"one\ntwo\nthree")
    assert reply.wire == b"214-2.0.0 one\r\n214-2.0.0 two\r\n214 2.0.0 three\r\n"
    assert reply.line == b"214-2.0.0 one / 214-2.0.0 two / 214 2.0.0 three"


@pytest.mark.parametrize("name", sorted(TABLE))
def test_rfc2034_4_every_reply_has_an_enhanced_code_of_its_class(name: str) -> None:
    reply = TABLE[name]
    if reply.code == 354:
        assert reply.enhanced == b""
        return
    assert re.fullmatch(rb"[245]\.\d{1,3}\.\d{1,3}", reply.enhanced)
    assert reply.enhanced[:1] == b"%d" % (reply.code // 100)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_rfc5321_4_5_3_1_5_no_reply_line_is_over_512_bytes(name: str) -> None:
    assert all(len(line) <= 510 for line in TABLE[name].wire.split(b"\r\n"))


def test_greeting_and_replies_to_helo_and_ehlo_have_no_enhanced_code() -> None:
    assert replies.greeting_reply(b"mx.example").wire == b"220 mx.example ESMTP\r\n"
    assert replies.helo_reply(b"mx.example").wire == b"250 mx.example\r\n"
    assert replies.ehlo_reply(b"mx.example", 1000).wire == (
        b"250-mx.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 1000\r\n"
        b"250 ENHANCEDSTATUSCODES\r\n"
    )


def test_the_final_reply_keeps_time_and_qp() -> None:
    assert replies.queued_reply(1700000000, 123).wire == b"250 2.0.0 ok 1700000000 qp 123\r\n"


def test_a_code_at_the_end_of_a_queue_text_moves_to_its_place() -> None:
    result = deferred(b"qq write error or disk full (#4.3.0)")
    assert replies.refused_reply(result).wire == b"451 4.3.0 qq write error or disk full\r\n"
    result = failed(b"envelope address too long for qq (#5.1.3)")
    assert replies.refused_reply(result).wire == b"554 5.1.3 envelope address too long for qq\r\n"


def test_a_queue_text_without_code_or_with_one_of_another_class_gets_the_usual_one() -> None:
    assert replies.refused_reply(failed(b"spam")).wire == b"554 5.3.0 spam\r\n"
    assert replies.refused_reply(deferred(b"no (#5.7.1)")).wire == b"451 4.3.0 no\r\n"


@given(st.binary(max_size=600))
def test_no_text_can_add_a_line_or_a_reply(text: bytes) -> None:
    wire = replies.refused_reply(failed(text)).wire
    assert wire.startswith(b"554 5.")
    assert wire.endswith(b"\r\n")
    assert all(32 <= byte < 127 for byte in wire[:-2])
    assert len(wire) <= 512
