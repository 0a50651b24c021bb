"""The tools that look at a header, as commands; tests/corpus compares what they print."""

from pathlib import Path

import pytest
from tests.programs.injection import Injection

from qmail.core.cdb import Cdb

MESSAGE = (
    b"From far Thu Jan  1 00:00:00 1970\nReceived: by b; 2 Jan 2024 00:00:00 GMT\n"
    b"Received: from a\n by b; 1 Jan 2024 00:00:00 +0100\nSubject: one\n two\nTo: Joe@H.ex\n"
    b"Date: junk\nDate: 1 Jan 2024 01:00:00 +0100\n\nSubject: body\n"
)
RECEIVED = (
    b"Sun Dec 31 23:00:00 2023 from a \n\t\t\t by b\n\t\t\t ; 1 Jan 2024 00:00:00 +0100\n"
    b"Tue Jan  2 00:00:00 2024 by b\n\t\t\t ; 2 Jan 2024 00:00:00 GMT\n"
)


@pytest.fixture
def world(tmp_path: Path) -> Injection:
    found = Injection(tmp_path)
    found.environ["TZ"] = "UTC"
    return found


@pytest.mark.parametrize(
    ("words", "out"),
    [
        (["822field"], b" one two\n"),
        (["822field", "TO"], b" Joe@H.ex\n"),
        (
            ["822date"],
            b"2024-01-01 01:00:00 +0100\n2024-01-01 00:00:00 +0000\nMon Jan  1 00:00:00 2024\n",
        ),
        (
            ["822received"],
            RECEIVED,
        ),
        (["822header"], MESSAGE.partition(b"\n")[2].partition(b"\n\n")[0] + b"\n"),
    ],
)
def test_what_is_asked_for_is_printed(world: Injection, words: list[str], out: bytes) -> None:
    assert world.run(words, MESSAGE) == (0, out, b"")


def test_822print_shows_all_of_a_message_and_no_control_bytes(world: Injection) -> None:
    body = b"\x1b[2J" * 50_000
    ended = world.run(["822print"], b"From: J\x1b <a@b>\nX: \x1b[2J\n\n" + body)
    header, _, rest = ended.out.partition(b"\n\n")
    assert (ended.code, rest) == (0, body)
    assert b"\x1b" not in header
    assert b"\\033[2J" in header.replace(b"_\b", b"")


@pytest.mark.parametrize("words", [["822field", "x"], ["822date", "x"], ["822date"]])
def test_nothing_there_ends_with_100(world: Injection, words: list[str]) -> None:
    assert world.run(words, b"Date: junk\n\nx: y\n") == (100, b"", b"")


@pytest.mark.parametrize("name", ["822header", "822field", "822date", "822received", "822print"])
def test_wrong_usage_and_endless_headers_are_told(world: Injection, name: str) -> None:
    assert world.run([name, "a", "b"]).code == 100
    ended = world.run([name], b"X: " + b"x" * 17_000_000)
    assert (ended.code, ended.out) == (111, b"")
    assert ended.err.startswith(f"{name}: fatal: the header is longer than ".encode())


# --- iftocc -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "recipient", "code"),
    [
        (["joe@h.EX"], "x", 0),
        (["x", "ann@c"], "joe@h.ex", 0),
        ([], "JOE@h.ex", 0),
        (["x"], "joe@h.ex", 100),
        ([], "bcc@h.ex", 100),
        (["loc@"], "x", 0),
    ],
)
def test_iftocc_looks_at_to_and_cc(
    world: Injection, words: list[str], recipient: str, code: int
) -> None:
    message = b"To: Joe <joe@h.ex>, loc\nbcc: bcc@h.ex\nCC: ann@c\n\nTo: x\n"
    assert world.run(["iftocc", *words], message, RECIPIENT=recipient).code == code


def test_iftocc_without_anything_to_look_for(world: Injection) -> None:
    ended = world.run(["iftocc"], b"To: x\n")
    assert (ended.code, b"RECIPIENT not set" in ended.err) == (100, True)


def test_iftocc_starts_at_the_beginning_of_a_file(world: Injection, tmp_path: Path) -> None:
    path = tmp_path / "message"
    path.write_bytes(b"To: joe@h.ex\n\n")
    script = f"exec <{path}; cat >/dev/null; exec {world.home}/bin/iftocc joe@h.ex"
    world.add("late", f"#!/bin/sh\n{script}\n")
    assert world.run(["late"]).code == 0


# --- ofmipname ----------------------------------------------------------------------------------


def test_ofmipname_makes_a_table_or_leaves_the_old_one(world: Injection, tmp_path: Path) -> None:
    words = ["ofmipname", str(tmp_path / "n.cdb"), str(tmp_path / "n.tmp")]
    assert world.run(words, b"joe@h.ex:Joe:j@c.ex:\n") == (0, b"", b"")
    ended = world.run(words, b"#\njoe@h.ex:Joe\n")
    assert (ended.code, b"input:2: not a line" in ended.err) == (100, True)
    with Cdb(words[1]) as table:
        assert list(table.items()) == [(b"joe@h.ex", b"Joe\0j@c.ex")]
    assert world.run(["ofmipname", "/nonexistent/a", "/nonexistent/b"]).code == 111
    assert world.run(["ofmipname", "a"]).code == 100
