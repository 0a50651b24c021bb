"""qmail-popup: POP3 up to the login.

    qmail-popup HOSTNAME SUBPROGRAM [ARG ...]

holds one conversation on descriptors 0 and 1, as under tcpserver, and starts SUBPROGRAM to check
the password and to go on from there. Started by qmail-start it is resident, serves all clients of
the listening sockets named in QMAIL_LISTENERS, and has qmail-pspawn do the rest.
Source: spec/smtp.md E.1; spec/oddities.md 9.
"""

from __future__ import annotations

import os

from qmail.edge.machine.home import home_folder
from qmail.edge.machine.standard import say
from qmail.protocol.options import asks_for_help

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

LISTENERS = "QMAIL_LISTENERS"
WRONG_USAGE = 100
CONVERSATION_ENDED = 1


def main(argv: Sequence[str]) -> int:
    """Run the resident server, or one conversation: its exit code is 1, as the original's."""
    if asks_for_help(argv):
        say("qmail-popup: usage: qmail-popup HOSTNAME SUBPROGRAM [ARG ...]")
        return WRONG_USAGE
    # Each kind of server imports what the other does not need.
    if not argv and LISTENERS in os.environ:
        from qmail.programs.popup_resident import run  # noqa: PLC0415

        return run(home_folder(), os.environ.pop(LISTENERS))
    if len(argv) < 2:
        say("qmail-popup: fatal: usage: qmail-popup HOSTNAME SUBPROGRAM [ARG ...]")
        return CONVERSATION_ENDED
    from qmail.programs.popup_single import converse  # noqa: PLC0415

    converse(os.fsencode(argv[0]), argv[1:], os.environ)
    return CONVERSATION_ENDED
