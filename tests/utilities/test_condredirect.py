"""condredirect (spec/programs.md 6)."""

import pytest
from tests.utilities.line_tools import MESSAGE, VARIABLES, Line

from qmail.mail import Envelope


def test_an_agreeing_program_sends_the_whole_message_elsewhere(line: Line) -> None:
    ended = line.on_file(["condredirect", "a@b", "grep", "-q", "^Subject: lunch"], offset=9)
    assert (ended.code, ended.out) == (99, b"")
    assert ended.err.startswith(b"condredirect: qp ")
    assert line.message == VARIABLES["DTLINE"].encode() + MESSAGE
    assert line.envelope == Envelope(b"joe@far.ex", (b"a@b",))


@pytest.mark.parametrize(
    ("program", "code"),
    [("exit 1", 0), ("exit 99", 0), ("exit 100", 0), ("exit 111", 111), ("kill -9 $$", 111)],
)
def test_any_other_exit_leaves_the_message_to_the_next_line(
    line: Line, program: str, code: int
) -> None:
    assert line.on_file(["condredirect", "a@b", "sh", "-c", program]).code == code
    assert not line.is_queued


def test_a_program_that_is_missing_is_a_condition_that_is_false(line: Line) -> None:
    ended = line.on_file(["condredirect", "a@b", "no-such-program-here"])
    assert (ended.code, line.is_queued) == (0, False)
    assert b"unable to run no-such-program-here: no such file" in ended.err


@pytest.mark.parametrize("name", ["SENDER", "DTLINE"])
def test_without_its_variables_it_asks_nobody(line: Line, name: str) -> None:
    line.unset(name)
    ended = line.on_file(["condredirect", "a@b", "sh", "-c", "echo asked"])
    assert (ended.code, ended.out) == (100, b"")
    assert ended.err == f"condredirect: fatal: {name} not set\n".encode()


@pytest.mark.parametrize("argv", [[], ["a@b"]])
def test_wrong_usage_ends_with_100(line: Line, argv: list[str]) -> None:
    ended = line.on_file(["condredirect", *argv])
    assert ended.code == 100
    assert b"usage" in ended.err


@pytest.mark.parametrize(("code", "ends"), [("31", 100), ("53", 111)])
def test_the_queues_refusal_becomes_the_exit_code(line: Line, code: str, ends: int) -> None:
    line.environ["QUEUE_EXIT"] = code
    assert line.on_file(["condredirect", "a@b", "true"]).code == ends


def test_a_pipe_that_the_program_has_read_can_not_be_sent(line: Line) -> None:
    ended = line.run(["condredirect", "a@b", "true"], MESSAGE)
    assert ended.code == 111
    assert b"unable to rewind" in ended.err
    assert line.run(["condredirect", "a@b", "false"], MESSAGE).code == 0
    assert not line.is_queued
