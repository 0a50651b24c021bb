"""maildirsmtp, maildirqmtp: send a maildir to one host (spec/companion.md 3.2)."""

from __future__ import annotations

import _signal
import os
import sys

from qmail.edge.machine.standard import say
from qmail.edge.tools.line_tool import PERMANENT, ToolError, command, reason_of, run_tool
from qmail.protocol.options import asks_for_help

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    Form = tuple[str, str, tuple[str, ...]]

LIFETIME_S: Final = 1209600
"""Two weeks."""
FORMS: Final[dict[str, Form]] = {
    "maildirsmtp": ("25", "serialsmtp", ("dir", "prefix", "host", "helohost")),
    "maildirqmtp": ("209", "serialqmtp", ("dir", "prefix", "host")),
}
"""Port, client and arguments of each command."""


def main(argv: Sequence[str]) -> int:
    """Become maildirserial, with a client over tcpclient."""
    name = os.path.basename(sys.argv[0])
    if name not in FORMS:
        say(f"{name}: usage: call it by one of the names {', '.join(FORMS)}")
        return PERMANENT
    port, client, arguments = FORMS[name]
    if len(argv) != len(arguments) or asks_for_help(argv):
        say(f"{name}: usage: {name} {' '.join(arguments)}")
        return PERMANENT
    return run_tool(name, lambda: become((port, client), *argv))


def become(service: tuple[str, str], folder: str, prefix: str, host: str, *helohost: str) -> int:
    """Start maildirserial in our place. Raises: ToolError: a command is missing."""
    port, client = service
    serial = command("maildirserial")
    words = [serial, "-b", "-t", str(LIFETIME_S), "--", folder, prefix]
    words += [command("tcpclient"), "-RHl0", "--", host, port, command(client), prefix, *helohost]
    # Python ignores it, and the programs would inherit that.
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
    try:
        os.execv(serial, words)
    except OSError as trouble:
        raise ToolError(f"unable to run {serial}: {reason_of(trouble)}") from None
