"""qmail-popup: POP3 up to the login.

    qmail-popup HOSTNAME SUBPROGRAM [ARG ...]

holds one conversation on descriptors 0 and 1, as under tcpserver, and starts SUBPROGRAM to check
the password and to go on from there. Source: spec/smtp.md E.1; spec/oddities.md 9.
"""

from __future__ import annotations

import os

from qmail.edge.standard import say
from qmail.protocol.options import asks_for_help

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

WRONG_USAGE = 100
CONVERSATION_ENDED = 1


def main(argv: Sequence[str]) -> int:
    """Run one conversation. Its exit code is always 1, as the original's."""
    if asks_for_help(argv):
        say("qmail-popup: usage: qmail-popup HOSTNAME SUBPROGRAM [ARG ...]")
        return WRONG_USAGE
    if len(argv) < 2:
        say("qmail-popup: fatal: usage: qmail-popup HOSTNAME SUBPROGRAM [ARG ...]")
        return CONVERSATION_ENDED
    # The resident server has no use for it.
    from qmail.programs.popup_single import converse  # noqa: PLC0415

    converse(os.fsencode(argv[0]), argv[1:], os.environ)
    return CONVERSATION_ENDED
