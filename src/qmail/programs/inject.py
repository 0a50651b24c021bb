"""qmail-inject: completes a message from standard input and puts it into the queue.

Source: spec/inject.md 1.
"""

from __future__ import annotations

import os

from qmail.core.inject.message import Request
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

NAME: Final = "qmail-inject"
USAGE: Final = "usage: qmail-inject [-aAhHnN] [-f sender] [recipient ...]"


def main(argv: Sequence[str]) -> int:
    """Inject one message."""
    if asks_for_help(argv, ("--help",)):
        say(USAGE)
        return PERMANENT
    try:
        request = read_request(argv)
    except OptionError as wrong:
        say(f"{NAME}: {wrong}\n{USAGE}")
        return PERMANENT
    edge = Edge(read_input, write_output, say, submit)
    return inject(request, make_world(NAME, home_folder(), os.environb, edge))


def read_request(argv: Sequence[str]) -> Request:
    """Read the command line; later letters win.

    Raises: OptionError: an unknown option.
    """
    options, arguments = split_options(argv, "aAhHnNf:")
    mode, sender, is_shown = "A", None, False
    for letter, value in options:
        if letter == "f":
            sender = os.fsencode(value)
        elif letter in "nN":
            is_shown = letter == "n"
        else:
            mode = letter
    return Request(mode, sender, is_shown, tuple(map(os.fsencode, arguments)))
