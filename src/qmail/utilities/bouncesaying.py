"""bouncesaying: bounce the message, if a program says so (spec/programs.md 6)."""

from __future__ import annotations

from qmail.edge.machine.standard import say
from qmail.edge.tools.line_tool import DONE, PERMANENT, TEMPORARY, run_program, run_tool
from qmail.protocol.options import asks_for_help

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

NAME: Final = "bouncesaying"
USAGE: Final = "bouncesaying: usage: bouncesaying error [ program [ arg ... ] ]"


def main(argv: Sequence[str]) -> int:
    """Say why and end with 100, or with 0 where the program on the message does not agree."""
    if not argv or asks_for_help(argv):
        say(USAGE)
        return PERMANENT
    return run_tool(NAME, lambda: bounce(argv[0], argv[1:]))


def bounce(text: str, program: Sequence[str]) -> int:
    """Ask the program, if there is one, then bounce. Returns the exit code."""
    code = run_program(NAME, program) if program else 0
    if code != 0:
        return TEMPORARY if code == TEMPORARY else DONE
    say(text)
    return PERMANENT
