"""datemail: sendmail, and a Date of local time on top of the message (spec/inject.md 11)."""

from __future__ import annotations

import time
from itertools import chain

from qmail.core.dates import local_date
from qmail.edge.machine.standard import say
from qmail.edge.tools.line_tool import PERMANENT, command, feed_program, run_tool, standard_input
from qmail.protocol.options import asks_for_help

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

NAME: Final = "datemail"
USAGE: Final = "datemail: usage: datemail [ argument of sendmail ... ]"
SENDER: Final = "sendmail"


def main(argv: Sequence[str]) -> int:
    """Feed sendmail the date of now and standard input; end as it does."""
    if asks_for_help(argv, ("--help",)):
        say(USAGE)
        return PERMANENT
    return run_tool(NAME, lambda: send(argv))


def send(arguments: Sequence[str]) -> int:
    """Do what `predate sendmail` does, with one start of an interpreter less."""
    date = b"Date: " + local_date(int(time.time())) + b"\n"
    return feed_program([command(SENDER), *arguments], chain((date,), standard_input()))
