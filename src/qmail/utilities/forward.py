"""forward: send the message on, from the sender that lists forward as (spec/programs.md 6)."""

from __future__ import annotations

import os
from itertools import chain

from qmail.edge.machine.standard import say
from qmail.edge.tools.line_tool import DONE, PERMANENT, message, queue_message, run_tool, variable
from qmail.protocol.options import asks_for_help

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

NAME: Final = "forward"
USAGE: Final = "forward: usage: forward address ..."


def main(argv: Sequence[str]) -> int:
    """Forward the message on descriptor 0 to the addresses, which are taken as they stand."""
    if not argv or asks_for_help(argv):
        say(USAGE)
        return PERMANENT
    return run_tool(NAME, lambda: forward(argv))


def forward(addresses: Sequence[str]) -> int:
    """Queue the message again. Returns the exit code."""
    sender, dtline = variable("NEWSENDER"), variable("DTLINE")
    queue_message(NAME, sender, map(os.fsencode, addresses), chain((dtline,), message()))
    return DONE
