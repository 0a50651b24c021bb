"""What sendmail does besides sending: another command of the suite does it, chosen by -b and -q."""

from __future__ import annotations

import os

from qmail.edge.machine.home import command_path, home_folder
from qmail.edge.machine.standard import read_input, say
from qmail.protocol import sysexits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Final

    from qmail.protocol.sendmail_options import Command

COMMANDS: Final[Mapping[str, str]] = {
    "p": "qmail-qread",
    "P": "qmail-qstat",
    "h": "qmail-tcpto",
    "H": "qmail-tcpok",
    "i": "newaliases",
    "s": "qmail-smtpd",
}
"""Which command a mode becomes."""
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
"""Who talks, where no TCP server has said it: somebody on this host, who may send anywhere."""
EXPLAINED: Final[Mapping[int, int]] = {
    0: sysexits.OK,
    100: sysexits.NO_USER,
    111: sysexits.TRY_AGAIN,
}
"""What the exit codes of `qmail explain` are here."""
CHOOSES: Final[Mapping[str, str]] = {"I": "", "R": "--to=*{}*", "S": "--from=*{}*"}
"""How the words after -q choose messages for `qmail queue`."""
LINE_BYTES_MAX: Final = 4096
NOTHING_THERE: Final = 1
"""`qmail queue` ends so where no message is meant."""


def do_other(name: str, command: Command) -> int:
    """Do what `command` asks for, which is not to send a message. Returns the exit code."""
    if command.mode == "m":
        return work_through(name, command.queue or "")
    if command.mode in "tv":
        return explain(name, command)
    if command.mode == "s" and "PROTO" not in os.environ:
        os.environ.update(SMTP_ENVIRONMENT)
    arguments = [command.aliases] if command.mode == "i" and command.aliases else []
    return become(name, COMMANDS[command.mode], arguments)


def become(name: str, command: str, arguments: Iterable[str] = ()) -> int:
    """Replace this process by another command of the suite. Returns only where that fails."""
    path = _path(name, command)
    if path is None:
        return sysexits.UNAVAILABLE
    home = home_folder()
    try:
        os.chdir(home)
    except OSError as trouble:
        say(f"{name}: fatal: {home}: {_reason(trouble)}")
        return sysexits.SYSTEM_FILE
    try:
        os.execv(path, [path, *arguments])
    except OSError as trouble:
        say(f"{name}: fatal: unable to run {path}: {_reason(trouble)}")
        return sysexits.SYSTEM


def _path(name: str, command: str) -> str | None:
    path = command_path(command)
    if path is None:
        say(f"{name}: fatal: unable to find {command}")
    return path


def _reason(trouble: OSError) -> str:
    return (trouble.strerror or str(trouble)).lower()


def _run(path: str, *arguments: str) -> int:
    """Run a command and wait for its end. Returns its exit code; negative: the signal."""
    return os.spawnv(os.P_WAIT, path, [path, *arguments])


# --- addresses ----------------------------------------------------------------------------------


def explain(name: str, command: Command) -> int:
    """Have `qmail explain` say where mail for each address would go. Returns the worst code."""
    path = _path(name, "qmail")
    if path is None:
        return sysexits.UNAVAILABLE
    addresses: Iterable[str] = command.arguments
    if not command.arguments:
        if command.mode == "v":
            say(f"{name}: -bv: no recipients")
            return sysexits.USAGE
        addresses = _addresses_read()
    worst = sysexits.OK
    for address in addresses:
        code = EXPLAINED.get(_run(path, "explain", "--", address), sysexits.SYSTEM)
        worst = max(worst, code)
    return worst


def _addresses_read() -> Iterator[str]:
    """Yield the address of each line of standard input: its last word.

    Before it Sendmail's users write the numbers of rules, `3,0 joe@example.org`.
    """
    asks = os.isatty(0)
    for line in _lines(asks=asks):
        words = line.split()
        if words:
            yield os.fsdecode(words[-1])


def _lines(*, asks: bool) -> Iterator[bytes]:
    kept = b""
    while True:
        if asks and not kept:
            os.write(1, b"address: ")
        part = read_input(LINE_BYTES_MAX)
        *lines, kept = (kept + part).split(b"\n")
        yield from lines
        if len(kept) > LINE_BYTES_MAX:
            # No address is so long: qmail explain says so.
            yield kept
            kept = b""
        if not part:
            yield kept
            return


# --- the queue ----------------------------------------------------------------------------------


def work_through(name: str, what: str) -> int:
    """Have messages that wait tried now: all, or those that `what` chooses, after -q.

    Only root and the account of the queue may; for others qmail-send looks for new mail at once.
    """
    home = home_folder()
    chosen = CHOOSES.get(what[:1])
    if chosen is not None and len(what) > 1:
        chosen = chosen.format(what[1:]) or what[1:]
    if not _may_steer(home):
        if chosen is not None:
            say(f"{name}: -q{what}: only root may choose messages of the queue")
            return sysexits.NOT_ALLOWED
        return wake(name, home)
    path = _path(name, "qmail")
    if path is None:
        return sysexits.UNAVAILABLE
    code = _run(path, "queue", "retry", "--yes", chosen or "--all")
    return sysexits.OK if code in (0, NOTHING_THERE) else sysexits.TRY_AGAIN


def _may_steer(home: str) -> bool:
    try:
        return os.geteuid() in (0, os.stat(f"{home}/queue/lock/sendmutex").st_uid)
    except OSError:
        return False


def wake(name: str, home: str) -> int:
    """Pull the trigger: qmail-send looks for new mail (spec/queue.md 6).

    In a home with separate accounts few can reach it; qmail-queue tells of new mail anyway.
    """
    try:
        fd = os.open(f"{home}/queue/lock/trigger", os.O_WRONLY | os.O_NONBLOCK)
        os.write(fd, b"\0")
        os.close(fd)
    except PermissionError:
        say(f"{name}: -q: only root may have mail tried before its time")
        return sysexits.NOT_ALLOWED
    except OSError as trouble:
        say(f"{name}: fatal: unable to wake qmail-send: {_reason(trouble)}")
        return sysexits.TRY_AGAIN
    return sysexits.OK
