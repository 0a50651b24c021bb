"""qsmhook (spec/programs.md 6)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.utilities.line_tools import MESSAGE, VARIABLES, Line

from qmail.utilities.qsmhook import filled, without_prefix

U, R, D = (VARIABLES[name].encode() for name in ("UFLINE", "RPLINE", "DTLINE"))
VALUES = {b"g": b"joe@far.ex", b"h": b"dh.ex", b"u": b"ann", b"%": b"%"}


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ([], U),
        (["-n"], b""),
        (["-l"], U + D),
        (["-P"], U + R),
        (["-nPl"], R + D),
        (["-DFMms", "-n", "-x", "y"], b""),
    ],
)
def test_the_options_say_which_lines_come_first(
    line: Line, options: list[str], lines: bytes
) -> None:
    ended = line.on_file(["qsmhook", *options, "cat"], offset=9)
    assert (ended.code, ended.out, ended.err) == (0, lines + MESSAGE, b"")


def test_arguments_name_sender_host_and_user(line: Line) -> None:
    ended = line.on_file(["qsmhook", "-xANN-", "echo", "%g to %u at %h", "100%%"])
    assert (ended.code, ended.out) == (0, b"joe@far.ex to list at dh.ex 100%\n")


@pytest.mark.parametrize(
    ("word", "done"),
    [
        (b"", b""),
        (b"a", b"a"),
        (b"%u%h", b"anndh.ex"),
        (b"%%u", b"%u"),
        (b"%%%u", b"%ann"),
        (b"%", b"%"),
        (b"50%", b"50%"),
        (b"%d", b"%d"),
    ],
)
def test_a_letter_without_a_value_stays(word: bytes, done: bytes) -> None:
    assert filled(word, VALUES) == done


@given(st.binary(max_size=30))
def test_a_doubled_percent_sign_is_always_one(word: bytes) -> None:
    assert filled(word.replace(b"%", b"%%"), VALUES) == word


@pytest.mark.parametrize(
    ("prefix", "user"),
    [(b"", b"Ann-list"), (b"aNN-", b"list"), (b"list", b"Ann-list"), (b"ann-list", b"")],
)
def test_a_prefix_is_taken_off_whatever_its_case(prefix: bytes, user: bytes) -> None:
    assert without_prefix(b"Ann-list", prefix) == user


@pytest.mark.parametrize("name", ["SENDER", "LOCAL", "HOST", "UFLINE", "RPLINE", "DTLINE"])
def test_a_variable_that_is_not_set_ends_with_100(line: Line, name: str) -> None:
    line.unset(name)
    ended = line.on_file(["qsmhook", "cat"])
    assert (ended.code, ended.err) == (100, f"qsmhook: fatal: {name} not set\n".encode())


@pytest.mark.parametrize(
    ("program", "code"),
    [(["sh", "-c", "exit 7"], 7), (["sh", "-c", "kill -9 $$"], 111), (["no-such-here"], 100)],
)
def test_it_ends_as_the_program_does(line: Line, program: list[str], code: int) -> None:
    assert line.on_file(["qsmhook", *program]).code == code


@pytest.mark.parametrize("argv", [[], ["-l"], ["-x"], ["-z", "cat"]])
def test_wrong_usage_ends_with_100(line: Line, argv: list[str]) -> None:
    ended = line.on_file(["qsmhook", *argv])
    assert ended.code == 100
    assert b"usage" in ended.err
