"""mailsubj, predate, datemail (spec/inject.md 11)."""

import re

import pytest
from tests.utilities.line_tools import Line

DATE = rb"Date: \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d ([+-]\d{4})\n"


def test_mailsubj_sends_standard_input_with_a_subject(line: Line) -> None:
    ended = line.run(["mailsubj", "the log", "ann@b.ex", "bob"], b"all fine\n")
    assert (ended.code, ended.out, ended.err) == (0, b"", b"")
    assert b"\nSubject: the log\nTo: ann@b.ex, bob@dh.ex\n\nall fine\n" in line.message
    assert set(line.envelope.recipients) == {b"ann@b.ex", b"bob@dh.ex"}


def test_mailsubj_reads_a_file_from_where_it_is(line: Line) -> None:
    assert line.on_file(["mailsubj", "x", "a@b"], b"read before\nrest\n", offset=12).code == 0
    assert line.message.endswith(b"\n\nrest\n")


def test_no_argument_of_mailsubj_begins_another_field(line: Line) -> None:
    assert line.run(["mailsubj", "a\nBcc: eve@b\r\n\r\nx", "a@b,\nc@d"]).code == 0
    assert b"\nSubject: a Bcc: eve@b    x\nTo: a@b.dh.ex, c@d.dh.ex\n\n" in line.message
    assert set(line.envelope.recipients) == {b"a@b.dh.ex", b"c@d.dh.ex"}


def test_mailsubj_ends_as_qmail_inject_does(line: Line) -> None:
    ended = line.run(["mailsubj", "x", "a@b"], QUEUE_EXIT="31")
    assert ended.code == 100
    assert line.run(["mailsubj", "x", "a@b"], QUEUE_EXIT="53").code == 111


def test_predate_adds_the_date_and_the_program_reads_the_rest(line: Line) -> None:
    ended = line.run(["predate", "sh", "-c", "cat; exit 7"], b"Subject: x\n\nbody\n")
    assert ended.code == 7
    assert re.fullmatch(DATE + rb"Subject: x\n\nbody\n", ended.out)


@pytest.mark.parametrize(
    ("zone", "offset"),
    [("UTC", b"+0000"), ("XXT-5:30", b"+0530"), ("XXT+3:30", b"-0330"), ("XXT+11", b"-1100")],
)
def test_predate_writes_the_time_zone_as_an_offset(line: Line, zone: str, offset: bytes) -> None:
    found = re.fullmatch(DATE, line.run(["predate", "cat"], TZ=zone).out)
    assert found
    assert found[1] == offset


def test_predate_tells_a_missing_program_and_a_crash(line: Line) -> None:
    ended = line.run(["predate", "no-such-program-here"])
    assert ended.code == 100
    assert b"predate: fatal: unable to run no-such-program-here: no such file" in ended.err
    assert line.run(["predate", "sh", "-c", "kill -9 $$"]).code == 111


def test_datemail_is_predate_with_sendmail(line: Line) -> None:
    ended = line.run(["datemail", "-t", "-f", "joe@dh.ex"], b"To: a@b.ex\n\nbody\n", TZ="XXT-5:30")
    assert (ended.code, ended.out, ended.err) == (0, b"", b"")
    dates = re.findall(b"(?m)^" + DATE, line.message)
    assert dates == [b"+0530"]
    assert line.message.endswith(b"\nTo: a@b.ex\n\nbody\n")
    assert line.envelope.sender == b"joe@dh.ex"
    assert line.envelope.recipients == (b"a@b.ex",)


@pytest.mark.parametrize("name", ["mailsubj", "datemail"])
def test_without_the_program_behind_it_nothing_is_sent(line: Line, name: str) -> None:
    behind = {"mailsubj": "qmail-inject", "datemail": "sendmail"}[name]
    (line.home / "bin" / behind).unlink()
    ended = line.run([name, "x", "a@b"], PATH=f"{line.home}/bin")
    assert ended.code == 111
    assert ended.err == f"{name}: fatal: unable to find {behind}\n".encode()


@pytest.mark.parametrize("argv", [["mailsubj"], ["mailsubj", "x"], ["predate"]])
def test_wrong_usage_ends_with_100(line: Line, argv: list[str]) -> None:
    ended = line.run(argv)
    assert ended.code == 100
    assert b"usage" in ended.err
