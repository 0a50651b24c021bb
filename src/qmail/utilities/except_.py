"""except: turn a program's answer round (spec/programs.md 6)."""

from __future__ import annotations

from qmail.edge.machine.standard import say
from qmail.edge.tools.line_tool import DONE, PERMANENT, TEMPORARY, run_program, run_tool
from qmail.protocol.options import asks_for_help

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

NAME: Final = "except"
USAGE: Final = "except: usage: except program [ arg ... ]"
INVERTED: Final = {0: PERMANENT, TEMPORARY: TEMPORARY}
"""Exit code of the program, and ours; every other code becomes 0."""


def main(argv: Sequence[str]) -> int:
    """Run the program on the message: 0 where it fails, 100 where it does not."""
    if not argv or asks_for_help(argv):
        say(USAGE)
        return PERMANENT
    return run_tool(NAME, lambda: INVERTED.get(run_program(NAME, argv), DONE))
