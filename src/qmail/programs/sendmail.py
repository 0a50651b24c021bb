"""sendmail: the command that other programs expect, in front of the rules of qmail-inject.

Called as mailq it shows the queue, as newaliases it makes the alias table; `-bs` speaks SMTP on
standard input and output.
Source: spec/inject.md 10, spec/oddities.md 8.
"""

from __future__ import annotations

import os
import sys
import time

from qmail.core.inject import Request
from qmail.core.inject_run import PERMANENT, TEMPORARY, World, inject
from qmail.edge.home import command_path, home_folder
from qmail.edge.standard import read_input, say, write_output
from qmail.edge.submit import submit
from qmail.protocol.options import OptionError, asks_for_help, split_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

NAME: Final = "sendmail"
USAGE: Final = "usage: sendmail [-t] [-f sender] [-F name] [-bm|-bi|-bp|-bs] [-q] [recipient ...]"
LETTERS: Final = "vimtUGne:f:r:p:o:O:B:F:E::J::x:b:q::N:R:V:L:X:h:C:A:d::"
"""Only -t, -f (-r), -F, -b and -q have an effect; the others are accepted, as scripts give them."""
SMTP_ENVIRONMENT: Final = {
    "RELAYCLIENT": "",
    "DATABYTES": "0",
    "PROTO": "TCP",
    "TCPLOCALIP": "127.0.0.1",
    "TCPLOCALHOST": "localhost",
    "TCPREMOTEIP": "127.0.0.1",
    "TCPREMOTEHOST": "localhost",
    "TCPREMOTEINFO": "sendmail-bs",
}
REFUSED_MODES: Final = {
    "d": "-bd: the daemon is qmail-smtpd, which qmail-start starts",
    "D": "-bD: the daemon is qmail-smtpd, which qmail-start starts",
    "t": "-bt: there are no rewriting rules to test; 'qmail-inject -n' shows the result",
    "v": "-bv: addresses are not verified here; what can't be delivered comes back",
}


def main(argv: Sequence[str]) -> int:
    """Do what the options, or the name we were called by, ask for."""
    called = os.path.basename(sys.argv[0])
    if called == "mailq":
        return show_queue(argv)
    if called == "newaliases":
        return become("newaliases")
    if asks_for_help(argv, ("--help",)):
        say(USAGE)
        return PERMANENT
    try:
        options, arguments = split_options(argv, LETTERS)
    except OptionError as wrong:
        say(f"{NAME}: {wrong}\n{USAGE}")
        return PERMANENT
    given = dict(options)
    mode = given.get("b", "m")
    if mode == "p":
        return become("qmail-qread")
    if mode == "i":
        return become("newaliases")
    if mode == "s":
        return serve_smtp()
    if mode in REFUSED_MODES:
        return refuse(REFUSED_MODES[mode])
    if mode != "m":
        say(f"{NAME}: unknown mode -b{mode}\n{USAGE}")
        return PERMANENT
    if "q" in given and not arguments and "t" not in given:
        return wake_queue()
    return send(options, arguments)


def send(options: Sequence[tuple[str, str]], arguments: Sequence[str]) -> int:
    """Inject the message on standard input: -t takes recipients from the header as well."""
    sender: str | None = None
    name: str | None = None
    mode = "a"
    for letter, value in options:
        if letter in ("f", "r"):
            sender = value
        elif letter == "F":
            name = value
        elif letter == "t":
            mode = "H"
    home = home_folder()
    request = Request(
        mode,
        None if sender is None else os.fsencode(sender),
        False,
        tuple(map(os.fsencode, arguments)),
    )
    return inject(
        request,
        World(
            NAME,
            home,
            author(os.environb, request.sender, None if name is None else os.fsencode(name)),
            read_input,
            write_output,
            say,
            lambda parts, envelope: submit(home, parts, envelope, os.environ).result,
            lambda: os.chdir(home),
            time.time,
            os.getpid(),
            os.urandom,
        ),
    )


def author(
    environ: Mapping[bytes, bytes], sender: bytes | None, name: bytes | None
) -> dict[bytes, bytes]:
    """Return the environment in which From is made: `sender` is -f, `name` is -F."""
    found = dict(environ)
    if sender not in (None, b"", b"<>"):
        for variable in (b"QMAILNAME", b"MAILNAME", b"NAME", b"QMAILHOST", b"MAILHOST"):
            found.pop(variable, None)
        address = sender[1:-1] if sender[:1] == b"<" and sender[-1:] == b">" else sender
        user, at, host = address.rpartition(b"@")
        found[b"QMAILUSER"] = user if at else address
        if at:
            found[b"QMAILHOST"] = host
    if name is not None:
        # The strongest of the three, for it is what the caller said last.
        found[b"QMAILNAME"] = name
    return found


def show_queue(argv: Sequence[str]) -> int:
    """Become qmail-qread. Sendmail's options for its mailq are accepted and have no effect."""
    if asks_for_help(argv):
        say("usage: mailq")
        return PERMANENT
    return become("qmail-qread")


def serve_smtp() -> int:
    """Become qmail-smtpd for whoever is on descriptors 0 and 1."""
    if "PROTO" not in os.environ:
        os.environ.update(SMTP_ENVIRONMENT)
    return become("qmail-smtpd")


def become(command: str) -> int:
    """Replace this process by another command of the suite."""
    path = command_path(command)
    if path is None:
        say(f"{NAME}: fatal: unable to find {command}")
        return TEMPORARY
    try:
        os.chdir(home_folder())
    except OSError as trouble:
        say(f"{NAME}: fatal: {home_folder()}: {(trouble.strerror or '').lower()}")
        return TEMPORARY
    try:
        os.execv(path, [path])
    except OSError as trouble:
        say(f"{NAME}: fatal: unable to run {path}: {(trouble.strerror or '').lower()}")
        return TEMPORARY


def wake_queue() -> int:
    """Pull the trigger: qmail-send looks for new mail at once (spec/queue.md 6)."""
    try:
        fd = os.open(f"{home_folder()}/queue/lock/trigger", os.O_WRONLY | os.O_NONBLOCK)
        os.write(fd, b"\0")
        os.close(fd)
    except OSError as trouble:
        say(f"{NAME}: fatal: unable to wake qmail-send: {(trouble.strerror or '').lower()}")
        return TEMPORARY
    return 0


def refuse(why: str) -> int:
    """Say why not. Returns the exit code."""
    say(f"{NAME}: fatal: {why}")
    return PERMANENT
