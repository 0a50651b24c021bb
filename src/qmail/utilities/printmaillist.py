"""printmaillist: print a stored list so that setmaillist makes the same (companion.md 2.4)."""

from __future__ import annotations

from qmail.core.aliases.entries import EntryError
from qmail.core.aliases.forward_table import LIST_BYTES_MAX
from qmail.core.aliases.list_files import print_list
from qmail.core.whole_files import read_descriptor
from qmail.edge.machine.standard import say, write_output
from qmail.edge.tools.line_tool import DONE, PERMANENT, ToolError, run_tool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

NAME: Final = "printmaillist"
USAGE: Final = "printmaillist: usage: printmaillist < list.bin"


def main(argv: Sequence[str]) -> int:
    """Print the list on descriptor 0."""
    if argv:
        say(USAGE)
        return PERMANENT
    return run_tool(NAME, print_mail_list)


def print_mail_list() -> int:
    """Print it. Returns the exit code."""
    try:
        text = print_list(read_descriptor(0, LIST_BYTES_MAX, "input"))
    except EntryError as wrong:
        raise ToolError(f"bad format: {wrong}", PERMANENT) from None
    write_output(text)
    return DONE
