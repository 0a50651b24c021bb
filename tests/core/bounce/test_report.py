"""Bounces as delivery status notifications (RFC 3464, RFC 6522), read with Python's own parser."""

import email
import email.policy
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.bounce_readers import ORIGINAL, bounce, controls

from qmail.core.bounce.report import PARAGRAPH_BYTES_MAX, Failure, failures, typed_address
from qmail.core.bounce.rules import TOO_LONG, paragraph
from qmail.core.settings.programs import BounceFormat

DSN = controls(BounceFormat.DSN)
NO = [(b"x@y.ex", b"no\n")]
REFUSED = (
    b"192.0.2.1 does not like recipient.\n550-5.7.1 not\n550 5.7.1 today\nGiving up on 192.0.2.1.\n"
)
GREYLISTED = (
    b"2001:db8::1 does not like recipient.\n451 later\nGiving up on 2001:db8::1.\n" + TOO_LONG
)


def parsed(text: bytes) -> Any:
    """Parse strictly: any defect is an error."""
    found = email.message_from_bytes(text, policy=email.policy.default.clone(raise_on_defect=True))
    assert isinstance(found, EmailMessage)
    return found


def loosely(text: bytes) -> Any:
    """Parse as programs do that take what they can get."""
    return email.message_from_bytes(text)


def blocks(text: bytes) -> list[dict[str, str]]:
    """Return the groups of fields of the delivery status."""
    status = loosely(text).get_payload()[1]
    return [dict(group.items()) for group in status.get_payload()]


# --- the whole ------------------------------------------------------------------------------------


def test_rfc6522_3_it_is_a_report_of_three_parts() -> None:
    found = parsed(bounce(NO, DSN))
    assert found.get_content_type() == "multipart/report"
    assert found.get_param("report-type") == "delivery-status"
    assert [part.get_content_type() for part in found.iter_parts()] == [
        "text/plain",
        "message/delivery-status",
        "message/rfc822",
    ]
    assert found["MIME-Version"] == "1.0"
    assert found["Auto-Submitted"] == "auto-replied"
    assert found["Subject"] == "failure notice"
    assert found["Message-ID"] == "<token@host.ex>"


def test_the_text_and_what_stands_before_the_first_part_are_what_qsbmf_says() -> None:
    text = bounce(NO, DSN)
    plain = bounce(NO, controls()).partition(b"\n\n")[2].partition(b"Return-Path: ")[0].decode()
    found = loosely(text)
    # The last line feed belongs to the boundary (RFC 2046 5.1.1).
    assert found.get_payload()[0].get_payload() + "\n" == plain
    assert found.preamble == plain.partition("---")[0].removesuffix("\n")


def test_the_original_is_returned_with_its_sender() -> None:
    (original,) = loosely(bounce(NO, DSN)).get_payload()[2].get_payload()
    assert original.as_bytes() == b"Return-Path: <joe@a.ex>\n" + ORIGINAL


def test_bouncemaxbytes_of_a_long_message_the_header_is_returned() -> None:
    found = parsed(bounce(NO, controls(BounceFormat.DSN, bytes_max=5)))
    text, _, header = found.iter_parts()
    assert header.get_content_type() == "text/rfc822-headers"
    assert header.get_payload() == "Return-Path: <joe@a.ex>\nReceived: x\nSubject: hello\n\n"
    assert "\n--- Only its header is returned: it has more than 5 bytes.\n" in text.get_payload()


@pytest.mark.parametrize("body", [b"a\0b\n", b"a\rb\n", b"x" * 999 + b"\n"])
def test_rfc2045_2_what_is_binary_is_not_returned(body: bytes) -> None:
    text = bounce(NO, DSN, original=b"Received: x\n\n" + body)
    assert body.rstrip() not in text
    assert parsed(text).get_payload()[2].get_content_type() == "text/rfc822-headers"


@pytest.mark.parametrize(
    ("address", "original", "encodings"),
    [
        (b"x@y.ex", ORIGINAL, [None, None, None, None]),
        (b"x@y.ex", ORIGINAL + "caf\u00e9\n".encode(), ["8bit", None, None, "8bit"]),
        ("caf\u00e9@y.ex".encode(), ORIGINAL, ["8bit", "8bit", None, None]),
    ],
)
def test_rfc2045_6_4_8bit_is_said_where_there_is_something_of_it(
    address: bytes, original: bytes, encodings: list[str | None]
) -> None:
    text = bounce([(address, b"no")], DSN, original=original)
    found = parsed(text)
    parts = [found, *found.iter_parts()]
    assert [part["Content-Transfer-Encoding"] for part in parts] == encodings
    charset = parts[1].get_content_charset()
    assert charset == ("us-ascii" if encodings[1] is None else "utf-8")
    assert text.isascii() is (encodings[0] is None)


def test_rfc3464_2_1_the_report_about_a_refused_bounce_returns_that_bounce() -> None:
    found = parsed(bounce(NO, DSN, refusal=b"no bounces here (#5.7.1)"))
    assert found["To"] == "postmaster@dbl.ex"
    status, returned = found.get_payload()[1:]
    assert status.get_payload()[1]["Final-Recipient"] == "rfc822; joe@a.ex"
    assert status.get_payload()[1]["Status"] == "5.7.1"
    (inner,) = returned.get_payload()
    assert inner["To"] == "joe@a.ex"
    assert inner.get_boundary() != found.get_boundary()
    assert inner.get_payload()[1].get_payload()[1]["Final-Recipient"] == "rfc822; x@y.ex"


