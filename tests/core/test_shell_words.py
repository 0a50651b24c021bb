"""Commands that the shell would only split and fill in."""

import subprocess
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.core.shell_words import simple_words

VARIABLES: Final = {b"EXT": b"list", b"SENDER": b'o\'b "x" $y `z`@far.example', b"EMPTY": b""}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (b"forward a@x.example b", [b"forward", b"a@x.example", b"b"]),
        (b"  forward\ta ", [b"forward", b"a"]),
        (b"forward 'a b' \"c d\" e\\ f", [b"forward", b"a b", b"c d", b"e f"]),
        (b'forward "$EXT@x" ${EXT}-2 $EXT', [b"forward", b"list@x", b"list-2", b"list"]),
        (b'forward "$SENDER"', [b"forward", VARIABLES[b"SENDER"]]),
        (b"forward '' \"$EMPTY\"", [b"forward", b"", b""]),
        (b"say '$EXT' \"\\$EXT \\x\"", [b"say", b"$EXT", b"$EXT \\x"]),
    ],
)
def test_words_are_split_and_filled_in(command: bytes, words: list[bytes]) -> None:
    assert simple_words(command, VARIABLES) == tuple(words)


@pytest.mark.parametrize(
    "command",
    [
        b"",
        b"  ",
        b"a; b",
        b"a | b",
        b"a && b",
        b"a > f",
        b"a `b`",
        b"a $(b)",
        b'a "$(b)"',
        b'a "`b`"',
        b"a *.txt",
        b"a [b]",
        b"~/bin/a",
        b"X=1 a",
        b"a # b",
        b"a $SENDER",
        b"a $EMPTY",
        b"a $PATH",
        b'a "$PATH"',
        b"a ${EXT:-x}",
        b'a "${EXT%t}"',
        b'a "$1"',
        b"a $1",
        b"a 'b",
        b'a "b',
        b"a \\",
        b"a\nb",
        b"( a )",
        b"{ a; }",
        b"! a",
    ],
)
def test_what_only_the_shell_can_read_is_left_to_it(command: bytes) -> None:
    assert simple_words(command, VARIABLES) is None


PIECES = st.sampled_from(
    [b" ", b"a", b"@x.y", b"'", b'"', b"\\", b"$EXT", b"${EXT}", b"$SENDER", b"$", b"=", b"/", b"-"]
)


@settings(max_examples=150, deadline=None)
@given(pieces=st.lists(PIECES, max_size=8))
def test_the_shell_splits_it_into_the_same_words(pieces: list[bytes]) -> None:
    rest = b"".join(pieces)
    words = simple_words(b"x " + rest, VARIABLES)
    if words is not None:
        script = b"set -- x " + rest + b'\nprintf "%s\\0" "$@"'
        done = subprocess.run(
            [b"/bin/sh", b"-c", script], env=VARIABLES, capture_output=True, check=True, timeout=20
        )
        assert done.stdout.split(b"\0")[:-1] == list(words)
