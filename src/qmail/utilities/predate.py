"""predate: a program gets standard input with a Date on top (spec/inject.md 11)."""

from __future__ import annotations

import time
from itertools import chain

from qmail.core.dates import local_date
from qmail.edge.machine.standard import say
from qmail.edge.tools.line_tool import PERMANENT, feed_program, run_tool, standard_input
from qmail.protocol.options import asks_for_help

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

NAME: Final = "predate"
USAGE: Final = "predate: usage: predate program [ arg ... ]"


def main(argv: Sequence[str]) -> int:
    """Feed the program the date of now, in local time, and standard input; end as it does."""
    if not argv or asks_for_help(argv):
        say(USAGE)
        return PERMANENT
    date = b"Date: " + local_date(int(time.time())) + b"\n"
    return run_tool(NAME, lambda: feed_program(argv, chain((date,), standard_input())))