# --- fields ---------------------------------------------------------------------------------------


def test_rfc3464_2_2_fields_about_the_message() -> None:
    assert blocks(bounce(NO, DSN))[0] == {
        "Reporting-MTA": "dns; host.ex",
        "Arrival-Date": "2 Jan 1970 00:00:00 -0000",
    }


def test_rfc3464_2_3_fields_about_each_recipient() -> None:
    text = bounce([(b"ann@far.ex", REFUSED), (b"bob@far.ex", GREYLISTED), *NO], DSN)
    assert blocks(text)[1:] == [
        {
            "Final-Recipient": "rfc822; ann@far.ex",
            "Action": "failed",
            "Status": "5.7.1",
            "Remote-MTA": "dns; [192.0.2.1]",
            "Diagnostic-Code": "smtp; 550-5.7.1 not 550 5.7.1 today",
        },
        {
            "Final-Recipient": "rfc822; bob@far.ex",
            "Action": "failed",
            "Status": "4.0.0",
            "Remote-MTA": "dns; [IPv6:2001:db8::1]",
            "Diagnostic-Code": "smtp; 451 later",
        },
        {
            "Final-Recipient": "rfc822; x@y.ex",
            "Action": "failed",
            "Status": "5.0.0",
            "Diagnostic-Code": "x-qmail; no",
        },
    ]


@pytest.mark.parametrize(
    ("report", "status"),
    [
        (b"There is no mailbox of this name here. (#5.1.1)\n", b"5.1.1"),
        (b"192.0.2.1 does not like recipient.\n550 5.7.1 no (#5.1.1)\n", b"5.7.1"),
        (b"192.0.2.1 does not like recipient.\n550 no (#5.1.1)\n", b"5.1.1"),
        (b"192.0.2.1 does not like recipient.\n550\n", b"5.0.0"),
        (b"192.0.2.1 failed on DATA command.\n554 no\n", b"5.0.0"),
        (b"Connected to 192.0.2.1 but sender was rejected.\n550 5.7.25 no\n", b"5.7.25"),
        (b"Unable to open an SMTP connection to any host. (#4.4.1)\n" + TOO_LONG, b"4.4.1"),
        (b"The program said nothing.\n" + TOO_LONG, b"4.4.7"),
        (TOO_LONG, b"4.4.7"),
        (b"550 5.7.1 said by no server\n", b"5.0.0"),
        (b"(#9.1.1)\n", b"5.0.0"),
        (b"", b"5.0.0"),
    ],
)
def test_rfc3464_2_3_4_status(report: bytes, status: bytes) -> None:
    (failure,) = failures(iter((paragraph(b"a@b", report),)))
    assert failure.status == status


@pytest.mark.parametrize(
    ("address", "typed"),
    [
        (b"joe@a.ex", b"rfc822; joe@a.ex"),
        (b"a b@c.ex", b'rfc822; "a b"@c.ex'),
        ("caf\u00e9@\u4f8b.ex".encode(), rb'utf-8; "caf\x{E9}"@\x{4F8B}.ex'),
        (b"a\nb@c.ex", rb'rfc822; "a\_b"@c.ex'),
    ],
)
def test_rfc3464_2_3_2_and_rfc6533_3_addresses_have_a_type(address: bytes, typed: bytes) -> None:
    assert typed_address(address) == typed


@given(report=st.binary(max_size=300), address=st.binary(min_size=1, max_size=30))
def test_whatever_a_report_says_its_fields_are_five_lines_of_ascii(
    report: bytes, address: bytes
) -> None:
    text = Failure(address, report).fields()
    assert text.isascii()
    names = [line.partition(b":")[0] for line in text.split(b"\n")[:-1]]
    assert [name for name in names if name != b"Remote-MTA"] == [
        b"Final-Recipient",
        b"Action",
        b"Status",
        b"Diagnostic-Code",
    ]
    assert max(map(len, text.split(b"\n"))) < 998


# --- paragraphs read back -------------------------------------------------------------------------


@given(
    told=st.lists(st.tuples(st.text("ab@.-").map(str.encode), st.text("x\n-<>:").map(str.encode))),
    size=st.integers(1, 9),
)
def test_any_split_of_the_reports_gives_the_same_failures(
    told: list[tuple[bytes, bytes]], size: int
) -> None:
    text = b"".join(paragraph(address, report) for address, report in told)
    parts = [text[at : at + size] for at in range(0, len(text), size)]
    assert [failure.address for failure in failures(iter(parts))] == [
        address for address, _ in told
    ]


def test_a_paragraph_without_end_takes_no_more_memory_and_hides_none_after_it() -> None:
    def parts() -> Iterator[bytes]:
        yield b"<a@b>:\n"
        yield from [b"x" * 8192 + b"\n"] * 100
        yield b"\n<c@d>:\nno\n\n"

    first, second = failures(parts())
    assert (first.address, second) == (b"a@b", Failure(b"c@d", b"no"))
    assert len(first.report) <= PARAGRAPH_BYTES_MAX


def test_what_is_no_paragraph_of_a_recipient_is_skipped() -> None:
    text = b"\n\nhello\n\n<half@a\n\n<a@b>:\nno\n\n"
    assert list(failures(iter((text,)))) == [Failure(b"a@b", b"no")]
