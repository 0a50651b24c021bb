"""qreceipt (spec/programs.md 6)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.utilities.line_tools import Line

from qmail.mail import Envelope
from qmail.utilities import qreceipt

FIELD = b"Notice-Requested-Upon-Delivery-To: "
REST = b"Subject: x\nMessage-ID: <1@far.ex>\n\nbody\n"
ASKING = FIELD + b"ann@dh.ex\n" + REST


def test_who_asked_is_told_that_it_arrived(line: Line) -> None:
    ended = line.on_file(["qreceipt", "ann@dh.ex"], ASKING, offset=9)
    assert ended.code == 0
    assert ended.err.startswith(b"qreceipt: qp ")
    assert line.envelope == Envelope(b"", (b"joe@far.ex",))
    date, _, rest = line.message.partition(b"\n")
    assert date.startswith(b"Date: ")
    head, _, body = rest.partition(b"\n\n")
    assert head.split(b"\n") == [
        b"From: <joe@far.ex>",
        b"To: <joe@far.ex>",
        b"Subject: success notice",
        b"Auto-Submitted: auto-replied",
    ]
    assert b"ann@dh.ex" in body
    assert body.endswith(b"\nMessage-ID: <1@far.ex>\n")


@pytest.mark.parametrize(
    "value",
    [
        b"ann@dh.ex",
        b"bob@b, Ann <ann@dh.ex>",
        b"bob@b,\n (the other)\n\tann@dh.ex",
        b"friends: bob@b, ann@dh.ex;",
        b'"ann"@dh.ex',
    ],
)
def test_the_address_may_stand_anywhere_in_the_list(line: Line, value: bytes) -> None:
    assert line.on_file(["qreceipt", "ann@dh.ex"], FIELD + value + b"\n" + REST).code == 0
    assert line.is_queued


@pytest.mark.parametrize(
    "message",
    [
        REST,
        FIELD + b"Ann@dh.ex\n" + REST,
        FIELD + b"ann@dh.ex.org\n" + REST,
        FIELD + b"ann@dh.ex (\n" + REST,
        FIELD + b"\n" + REST,
        b"Subject: x\n\n" + FIELD + b"ann@dh.ex\n",
        b"",
    ],
)
def test_nobody_asked(line: Line, message: bytes) -> None:
    ended = line.on_file(["qreceipt", "ann@dh.ex"], message)
    assert (ended.code, ended.err, line.is_queued) == (0, b"", False)


@pytest.mark.parametrize("sender", ["", "#@[]"])
def test_a_bounce_is_never_answered(line: Line, sender: str) -> None:
    line.environ["SENDER"] = sender
    assert line.on_file(["qreceipt", "ann@dh.ex"], ASKING).code == 0
    assert not line.is_queued


def test_a_sender_that_needs_quotes_gets_them(line: Line) -> None:
    line.environ["SENDER"] = "joe\nTo: eve@x@far.ex"
    assert line.on_file(["qreceipt", "ann@dh.ex"], ASKING).code == 0
    assert b'\nTo: <"joe\\_To: eve@x"@far.ex>\n' in line.message
    assert line.envelope.recipients == (b"joe\nTo: eve@x@far.ex",)


def test_a_header_without_end_is_told_and_not_answered(line: Line) -> None:
    message = FIELD + b"ann@dh.ex\n" + b"X: y\n" * 300_000
    ended = line.on_file(["qreceipt", "ann@dh.ex"], message)
    assert (ended.code, line.is_queued) == (0, False)
    assert b"warning: the header is longer than" in ended.err


@pytest.mark.parametrize(("code", "ends"), [("31", 100), ("53", 111)])
def test_the_queues_refusal_becomes_the_exit_code(line: Line, code: str, ends: int) -> None:
    line.environ["QUEUE_EXIT"] = code
    assert line.on_file(["qreceipt", "ann@dh.ex"], ASKING).code == ends


def test_wrong_usage_and_a_missing_variable_end_with_100(line: Line) -> None:
    for argv in ([], ["a@b", "c@d"]):
        assert line.on_file(["qreceipt", *argv], ASKING).code == 100
    line.unset("SENDER")
    ended = line.on_file(["qreceipt", "ann@dh.ex"], ASKING)
    assert (ended.code, ended.err) == (100, b"qreceipt: fatal: SENDER not set\n")


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_any_bytes_have_a_header(parts: list[bytes]) -> None:
    fields = qreceipt.header_of(part for part in parts if part)
    assert all(isinstance(qreceipt.names(field.value, b"a@b"), bool) for field in fields)
