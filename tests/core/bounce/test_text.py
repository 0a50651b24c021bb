"""qmail's own form of a bounce (spec/bounces.md 3 and 6)."""

import pytest
from tests.fakes.bounce_readers import NOW, ORIGINAL, bounce, controls, material

from qmail.core.bounce.form import bounce_parts
from qmail.core.bounce.rules import BounceControls, Notice

NO = [(b"x@y.ex", b"no\n")]


def test_bounces_3_the_header_has_four_fields_in_this_order() -> None:
    header = bounce(NO, controls()).partition(b"\n\n")[0]
    assert header.split(b"\n") == [
        b"Date: 3 Jan 1970 00:00:00 -0000",
        b"From: MAILER-DAEMON@host.ex",
        b"To: joe@a.ex",
        b"Subject: failure notice",
    ]


def test_bounces_3_a_single_bounce_says_so_in_three_lines() -> None:
    _, intro, told, broken, original = bounce(NO, controls()).split(b"\n\n", 4)
    assert intro.split(b"\n")[0] == b"Hi. This is the qmail-send program at host.ex."
    assert len(intro.split(b"\n")) == 3
    assert told == b"<x@y.ex>:\nno"
    assert broken == b"--- Below this line is a copy of the message."
    assert original == b"Return-Path: <joe@a.ex>\n" + ORIGINAL


def test_bounces_3_a_double_bounce_says_so_in_two_lines() -> None:
    header, intro, told, broken, original = bounce(NO, controls(), sender=b"").split(b"\n\n", 4)
    assert b"To: postmaster@dbl.ex" in header.split(b"\n")
    assert intro.split(b"\n")[0] == b"Hi. This is the qmail-send program at host.ex."
    assert len(intro.split(b"\n")) == 2
    assert told == b"<x@y.ex>:\nno"
    assert broken == b"--- Below this line is the original bounce."
    assert original == b"Return-Path: <>\n" + ORIGINAL


def test_bounces_3_user_parts_are_quoted_where_they_need_it() -> None:
    odd = BounceControls(b"mail daemon", b"host.ex", b"postmaster", b"dbl.ex")
    text = bounce(NO, odd, sender=b"a b@c.ex")
    assert b'\nFrom: "mail daemon"@host.ex\nTo: "a b"@c.ex\n' in text
    assert b'\nReturn-Path: <"a b"@c.ex>\n' in text


@pytest.mark.parametrize(
    "sender",
    [
        b"a@b\nX-Evil: 1",
        b"a\nX-Evil: 1@b",
        b"a\n\nX-Evil: 1@b",
        b"a\r\nX-Evil: 1@b",
        b"a\rX-Evil@b",
    ],
)
def test_an_address_begins_no_field(sender: bytes) -> None:
    text = bounce([(sender, b"no")], controls(), sender=sender)
    assert b"\r" not in text
    assert not any(line.startswith(b"X-Evil") for line in text.split(b"\n"))
    assert text.startswith(b"Date: ")
    assert len(text.partition(b"\n\n")[0].split(b"\n")) == 4


@pytest.mark.parametrize("original", [b"Received: x\n\nno line feed", b"Received: x", b""])
def test_oddities_1_a_bounce_always_ends_with_a_line_feed(original: bytes) -> None:
    text = bounce(NO, controls(), original=original)
    assert text.endswith(b"Return-Path: <joe@a.ex>\n" + original + b"\n")


def test_bouncemaxbytes_a_long_message_comes_back_as_its_header_and_says_so() -> None:
    text = bounce(NO, controls(bytes_max=len(ORIGINAL) - 1))
    assert text.endswith(
        b"\n\n--- Below this line is a copy of the message.\n"
        b"--- Only its header is returned: it has more than %d bytes.\n\n"
        b"Return-Path: <joe@a.ex>\nReceived: x\nSubject: hello\n\n" % (len(ORIGINAL) - 1)
    )
    assert bounce(NO, controls(bytes_max=len(ORIGINAL))).endswith(b"a.ex>\n" + ORIGINAL)


def test_bouncemaxbytes_0_returns_headers_only() -> None:
    text = bounce(NO, controls(bytes_max=0))
    assert b"\n--- Only its header is returned.\n\nReturn-Path: " in text
    assert text.endswith(b"\nSubject: hello\n\n")


def test_bounces_5_a_refused_bounce_is_returned_to_the_postmaster() -> None:
    """The sender's address failed, and what is returned is the bounce that was for it."""
    text = bounce(NO, controls(), refusal=b"no bounces here (#5.7.1)")
    header, _, told, broken, original = text.split(b"\n\n", 4)
    assert b"To: postmaster@dbl.ex" in header
    assert told == b"<joe@a.ex>:\nno bounces here (#5.7.1)"
    assert broken == b"--- Below this line is the original bounce."
    assert original == b"Return-Path: <>\n" + bounce(NO, controls())


def test_what_a_power_cut_left_in_the_reports_is_made_text() -> None:
    notice = Notice(sender=b"joe@a.ex", recipient=b"joe@a.ex", controls=controls(), now=NOW)
    text = b"".join(bounce_parts(notice, material(b"<a@b>:\n\0\0\r\n\n"), b"t"))
    assert b"<a@b>:\n???\n\n---" in text
