"""preline: a program gets the message with the lines on top that a mailbox has there.

Source: spec/programs.md 6.
"""

from __future__ import annotations

from itertools import chain

from qmail.edge.tools.line_tool import (
    PERMANENT,
    command_line,
    feed_program,
    message,
    run_tool,
    variable,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

NAME: Final = "preline"
USAGE: Final = "preline: usage: preline [ -frdFRD ] program [ arg ... ]"
LINES: Final = {"f": "UFLINE", "r": "RPLINE", "d": "DTLINE"}
"""The letter that leaves a line out (the capital one takes it in again), and its variable."""


def main(argv: Sequence[str]) -> int:
    """Feed the lines and the message on descriptor 0 to the program; end as it does."""
    line = command_line(USAGE, argv, "frdFRD")
    if line is None:
        return PERMANENT
    options, program = line
    # Of a letter and its capital the later one counts.
    is_wanted = {letter.lower(): letter.isupper() for letter, _ in options}
    return run_tool(NAME, lambda: feed(program, is_wanted))


def feed(program: Sequence[str], is_wanted: Mapping[str, bool]) -> int:
    """Run the program on the longer message. Returns the exit code."""
    lines = {letter: variable(name) for letter, name in LINES.items()}
    kept = [line for letter, line in lines.items() if is_wanted.get(letter, True)]
    return feed_program(program, chain(kept, message()))
