"""new-inject: cleans a message from standard input by rules and puts it into the queue.

Source: spec/inject.md 9.
"""

from __future__ import annotations

import os

from qmail.core.inject.message import Request
from qmail.core.inject.new_inject import prepare
from qmail.core.inject.run import PERMANENT, inject
from qmail.core.inject.world import Edge, make_world
from qmail.edge.machine.home import home_folder
from qmail.edge.machine.standard import read_input, say, write_output
from qmail.edge.submit.queue import submit
from qmail.protocol.options import OptionError, asks_for_help, split_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

NAME: Final = "new-inject"
USAGE: Final = "usage: new-inject [ -nNaAhHFIMRS ] [ -f sender ] [ recip ... ]"


def main(argv: Sequence[str]) -> int:
    """Inject one message."""
    if asks_for_help(argv, ("--help",)):
        say(USAGE)
        return PERMANENT
    try:
        request, letters = read_request(argv)
    except OptionError as wrong:
        say(f"{NAME}: {wrong}\n{USAGE}")
        return PERMANENT
    edge = Edge(read_input, write_output, say, submit)
    world = make_world(NAME, home_folder(), os.environb, edge)
    return inject(request, world, lambda asked, outside: prepare(asked, outside, letters))


def read_request(argv: Sequence[str]) -> tuple[Request, bytes]:
    """Read the command line, later letters win; return also the letters of QMAILINJECT in it.

    Raises: OptionError: an unknown option.
    """
    options, arguments = split_options(argv, "nNaAhHFIMRSf:")
    mode, sender, is_shown, letters = "A", None, False, ""
    for letter, value in options:
        if letter == "f":
            sender = os.fsencode(value)
        elif letter in "nN":
            is_shown = letter == "n"
        elif letter in "aAhH":
            mode = letter
        else:
            letters += letter
    return Request(mode, sender, is_shown, tuple(map(os.fsencode, arguments))), letters.encode()
