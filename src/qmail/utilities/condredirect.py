"""condredirect: send the message elsewhere if a program says so (spec/programs.md 6)."""

from __future__ import annotations

import os
from itertools import chain

from qmail.edge.machine.standard import say
from qmail.edge.tools.line_tool import (
    DONE,
    PERMANENT,
    STOP,
    TEMPORARY,
    message,
    queue_message,
    rewind,
    run_program,
    run_tool,
    variable,
)
from qmail.protocol.options import asks_for_help

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

NAME: Final = "condredirect"
USAGE: Final = "condredirect: usage: condredirect newaddress program [ arg ... ]"


def main(argv: Sequence[str]) -> int:
    """Redirect the message on descriptor 0, or let the next line of .qmail have it."""
    if len(argv) < 2 or asks_for_help(argv):
        say(USAGE)
        return PERMANENT
    return run_tool(NAME, lambda: redirect(argv[0], argv[1:]))


def redirect(address: str, program: Sequence[str]) -> int:
    """Ask the program, then queue the message for `address`. Returns the exit code."""
    sender, dtline = variable("SENDER"), variable("DTLINE")
    code = run_program(NAME, program)
    if code != 0:
        return TEMPORARY if code == TEMPORARY else DONE
    # The program has read what can be read only once: then there is nothing left to send.
    rewind(pipe_is_fine=False)
    queue_message(NAME, sender, (os.fsencode(address),), chain((dtline,), message()))
    return STOP
