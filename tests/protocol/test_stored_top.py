"""The two top lines of a delivered message, and reports between maildirserial and its client."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.mail import deferred, delivered, failed
from qmail.protocol.path import quote
from qmail.protocol.remote_reports import Outcome
from qmail.protocol.serial_reports import (
    SAID_BYTES_MAX,
    NameReader,
    Report,
    ReportError,
    ReportReader,
    said,
    smtp_report,
)
from qmail.protocol.stored_top import Top, read_recipient, read_top

LINE = st.binary(max_size=30).map(lambda text: text.replace(b"\n", b"_"))
NAME = st.binary(min_size=1, max_size=20).map(lambda text: text.replace(b"\0", b"x"))


@given(sender=LINE, recipient=LINE, rest=st.binary(max_size=50))
def test_what_qmail_local_writes_is_read_back(sender: bytes, recipient: bytes, rest: bytes) -> None:
    sender = sender.replace(b"\r", b"_")
    top = b"Return-Path: <" + quote(sender) + b">\nDelivered-To: " + recipient + b"\n"
    assert read_top(top + rest) == Top(sender, recipient, len(top))
    assert read_recipient(top + rest) == recipient


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"Return-Path: <a>\n",
        b"Return-Path: <a>\nDelivered-To: x",
        b"Return-Path: a\nDelivered-To: x\n",
        b"Return-Path: <a\nDelivered-To: x\n",
        b"Return-Path: <a>\nDelivered-to: x\n",
        b"X: y\nReturn-Path: <a>\nDelivered-To: x\n",
    ],
)
def test_other_lines_are_no_top(start: bytes) -> None:
    assert read_top(start) is None


@given(start=st.binary(max_size=200))
def test_no_start_of_a_file_is_too_odd(start: bytes) -> None:
    read_top(start)
    read_top(b"Return-Path: <" + start + b">\nDelivered-To: " + start + b"\n")


def test_a_quoted_sender_that_does_not_end_is_taken_as_it_is() -> None:
    assert read_top(b'Return-Path: <"a\\>\nDelivered-To: b\n') == Top(b'"a\\', b"b", 35)


@given(st.lists(st.tuples(NAME, st.sampled_from([b"K", b"Z", b"D"]), LINE)), st.data())
def test_any_split_of_reports_and_names_gives_the_same(
    told: list[tuple[bytes, bytes, bytes]], data: st.DataObject
) -> None:
    reports = [Report(*each) for each in told]
    packed = b"".join(report.pack() for report in reports)
    cut = data.draw(st.integers(0, len(packed)))
    reader = ReportReader()
    assert reader.feed(packed[:cut]) + reader.feed(packed[cut:]) == reports
    names = b"".join(report.name + b"\0" for report in reports)
    cut = data.draw(st.integers(0, len(names)))
    name_reader = NameReader()
    found = name_reader.feed(names[:cut]) + name_reader.feed(names[cut:])
    assert found == [report.name for report in reports]


def test_what_never_ends_is_refused() -> None:
    with pytest.raises(ReportError):
        ReportReader().feed(b"x" * 5000)
    with pytest.raises(ReportError):
        ReportReader().feed(b"name\0K" + b"x" * 70000)
    with pytest.raises(ReportError):
        NameReader().feed(b"x" * 5000)


def test_what_the_server_said_is_the_text() -> None:
    text = b"1.2.3.4 failed after I sent the message.\nRemote host said: 552-too\n552 big\n"
    report = smtp_report(b"n", Outcome((b"r",), failed(text)), b"1.2.3.4")
    assert report.pack() == b"n\0D1.2.3.4 said: 552-too 552 big\n"
    told = b"s1.2.3.4 does not like recipient.\nRemote host said: 450 full\n"
    outcome = Outcome((told,), failed(b"Giving up on 1.2.3.4.\n"))
    assert smtp_report(b"n", outcome, b"").pack() == b"n\0Z450 full\n"
    assert smtp_report(b"n", Outcome((), deferred(b"odd\n")), b"").pack() == b"n\0Zodd\n"
    assert smtp_report(b"n", Outcome((b"r",), delivered(b"x\0\xff\n")), b"").text == b"x??"
    assert len(said(b"1.2.3.4", b"x" * 5000)) == SAID_BYTES_MAX
