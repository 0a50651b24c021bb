"""qbiff: tell a user who is logged in that a message came (spec/programs.md 6).

It never fails: a terminal that can't be written to is no reason to keep the message back.
"""

from __future__ import annotations

import os
import stat
import struct

from qmail.core.tools.summary import beginning, gist, printable
from qmail.edge.machine.standard import say
from qmail.edge.tools.line_tool import DONE, PERMANENT, message, variable
from qmail.protocol.options import asks_for_help

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Final

USAGE: Final = "qbiff: usage: qbiff"
UTMP: Final = "/var/run/utmp"
UTMP_BYTES_MAX: Final = 1024 * 1024
TEXT_BYTES: Final = 78
"""So much of subject and body is shown, with the blanks before it."""
LOGIN: Final = struct.Struct("@hi32s4s32s")
"""How a record of utmp(5) begins: kind, process, terminal, its short name, user."""
LOGIN_KIND: Final = 7
RECORD_BYTES: Final = 400 if os.uname().machine == "aarch64" else 384
"""Length of a record: the C library has times of 64 bits in it on that machine."""
DEVICES: Final = "/dev"


def main(argv: Sequence[str]) -> int:
    """Write to the user's terminals what the message on descriptor 0 is about."""
    if asks_for_help(argv):
        say(USAGE)
        return PERMANENT
    try:
        notify()
    except Exception:
        # No variables, nobody logged in, no list of them: nothing to do.
        return DONE
    return DONE


def notify() -> None:
    """Write the note to every terminal where the user wants it.

    Raises: OSError, ToolError: nothing to say, or nobody to say it to.
    """
    lines = list(terminals(logins(), variable("USER")))
    if not lines:
        return
    text = note(variable("LOCAL"), variable("SENDER"), summary(message()))
    for line in lines:
        write_to(f"{DEVICES}/{line}", text)


def logins() -> bytes:
    """Return the list of who is logged in; its end is cut off where it is too long."""
    fd = os.open(UTMP, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, UTMP_BYTES_MAX)
    finally:
        os.close(fd)


def terminals(records: bytes, user: bytes) -> Iterator[str]:
    """Yield the terminals that a user is logged in at."""
    for start in range(0, len(records) - RECORD_BYTES + 1, RECORD_BYTES):
        kind, _, line, _, name = LOGIN.unpack_from(records, start)
        if kind == LOGIN_KIND and name.partition(b"\0")[0] == user and user:
            yield os.fsdecode(line.partition(b"\0")[0])


def summary(parts: Iterator[bytes]) -> bytes:
    """Return how the message begins: its subject and its text, on one line."""
    return (b"    " + gist(*beginning(parts)))[:TEXT_BYTES]


def note(recipient: bytes, sender: bytes, text: bytes) -> bytes:
    """Return what appears on the terminal, with a bell."""
    head = printable(b"*** TO <%b> FROM <%b>" % (recipient, sender), b"_")
    return b"\r\n\a%b\r\n%b\r\n" % (head, text)


def write_to(path: str, text: bytes) -> None:
    """Write to a terminal that is the user's own and, by its mode, wants to hear of mail."""
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        fd = os.open(path, flags)
    except OSError:
        return
    try:
        found = os.fstat(fd)
        if found.st_uid == os.getuid() and found.st_mode & stat.S_IXUSR and os.isatty(fd):
            os.write(fd, text)
    except OSError:
        # It is gone, or its output is stopped.
        return
    finally:
        os.close(fd)
