"""What a sender is told, and who that is (spec/bounces.md 1, 2, 4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.core.bounce.rules import (
    LINE_BYTES_MAX,
    NOBODY,
    TOO_LONG,
    BounceControls,
    bounce_controls,
    bounce_envelope,
    on_one_line,
    original_sender,
    paragraph,
)
from qmail.core.settings.controls import ControlError
from qmail.core.settings.programs import BounceFormat, SendControls
from qmail.mail import Envelope

CONTROLS = BounceControls(b"MAILER-DAEMON", b"host.ex", b"postmaster", b"dbl.ex")
DROPPING = BounceControls(b"MAILER-DAEMON", b"host.ex", b"", b"dbl.ex")


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


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (b"--- transcript\n", b"/--- transcript\n\n"),
        (b"no\n <ann@far.ex>:\n", b"no\n/ <ann@far.ex>:\n\n"),
        (b"550 <ann@far.ex>: no - really\n", b"550 <ann@far.ex>: no - really\n\n"),
    ],
)
def test_no_line_of_a_report_looks_like_a_paragraph(report: bytes, text: bytes) -> None:
    assert paragraph(b"joe@far.ex", report) == b"<joe@far.ex>:\n" + text


@pytest.mark.parametrize(
    ("report", "text"),
    [
        ("caf\u00e9".encode(), b"caf??"),
        (b"a\r\nb", b"a?\nb"),
        (b"a\0\x1b[2Jb\x7f", b"a??[2Jb?"),
        (b"\ta\tb", b"\ta\tb"),
    ],
)
def test_a_report_is_told_in_ascii_without_control_bytes(report: bytes, text: bytes) -> None:
    assert paragraph(b"joe@far.ex", report) == b"<joe@far.ex>:\n" + text + b"\n\n"


def test_rfc5321_4_5_3_1_6_a_long_line_of_a_report_is_cut() -> None:
    lines = paragraph(b"joe@far.ex", b"x" * (2 * LINE_BYTES_MAX + 5)).split(b"\n")
    assert [len(line) for line in lines[1:]] == [LINE_BYTES_MAX, LINE_BYTES_MAX, 5, 0, 0]
    assert paragraph(b"a@b", b"x" * LINE_BYTES_MAX) == b"<a@b>:\n" + b"x" * LINE_BYTES_MAX + b"\n\n"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (b"a\r\nX: 1@b", b"a__X: 1@b"),
        (b"a\0\t\x7f@b", b"a___@b"),
        ("caf\u00e9@b".encode(), "caf\u00e9@b".encode()),
        (b"caf\xe9@b", b"caf?@b"),
        (b"a b@c", b"a b@c"),
    ],
)
def test_an_address_is_shown_on_one_line_in_ascii_or_utf_8(address: bytes, shown: bytes) -> None:
    assert on_one_line(address) == shown


@given(address=st.binary(max_size=30), report=st.binary(max_size=80))
def test_bounces_2_a_paragraph_is_lines_and_one_empty_line(address: bytes, report: bytes) -> None:
    text = paragraph(address, report)
    assert text.endswith(b"\n\n")
    assert b"\n\n" not in text[:-1]
    first, *others, _, _ = text.split(b"\n")
    assert first == b"<" + on_one_line(address) + b">:"
    assert b"".join(others).isascii()
    assert not any(line.lstrip().startswith((b"-", b"<")) for line in others)


def test_bounces_2_the_sentence_about_age_is_one_line() -> None:
    assert TOO_LONG.count(b"\n") == 1
    assert TOO_LONG.endswith(b"\n")


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


def test_oddities_2_an_empty_doublebounceto_drops_double_bounces_and_no_others() -> None:
    assert bounce_envelope(b"", DROPPING) is None
    assert bounce_envelope(b"joe@a.ex", DROPPING) == Envelope(b"", (b"joe@a.ex",))


def test_bounces_5_a_refused_bounce_goes_to_the_postmaster() -> None:
    double = Envelope(NOBODY, (b"postmaster@dbl.ex",))
    assert bounce_envelope(b"joe@a.ex", CONTROLS, is_refused=True) == double
    assert bounce_envelope(b"joe@a.ex", DROPPING, is_refused=True) is None


# --- settings -------------------------------------------------------------------------------------


def test_control_files_3_names_without_a_file_and_without_me() -> None:
    found = bounce_controls(SendControls())
    assert found == BounceControls(
        b"MAILER-DAEMON",
        b"bouncehost",
        b"postmaster",
        b"doublebouncehost",
        65536,
        BounceFormat.QSBMF,
    )


def test_an_address_of_the_postmaster_that_is_too_long_is_told_at_start() -> None:
    controls = SendControls(doublebounceto=b"p" * 600, doublebouncehost=b"h" * 600)
    with pytest.raises(ControlError, match="control/doublebounceto:1: too long"):
        bounce_controls(controls)
