"""ofmipname: make the table of names for ofmipd (spec/companion.md 7)."""

from __future__ import annotations

from qmail.core.cdb import CdbError, write_masked_cdb
from qmail.core.inject.ofmip_names import BadNameError, read_names
from qmail.core.whole_files import read_descriptor
from qmail.edge.machine.standard import say
from qmail.edge.tools.line_tool import DONE, PERMANENT, ToolError, run_tool
from qmail.protocol.options import asks_for_help

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

NAME: Final = "ofmipname"
USAGE: Final = "ofmipname: usage: ofmipname name.cdb name.tmp"
INPUT_BYTES_MAX: Final = 64 * 1024 * 1024


def main(argv: Sequence[str]) -> int:
    """Write the table on descriptor 0 to the first file, by way of the second."""
    if len(argv) != 2 or asks_for_help(argv):
        say(USAGE)
        return PERMANENT
    return run_tool(NAME, lambda: make(argv[0], argv[1]))


def make(table: str, temporary: str) -> int:
    """Make the table. Returns the exit code."""
    try:
        records = read_names(read_descriptor(0, INPUT_BYTES_MAX, "input"))
    except BadNameError as wrong:
        raise ToolError(str(wrong), PERMANENT) from None
    try:
        write_masked_cdb(table, temporary, records)
    except CdbError as wrong:
        raise ToolError(str(wrong)) from None
    return DONE
