"""What a sender is told (spec/bounces.md), read back by a reader that knows QSBMF only."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.core.bounce import (
    NOBODY,
    TOO_LONG,
    BounceControls,
    bounce_envelope,
    bounce_head,
    original_sender,
    paragraph,
)
from qmail.mail import Envelope

CONTROLS = BounceControls(b"MAILER-DAEMON", b"host.ex", b"postmaster", b"dbl.ex")


def bounce(sender: bytes, reports: bytes, controls: BounceControls = CONTROLS) -> bytes:
    return b"".join(bounce_head(sender, reports, controls, 0))


def read_qsbmf(body: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    """Read a body as list managers do: the break paragraph, address and reason, the original."""
    assert body.startswith(b"Hi. This is the")
    intro, _, rest = body.partition(b"\n\n")
    assert intro
    found: list[tuple[bytes, bytes]] = []
    while True:
        text, empty, rest = rest.partition(b"\n\n")
        assert empty, "the break paragraph is missing"
        if text.startswith(b"-"):
            return text, found, rest
        if text.startswith(b"<"):
            first, _, reason = text.partition(b"\n")
            assert first.endswith(b">:")
            found.append((first[1:-2], reason))


# --- paragraphs (spec/bounces.md 2) ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (b"No such user.\n", b"No such user.\n\n"),
        (b"No such user.", b"No such user.\n\n"),
        (b"multi\n\npara\n", b"multi\n/para\n\n"),
        (b"a\n\n\n\nb\n", b"a\n///b\n\n"),
        (b"end\n\n", b"end\n/\n\n"),
        (b"\nstart", b"/start\n\n"),
        (b"", b"\n"),
    ],
)
def test_bounces_2_no_empty_line_ends_a_paragraph_early(report: bytes, text: bytes) -> None:
    assert paragraph(b"joe@far.ex", report) == b"<joe@far.ex>:\n" + text


def test_bounces_2_a_line_feed_in_the_address_is_an_underscore() -> None:
    assert paragraph(b"a\nb@c", b"x") == b"<a_b@c>:\nx\n\n"


@settings(max_examples=100)
@given(
    failures=st.lists(
        st.tuples(st.text("ab@.\n-").map(str.encode), st.text("x\n-<>:").map(str.encode)),
        max_size=4,
    )
)
def test_bounces_6_whatever_the_reports_say_a_reader_finds_each_address(
    failures: list[tuple[bytes, bytes]],
) -> None:
    reports = b"".join(paragraph(address, report) for address, report in failures)
    body = bounce(b"joe@a.ex", reports).partition(b"\n\n")[2] + b"Received: x\n\nbody\n"
    _, found, original = read_qsbmf(body)
    assert [address for address, _ in found] == [a.replace(b"\n", b"_") for a, _ in failures]
    assert original == b"Return-Path: <joe@a.ex>\nReceived: x\n\nbody\n"


# --- the message (spec/bounces.md 3) --------------------------------------------------------------


def test_bounces_3_the_header_has_four_fields_in_this_order() -> None:
    header, _, _ = bounce(b"joe@a.ex", b"").partition(b"\n\n")
    assert header.split(b"\n") == [
        b"Date: 1 Jan 1970 00:00:00 -0000",
        b"From: MAILER-DAEMON@host.ex",
        b"To: joe@a.ex",
        b"Subject: failure notice",
    ]


def test_bounces_3_a_single_bounce_says_so_in_three_lines() -> None:
    body = bounce(b"joe@a.ex", paragraph(b"x@y", b"no")).partition(b"\n\n")[2]
    intro = body.partition(b"\n\n")[0].split(b"\n")
    assert intro[0] == b"Hi. This is the qmail-send program at host.ex."
    assert len(intro) == 3
    broken, found, original = read_qsbmf(body)
    assert broken == b"--- Below this line is a copy of the message."
    assert found == [(b"x@y", b"no")]
    assert original == b"Return-Path: <joe@a.ex>\n"


def test_bounces_3_a_double_bounce_says_so_in_two_lines() -> None:
    header, _, body = bounce(b"", paragraph(b"x@y", b"no")).partition(b"\n\n")
    assert b"To: postmaster@dbl.ex" in header.split(b"\n")
    assert len(body.partition(b"\n\n")[0].split(b"\n")) == 2
    broken, _, original = read_qsbmf(body)
    assert broken == b"--- Below this line is the original bounce."
    assert original == b"Return-Path: <>\n"


def test_bounces_3_user_parts_are_quoted_where_they_need_it() -> None:
    controls = BounceControls(b"mail daemon", b"host.ex", b"post master", b"dbl.ex")
    assert b'\nFrom: "mail daemon"@host.ex\nTo: "a b"@c.ex\n' in bounce(b"a b@c.ex", b"", controls)
    assert b'\nReturn-Path: <"a b"@c.ex>\n' in bounce(b"a b@c.ex", b"", controls)
    assert b'\nTo: "post master"@dbl.ex\n' in bounce(b"", b"", controls)


def test_bounces_3_the_verp_tail_is_not_shown() -> None:
    text = bounce(b"list-@l.ex-@[]", b"")
    assert b"\nTo: list-@l.ex\n" in text
    assert text.endswith(b"Return-Path: <list-@l.ex>\n")


def test_a_line_feed_in_the_senders_address_begins_no_field() -> None:
    for sender in (b"a@b\nX-Evil: 1", b"a\nX-Evil: 1@b"):
        assert not any(line.startswith(b"X-Evil") for line in bounce(sender, b"").split(b"\n"))


# --- envelopes (spec/bounces.md 4) ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("sender", "envelope"),
    [
        (b"joe@a.ex", Envelope(b"", (b"joe@a.ex",))),
        (b"list-@l.ex-@[]", Envelope(b"", (b"list-@l.ex",))),
        (b"joe", Envelope(b"", (b"joe",))),
        (b"", Envelope(NOBODY, (b"postmaster@dbl.ex",))),
        (b"-@[]", Envelope(NOBODY, (b"postmaster@dbl.ex",))),
        (NOBODY, None),
    ],
)
def test_bounces_4_who_gets_the_bounce(sender: bytes, envelope: Envelope | None) -> None:
    assert bounce_envelope(sender, CONTROLS) == envelope


def test_bounces_4_the_tail_is_cut_once() -> None:
    assert original_sender(b"a@b-@[]-@[]") == b"a@b-@[]"
    assert original_sender(b"#@[]") == b"#@[]"


def test_bounces_2_the_sentence_about_age_is_one_line() -> None:
    assert TOO_LONG.count(b"\n") == 1
    assert TOO_LONG.endswith(b"\n")
