"""qmail-pop3d MAILDIR: the POP3 session of somebody who has logged in, on descriptors 0 and 1.

A login program starts it as the mailbox's owner, in the home. The session process of qmail-pspawn
runs the same session without this command. Source: spec/smtp.md E.3.
"""

from __future__ import annotations

import os

from qmail.core.pop3.maildrop import open_maildrop
from qmail.edge.machine.standard import say, write_output
from qmail.edge.pop3.service import serve
from qmail.protocol.options import asks_for_help
from qmail.protocol.pop3_replies import NO_MAILDIR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

WRONG_USAGE = 100
AS_ROOT = 1


def main(argv: Sequence[str]) -> int:
    """Run the session. Whatever happens in it, the exit code is 0: the client has been told."""
    if asks_for_help(argv):
        say("qmail-pop3d: usage: qmail-pop3d MAILDIR")
        return WRONG_USAGE
    if os.getuid() == 0 or os.geteuid() == 0:
        say("qmail-pop3d: fatal: this runs as the owner of a mailbox, never as root")
        return AS_ROOT
    if not argv:
        say("qmail-pop3d: fatal: no maildir named")
        _tell(NO_MAILDIR.wire)
        return 0
    serve(0, 1, lambda: open_maildrop(argv[0]))
    return 0


def _tell(reply: bytes) -> None:
    try:
        write_output(reply)
    except OSError:
        # The client is gone already.
        return
