"""except (spec/programs.md 6)."""

import pytest
from tests.utilities.line_tools import Line


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("exit 0", 100),
        ("exit 1", 0),
        ("exit 99", 0),
        ("exit 100", 0),
        ("exit 111", 111),
        ("kill -9 $$", 111),
    ],
)
def test_the_answer_is_turned_round(line: Line, program: str, code: int) -> None:
    assert line.on_file(["except", "sh", "-c", program]).code == code


def test_the_program_reads_the_message(line: Line) -> None:
    assert line.on_file(["except", "grep", "-q", "^Subject: lunch"], offset=9).code == 100
    assert line.on_file(["except", "grep", "-q", "^Subject: dinner"]).code == 0


def test_a_program_that_is_missing_fails_too(line: Line) -> None:
    ended = line.on_file(["except", "no-such-program-here"])
    assert ended.code == 0
    assert b"except: warning: unable to run no-such-program-here" in ended.err


def test_it_can_be_asked_by_another(line: Line) -> None:
    command = ["bouncesaying", "no lunch, no mail", "except", "grep", "-q", "lunch"]
    assert line.on_file(command).code == 0
    command[-1] = "dinner"
    assert line.on_file(command).code == 100


def test_no_program_is_wrong_usage(line: Line) -> None:
    ended = line.on_file(["except"])
    assert ended.code == 100
    assert b"usage" in ended.err
