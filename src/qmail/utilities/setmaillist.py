"""setmaillist: store a list of plain addresses for fastforward (spec/companion.md 2.4)."""

from __future__ import annotations

from qmail.core.aliases.forward_table import LIST_BYTES_MAX
from qmail.core.aliases.list_files import read_plain, write_list
from qmail.core.whole_files import read_descriptor, replace_file
from qmail.edge.machine.standard import say
from qmail.edge.tools.line_tool import DONE, PERMANENT, TEMPORARY, run_tool
from qmail.protocol.options import asks_for_help

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

NAME: Final = "setmaillist"
USAGE: Final = "setmaillist: usage: setmaillist list.bin list.tmp"


def main(argv: Sequence[str]) -> int:
    """Write the list on descriptor 0 to the first file, by way of the second."""
    if len(argv) != 2 or asks_for_help(argv):
        say(USAGE)
        return PERMANENT
    return run_tool(NAME, lambda: set_list(argv[0], argv[1]))


def set_list(stored: str, temporary: str) -> int:
    """Store the list, unless a line is bad. Returns the exit code."""
    made = read_plain(read_descriptor(0, LIST_BYTES_MAX, "input"))
    for problem in made.problems:
        say(f"{NAME}: fatal: line {problem.line}: {problem.text}")
    if made.problems:
        return TEMPORARY
    replace_file(stored, temporary, lambda out: write_list(out, made))
    return DONE
