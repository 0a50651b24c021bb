"""sendmail: the command that other programs expect, in front of the rules of qmail-inject.

Called as mailq it shows the queue, as newaliases it makes the alias table.
Source: spec/inject.md 10, spec/oddities.md 8.
"""

from __future__ import annotations

import os
import sys

from qmail.core.inject.run import Codes, inject
from qmail.core.inject.sendmail_order import BadArgumentError, author, make_request
from qmail.core.inject.world import Edge, make_world
from qmail.edge.machine.home import home_folder
from qmail.edge.machine.standard import read_input, say, write_output
from qmail.edge.submit.queue import submit
from qmail.protocol import sysexits
from qmail.protocol.options import OptionError, asks_for_help
from qmail.protocol.sendmail_options import read_command
from qmail.protocol.unix_lines import UnixLines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    from qmail.protocol.sendmail_options import Command

NAME: Final = "sendmail"
USAGE: Final = "usage: sendmail [-t] [-f sender] [-F name] [-b mode] [-q] [recipient ...]"
USAGES: Final[Mapping[str, str]] = {
    "mailq": "usage: mailq",
    "newaliases": "usage: newaliases [-oAfile]",
}
MODES: Final[Mapping[str, str]] = {"mailq": "p", "newaliases": "i"}
"""What is done under another name than ours, unless -b says otherwise."""
CODES: Final = Codes(
    usage=sysexits.USAGE,
    data=sysexits.DATA,
    refused=sysexits.NOT_ALLOWED,
    setup=sysexits.SYSTEM_FILE,
    reading=sysexits.READING,
    later=sysexits.SYSTEM,
)


def main(argv: Sequence[str]) -> int:
    """Do what the options, or the name we were called by, ask for."""
    called = os.path.basename(sys.argv[0])
    usage = USAGES.get(called, USAGE)
    if asks_for_help(argv, ("--help", "-h") if called in MODES else ("--help",)):
        say(usage)
        return sysexits.USAGE
    try:
        command = read_command(argv, MODES.get(called, "m"))
        if command.mode == "m" and (
            command.queue is None or command.takes_header or command.arguments
        ):
            return send(command)
    except (OptionError, BadArgumentError) as wrong:
        say(f"{NAME}: {wrong}")
        if isinstance(wrong, BadArgumentError):
            return sysexits.DATA
        say(usage)
        return sysexits.USAGE
    # Imported here because most callers send a message.
    from qmail.programs.sendmail_modes import do_other  # noqa: PLC0415 - keeps the start short

    return do_other(NAME, command)


def send(command: Command) -> int:
    """Inject the message on standard input.

    Raises: BadArgumentError: a sender or recipient that is no address.
    """
    request = make_request(command, os.fsencode)
    name = None if command.name is None else os.fsencode(command.name)
    environ = author(os.environb, request.sender, name, login)
    edge = Edge(UnixLines(read_input), write_output, say, submit)
    return inject(request, make_world(NAME, home_folder(), environ, edge, codes=CODES))


def login() -> bytes | None:
    """Return the name of the account that runs this, None where it has none."""
    import pwd  # noqa: PLC0415 - an environment without a name is rare

    try:
        return os.fsencode(pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:
        return None
