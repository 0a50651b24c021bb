"""setforward: make a forwarding table from its written form (spec/companion.md 2.2)."""

from __future__ import annotations

from qmail.core.aliases.forward_source import SOURCE_BYTES_MAX, SourceError, read_source
from qmail.core.cdb import CdbError, write_masked_cdb
from qmail.core.whole_files import read_descriptor
from qmail.edge.machine.standard import say
from qmail.edge.tools.line_tool import DONE, PERMANENT, ToolError, run_tool
from qmail.protocol.options import asks_for_help

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

NAME: Final = "setforward"
USAGE: Final = "setforward: usage: setforward data.cdb data.tmp"


def main(argv: Sequence[str]) -> int:
    """Write the table on descriptor 0 to the first file, by way of the second."""
    if len(argv) != 2 or asks_for_help(argv):
        say(USAGE)
        return PERMANENT
    return run_tool(NAME, lambda: set_forward(argv[0], argv[1]))


def set_forward(table: str, temporary: str) -> int:
    """Make the table. Returns the exit code."""
    try:
        records = read_source(read_descriptor(0, SOURCE_BYTES_MAX, "input"))
    except SourceError as wrong:
        raise ToolError(str(wrong), PERMANENT) from None
    try:
        write_masked_cdb(table, temporary, records)
    except CdbError as wrong:
        raise ToolError(str(wrong)) from None
    return DONE
