"""printforward: print a forwarding table so that setforward makes the same (companion.md 2.2)."""

from __future__ import annotations

import os

from qmail.core.aliases.forward_source import TableError, write_source
from qmail.core.cdb import Cdb, CdbError
from qmail.core.whole_files import PART_BYTES
from qmail.edge.machine.standard import say, write_output
from qmail.edge.tools.line_tool import DONE, PERMANENT, ToolError, run_tool, standard_input

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

NAME: Final = "printforward"
USAGE: Final = "printforward: usage: printforward < data.cdb"
TABLE_BYTES_MAX: Final = 0xFFFFFFFF


def main(argv: Sequence[str]) -> int:
    """Print the table on descriptor 0."""
    if argv:
        say(USAGE)
        return PERMANENT
    return run_tool(NAME, print_forward)


def print_forward() -> int:
    """Print it. Returns the exit code."""
    try:
        with Cdb(f"/proc/self/fd/{kept_input()}") as table:
            waiting = bytearray()
            for text in write_source(table.items()):
                waiting += text
                if len(waiting) > PART_BYTES:
                    write_output(bytes(waiting))
                    waiting.clear()
            write_output(bytes(waiting))
    except TableError as wrong:
        raise ToolError(f"bad format: {wrong}", PERMANENT) from None
    except CdbError as wrong:
        raise ToolError(f"bad format: input{str(wrong).partition(':')[2]}", PERMANENT) from None
    return DONE


def kept_input() -> int:
    """Return a file with what is on descriptor 0, which may be a pipe.

    Raises: ToolError, OSError: it can't be read, or there is no memory for it.
    """
    kept = os.memfd_create("table", os.MFD_CLOEXEC)
    size = 0
    for part in standard_input():
        size += len(part)
        if size > TABLE_BYTES_MAX:
            raise ToolError("the table is longer than 4 GiB", PERMANENT)
        rest = memoryview(part)
        while rest:
            rest = rest[os.write(kept, rest) :]
    return kept
