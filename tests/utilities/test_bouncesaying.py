"""bouncesaying (spec/programs.md 6)."""

import pytest
from tests.utilities.line_tools import Line

AGREE = ["grep", "-q", "^Subject: lunch"]


@pytest.mark.parametrize("program", [[], AGREE])
def test_the_text_is_the_reason_of_the_bounce(line: Line, program: list[str]) -> None:
    ended = line.on_file(["bouncesaying", "No lunch today. (#5.7.1)", *program], offset=9)
    assert (ended.code, ended.out, ended.err) == (100, b"", b"No lunch today. (#5.7.1)\n")


@pytest.mark.parametrize(
    ("program", "code"),
    [("exit 1", 0), ("exit 99", 0), ("exit 100", 0), ("exit 111", 111), ("kill -9 $$", 111)],
)
def test_any_other_exit_bounces_nothing(line: Line, program: str, code: int) -> None:
    ended = line.on_file(["bouncesaying", "no", "sh", "-c", program])
    assert ended.code == code
    assert ended.err != b"no\n"


def test_a_program_that_is_missing_bounces_nothing(line: Line) -> None:
    ended = line.on_file(["bouncesaying", "no", "no-such-program-here"])
    assert ended.code == 0
    assert b"bouncesaying: warning: unable to run no-such-program-here" in ended.err


def test_no_text_is_wrong_usage(line: Line) -> None:
    ended = line.on_file(["bouncesaying"])
    assert ended.code == 100
    assert b"usage" in ended.err
