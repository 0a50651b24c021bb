"""mailsubj: send what is on standard input, with a subject (spec/inject.md 11)."""

from __future__ import annotations

import os
from itertools import chain

from qmail.edge.machine.standard import say
from qmail.edge.tools.line_tool import PERMANENT, command, feed_program, run_tool, standard_input
from qmail.protocol.options import asks_for_help

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

NAME: Final = "mailsubj"
USAGE: Final = "mailsubj: usage: mailsubj subject recipient ..."
INJECTOR: Final = "qmail-inject"


def main(argv: Sequence[str]) -> int:
    """Feed qmail-inject a header and standard input; end as it does."""
    if len(argv) < 2 or asks_for_help(argv):
        say(USAGE)
        return PERMANENT
    return run_tool(NAME, lambda: send(argv[0], argv[1:]))


def send(subject: str, recipients: Sequence[str]) -> int:
    """Inject the message. Returns the exit code."""
    head = b"Subject: %b\nTo: %b\n\n" % (one_line(subject), one_line(" ".join(recipients)))
    return feed_program([command(INJECTOR)], chain((head,), standard_input()))


def one_line(text: str) -> bytes:
    """Return an argument as the value of a field: a line break in it would begin another field."""
    return os.fsencode(text).replace(b"\r", b" ").replace(b"\n", b" ")
