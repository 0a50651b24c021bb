"""preline (spec/programs.md 6)."""

import pytest
from tests.utilities.line_tools import MESSAGE, VARIABLES, Line

U, R, D = (VARIABLES[name].encode() for name in ("UFLINE", "RPLINE", "DTLINE"))


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ([], U + R + D),
        (["-f"], R + D),
        (["-r"], U + D),
        (["-d"], U + R),
        (["-frd"], b""),
        (["-f", "-F"], U + R + D),
        (["-frdD"], D),
        (["-FRD"], U + R + D),
        (["-Rr", "--"], U + D),
    ],
)
def test_the_options_say_which_lines_come_first(
    line: Line, options: list[str], lines: bytes
) -> None:
    ended = line.on_file(["preline", *options, "cat"], offset=9)
    assert (ended.code, ended.out, ended.err) == (0, lines + MESSAGE, b"")


def test_a_long_message_passes_whole(line: Line) -> None:
    message = MESSAGE + b"x" * 1_000_000
    assert line.on_file(["preline", "-fr", "cat"], message).out == D + message


@pytest.mark.parametrize(
    ("program", "code"), [("exit 0", 0), ("exit 99", 99), ("exit 42", 42), ("kill -9 $$", 111)]
)
def test_it_ends_as_the_program_does(line: Line, program: str, code: int) -> None:
    assert line.on_file(["preline", "sh", "-c", program], MESSAGE * 10_000).code == code


def test_a_program_that_is_missing_ends_with_100(line: Line) -> None:
    ended = line.on_file(["preline", "no-such-program-here"])
    assert ended.code == 100
    assert b"preline: fatal: unable to run no-such-program-here: no such file" in ended.err


@pytest.mark.parametrize("name", ["UFLINE", "RPLINE", "DTLINE"])
def test_all_three_variables_are_needed_even_for_lines_left_out(line: Line, name: str) -> None:
    line.unset(name)
    ended = line.on_file(["preline", "-frd", "cat"])
    assert (ended.code, ended.out) == (100, b"")
    assert ended.err == f"preline: fatal: {name} not set\n".encode()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], b"usage: preline"),
        (["-f"], b"usage: preline"),
        (["-z", "cat"], b"preline: illegal option -- z\n"),
    ],
)
def test_wrong_usage_ends_with_100(line: Line, argv: list[str], said: bytes) -> None:
    ended = line.on_file(["preline", *argv])
    assert ended.code == 100
    assert said in ended.err
