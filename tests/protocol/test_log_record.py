"""Structured records: every line of spec/logging.md 2 to 4, ours, and any bytes at all."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.protocol.log_page import LINE_BYTES_MAX, LineCutter, Page
from qmail.protocol.log_record import EVENTS, TEXT_CHARS_MAX, json_line, record_of
from qmail.protocol.log_tail import packed_tail
from qmail.protocol.tai64n import from_iso, from_seconds, from_tai64n, iso, seconds, tai64n

S = "qmail-send"
NORMAL: dict[str, dict[str, object]] = {
    "status: local 1/10 remote 0/20": {
        "event": "status", "local": 1, "local_max": 10, "remote": 0, "remote_max": 20,
    },
    "status: local 1/10 remote 0/20 exitasap": {
        "event": "status", "local": 1, "local_max": 10, "remote": 0, "remote_max": 20,
        "exitasap": True,
    },
    "status: exiting": {"event": "exiting"},
    "new msg 2229907": {"event": "new", "msg": 2229907},
    "info msg 2229907: bytes 239 from <sender@else.example> qp 7811 uid 0": {
        "event": "info", "msg": 2229907, "bytes": 239, "sender": "sender@else.example",
        "qp": 7811, "uid": 0,
    },
    "info msg 5: bytes 239 from <> qp 7811 uid 0": {
        "event": "info", "msg": 5, "bytes": 239, "sender": "", "qp": 7811, "uid": 0,
    },
    "starting delivery 2: msg 2229907 to local joe-nosuch@test.example.org": {
        "event": "start", "delivery": 2, "msg": 2229907, "channel": "local",
        "recipient": "joe-nosuch@test.example.org",
    },
    "starting delivery 3: msg 5 to remote a@b": {
        "event": "start", "delivery": 3, "msg": 5, "channel": "remote", "recipient": "a@b",
    },
    "delivery 2: success: did_1+0+0/": {
        "event": "delivery", "delivery": 2, "result": "success", "reply": "did_1+0+0/",
    },
    "delivery 2: success: ": {
        "event": "delivery", "delivery": 2, "result": "success", "reply": "",
    },
    "delivery 2: failure: Sorry,_no_mailbox_here_by_that_name._(#5.1.1)/": {
        "event": "delivery", "delivery": 2, "result": "failure",
        "reply": "Sorry,_no_mailbox_here_by_that_name._(#5.1.1)/",
    },
    "delivery 2: deferral: later/": {
        "event": "delivery", "delivery": 2, "result": "deferral", "reply": "later/",
    },
    "delivery 2: report mangled, will defer": {
        "event": "delivery", "delivery": 2, "result": "mangled",
    },
    "bounce msg 2229907 qp 7817": {"event": "bounce", "msg": 2229907, "qp": 7817},
    "triple bounce: discarding bounce/5": {"event": "discard", "msg": 5},
    "double bounce: discarding bounce/5": {"event": "discard", "msg": 5},
    "operator: msg 5 deleted to remote a@b": {
        "event": "operator", "msg": 5, "result": "deleted", "channel": "remote",
        "recipient": "a@b",
    },
    "send: far.ex wants less mail: none for 60 s, then 2 at once": {
        "event": "pause", "domain": "far.ex", "seconds": 60, "at_once": 2,
    },
    "end msg 2229907": {"event": "end", "msg": 2229907},
    "warning: trouble in select": {"event": "warning", "text": "trouble in select"},
    "alert: oh no! lost spawn connection! dying...": {
        "event": "alert", "text": "oh no! lost spawn connection! dying...",
    },
}  # fmt: skip
"""The rows of spec/logging.md 2, and one each of 3 and 4."""
OURS: dict[str, dict[str, object]] = {
    "smtpd: connect 192.0.2.7": {"event": "connect", "ip": "192.0.2.7"},
    "smtpd: close ::1": {"event": "close", "ip": "::1"},
    "smtpd: accept ::1 qp 5 bytes 6": {"event": "accept", "ip": "::1", "qp": 5, "bytes": 6},
    "smtpd: refuse ::1: 421 4.7.0 too many": {
        "event": "refuse", "ip": "::1", "reply": "421 4.7.0 too many",
    },
    "smtpd: refuse 192.0.2.7 <>: 552 5.3.4 too big": {
        "event": "refuse", "ip": "192.0.2.7", "sender": "", "reply": "552 5.3.4 too big",
    },
    "smtpd: refuse 2001:db8::1 <a@b> <c@d>: 550 5.1.1 no: none": {
        "event": "refuse", "ip": "2001:db8::1", "sender": "a@b", "recipient": "c@d",
        "reply": "550 5.1.1 no: none",
    },
}  # fmt: skip
POPUP: dict[str, dict[str, object]] = {
    "popup: login 192.0.2.7 <joe@a.ex> pop3s SCRAM-SHA-256 TLSv1.3:TLS_AES_256_GCM_SHA384": {
        "event": "login", "ip": "192.0.2.7", "login": "joe@a.ex", "service": "pop3s",
        "mechanism": "SCRAM-SHA-256", "tls": "TLSv1.3:TLS_AES_256_GCM_SHA384",
    },
    "popup: logout ::1 <joe> seconds 12": {
        "event": "logout", "ip": "::1", "login": "joe", "seconds": 12,
    },
    "popup: denied ::1 <> pop3 PLAIN: -ERR [AUTH] authorization failed": {
        "event": "denied", "ip": "::1", "login": "", "service": "pop3", "mechanism": "PLAIN",
        "reply": "-ERR [AUTH] authorization failed",
    },
    "popup: refuse ::1: -ERR [SYS/TEMP] too many": {
        "event": "refuse", "ip": "::1", "reply": "-ERR [SYS/TEMP] too many",
    },
    "popup: tls ::1: http request": {"event": "tls", "ip": "::1", "text": "http request"},
}  # fmt: skip


@pytest.mark.parametrize("line", NORMAL)
def test_logging_2_to_4_every_line_of_qmail_send_is_a_record(line: str) -> None:
    assert record_of(line.encode()) == {"program": S, **NORMAL[line]}


@pytest.mark.parametrize("line", OURS)
def test_lines_of_qmail_smtpd_are_records(line: str) -> None:
    assert record_of(line.encode()) == {"program": "qmail-smtpd", **OURS[line]}


@pytest.mark.parametrize("line", POPUP)
def test_lines_of_qmail_popup_are_records(line: str) -> None:
    assert record_of(line.encode()) == {"program": "qmail-popup", **POPUP[line]}


def test_every_event_with_a_classic_form_has_a_line_here() -> None:
    seen = {str(record["event"]) for record in (*NORMAL.values(), *OURS.values(), *POPUP.values())}
    assert {event.name for event in EVENTS if event.form is not None} - seen == {"note", "line"}


def test_the_tail_adds_fields_and_changes_none() -> None:
    tail = packed_tail(id=b"abc", msg=b"7", delivery=b"9", odd_name=b"x")
    record = record_of(b"delivery 2: success: ok" + tail)
    assert record["delivery"] == 2
    assert (record["id"], record["msg"], record["odd_name"]) == ("abc", 7, "x")


def test_a_line_that_is_all_tail_is_its_own_event() -> None:
    record = record_of(packed_tail(event=b"queued", id=b"abc", msg=b"7"))
    assert record == {"event": "queued", "program": "qmail-queue", "id": "abc", "msg": 7}


def test_other_lines_keep_their_text() -> None:
    assert record_of(b"qmail-start: stopped") == {
        "event": "note", "program": "qmail-start", "text": "stopped",
    }  # fmt: skip
    assert record_of(b"  File x")["event"] == "line"


@given(st.binary(max_size=300).filter(lambda line: b"\n" not in line))
def test_any_bytes_make_one_line_of_json(line: bytes) -> None:
    for text in (line, b"warning: " + line, b"smtpd: refuse " + line, b"x\x1fid=" + line):
        written = json_line(record_of(text), iso(0))
        assert b"\n" not in written
        assert written.isascii()
        back = json.loads(written)
        assert back["time"] == "1970-01-01T00:00:00.000000Z"
        assert set(back) >= {"event", "program"}


def test_bytes_that_are_no_utf8_are_shown_as_escapes() -> None:
    written = json_line(record_of(b"warning: caf\xe9 \x00\x07\xc3\xa9"), iso(0))
    assert json.loads(written)["text"] == "caf\\xe9 \x00\x07é"


def test_a_long_value_is_cut() -> None:
    record = record_of(b"warning: " + b"a" * 2 * TEXT_CHARS_MAX)
    assert len(str(record["text"])) == TEXT_CHARS_MAX


# --- pages --------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=30), max_size=20), st.lists(st.integers(0, 300), max_size=5))
def test_lines_are_the_same_wherever_the_stream_is_cut(lines: list[bytes], cuts: list[int]) -> None:
    lines = [line.replace(b"\n", b" ") for line in lines]
    data = b"".join(line + b"\n" for line in lines)
    cutter = LineCutter()
    found = []
    start = 0
    for cut in [*sorted(cuts), len(data)]:
        found += cutter.feed(data[start:cut])
        start = max(start, min(cut, len(data)))
    assert found == [line for line in lines if line]


def test_a_line_without_end_is_cut_and_the_last_one_counts() -> None:
    cutter = LineCutter()
    assert cutter.feed(b"a" * (LINE_BYTES_MAX + 1)) == [b"a" * (LINE_BYTES_MAX + 1)]
    assert cutter.feed(b"half") == []
    assert cutter.end() == [b"half"]


def test_forms_of_a_page() -> None:
    now = 1_764_088_046_123_456_789
    lines = [b"new msg 5" + packed_tail(id=b"abc"), packed_tail(event=b"queued", id=b"abc")]
    label = b"@%016x%08x" % ((1 << 62) + 10 + 1_764_088_046, 123_456_789)
    assert Page(lines, now, "none").classic() == b"new msg 5\n"
    assert Page(lines, now, "tai64n").classic() == label + b" new msg 5\n"
    assert Page(lines, now, "seconds").classic() == b"1764088046.123456 new msg 5\n"
    assert Page(lines, now, "iso").classic() == b"2025-11-25T16:27:26.123456Z new msg 5\n"
    objects = [json.loads(line) for line in Page(lines, now, "none").json().splitlines()]
    assert [one["event"] for one in objects] == ["new", "queued"]
    assert objects[0]["time"] == "2025-11-25T16:27:26.123456Z"
    both = Page(lines, now, "none").both().splitlines()
    assert [line[:1] for line in both] == [b"n", b"{", b"{"]


# --- time stamps --------------------------------------------------------------------------------


def test_logging_5_a_tai64n_label() -> None:
    assert tai64n(0) == b"@400000000000000a00000000"
    assert from_tai64n(b"@400000000000000a00000000") == 0


@given(st.integers(0, 4_000_000_000_000_000_000))
def test_stamps_come_back(now_ns: int) -> None:
    assert from_tai64n(tai64n(now_ns)) == now_ns
    assert from_iso(iso(now_ns)) == now_ns // 1000 * 1000
    assert from_seconds(seconds(now_ns)) == now_ns // 1000 * 1000


@given(st.binary(max_size=30))
def test_no_bytes_upset_the_readers_of_stamps(text: bytes) -> None:
    from_tai64n(text)
    from_seconds(text)
    from_tai64n(b"@" + text)
    from_iso(text.decode("latin-1"))
