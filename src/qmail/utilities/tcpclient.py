"""tcpclient: call a host by TCP and become a program that talks to it on descriptors 6 and 7.

Source: spec/companion.md 4.4.
"""

import _signal
import os
import socket
from collections.abc import Sequence
from typing import Final

from qmail.core.tools.dial_options import Dial, read_dial
from qmail.edge.machine.standard import say
from qmail.edge.tools.line_tool import PERMANENT, TEMPORARY, reason_of
from qmail.edge.wires.dial import (
    CallError,
    Source,
    addresses,
    call,
    ends_of,
    ident,
    name_of,
    variables,
)
from qmail.protocol.options import OptionError, asks_for_help

NAME: Final = "tcpclient"
USAGE: Final = (
    "tcpclient: usage: tcpclient [ -hHrRdDqQv ] [ -i localip ] [ -p localport ]"
    " [ -T timeoutconn ] [ -l localname ] [ -t timeoutinfo ] host port program [ arg ... ]"
)
READ_FD: Final = 6
WRITE_FD: Final = 7


def main(argv: Sequence[str]) -> int:
    """Connect, then become the program."""
    try:
        dial = None if asks_for_help(argv) else read_dial(argv)
    except OptionError as wrong:
        say(f"{NAME}: {wrong}\n{USAGE}")
        return PERMANENT
    if dial is None:
        say(USAGE)
        return PERMANENT
    try:
        become(dial, connect(dial))
    except CallError as wrong:
        why = str(wrong)
    except OSError as trouble:
        why = reason_of(trouble)
    if dial.noise:
        say(f"{NAME}: fatal: {why}")
    return TEMPORARY


def connect(dial: Dial) -> socket.socket:
    """Return the connection, its variables set.

    Raises: CallError, OSError: there is none.
    """
    found = addresses(dial.host, dial.port)

    def missed(why: str) -> None:
        if dial.noise and len(found) > 1:
            say(f"{NAME}: {why}")

    rounds_s = (dial.first_s, dial.second_s)
    sock = call(found, rounds_s, Source(dial.from_ip, dial.from_port), missed)
    if not dial.delays:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ends = ends_of(sock)
    if dial.noise > 1:
        say(f"{NAME}: connected to {ends.remote[0]} port {ends.remote[1]}")
    names = (
        name_of(ends.local[0]) if dial.local_host is None else dial.local_host,
        name_of(ends.remote[0]) if dial.asks_names else None,
        ident(ends, dial.ident_s) if dial.asks_ident else None,
    )
    for name, value in variables(ends, names).items():
        os.environ.pop(name, None)
        if value:
            os.environ[name] = value
    return sock


def become(dial: Dial, sock: socket.socket) -> None:
    """Start the program in our place. Raises: CallError, OSError: it can't be."""
    aside = sock.detach()
    for fd in (READ_FD, WRITE_FD):
        if aside == fd:
            aside = os.dup(fd)
            os.close(fd)
    os.dup2(aside, READ_FD)
    os.dup2(aside, WRITE_FD)
    # Python ignores it, and the program would inherit that.
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
    try:
        os.execvp(dial.program[0], dial.program)
    except OSError as trouble:
        raise CallError(f"unable to run {dial.program[0]}: {reason_of(trouble)}") from None
