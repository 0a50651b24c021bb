"""forward (spec/programs.md 6)."""

import pytest
from tests.utilities.line_tools import MESSAGE, VARIABLES, Line

from qmail.mail import Envelope

FORWARDED = VARIABLES["DTLINE"].encode() + MESSAGE


@pytest.mark.parametrize("offset", [0, 20, 1000])
def test_the_message_goes_on_whole_wherever_its_reader_stopped(line: Line, offset: int) -> None:
    ended = line.on_file(["forward", "a@b", "c d@e", "-f"], offset=offset)
    assert (ended.code, ended.out) == (0, b"")
    assert ended.err.startswith(b"forward: qp ")
    assert int(ended.err.split()[-1]) > 0
    assert line.message == FORWARDED
    assert line.envelope == Envelope(b"list-owner@dh.ex", (b"a@b", b"c d@e", b"-f"))


def test_what_a_filter_writes_is_forwarded_from_a_pipe(line: Line) -> None:
    assert line.run(["forward", "a@b"], MESSAGE).code == 0
    assert line.message == FORWARDED


def test_addresses_are_bytes(line: Line) -> None:
    assert line.on_file(["forward", "j\udcf6rg@b"]).code == 0
    assert line.envelope.recipients == (b"j\xf6rg@b",)


@pytest.mark.parametrize("name", ["NEWSENDER", "DTLINE"])
def test_a_variable_that_is_not_set_ends_with_100(line: Line, name: str) -> None:
    line.unset(name)
    ended = line.on_file(["forward", "a@b"])
    assert (ended.code, ended.err) == (100, f"forward: fatal: {name} not set\n".encode())
    assert not line.is_queued


@pytest.mark.parametrize(
    ("code", "says", "ends", "shown"),
    [
        ("31", "", 100, b"#5.3.0"),
        ("82", "Dno such list", 100, b"forward: fatal: no such list\n"),
        ("53", "", 111, b"#4.3.0"),
        ("82", "Znot today", 111, b"forward: fatal: not today\n"),
    ],
)
def test_the_queues_refusal_becomes_the_exit_code(
    line: Line, code: str, says: str, *, ends: int, shown: bytes
) -> None:
    line.environ |= {"QUEUE_EXIT": code, "QUEUE_SAYS": says}
    ended = line.on_file(["forward", "a@b"])
    assert ended.code == ends
    assert shown in ended.err


def test_an_address_that_is_too_long_ends_with_100(line: Line) -> None:
    ended = line.on_file(["forward", "a" * 1100 + "@b"])
    assert ended.code == 100
    assert b"#5.1.3" in ended.err


def test_no_address_is_wrong_usage(line: Line) -> None:
    ended = line.on_file(["forward"])
    assert ended.code == 100
    assert b"usage" in ended.err


def test_without_the_service_it_is_put_off(line: Line) -> None:
    line.unset("QMAILQUEUE")
    ended = line.on_file(["forward", "a@b"])
    assert ended.code == 111
