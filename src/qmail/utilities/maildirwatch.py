"""maildirwatch: show on the terminal what is new in a maildir, for as long as one looks.

Source: spec/programs.md 7.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from qmail.core.fs import Fs, RealFs
from qmail.core.local.maildir import NEW
from qmail.core.local.maildir_reading import messages
from qmail.core.local.maildir_sweep import remove_stale
from qmail.core.tools.summary import beginning, gist, printable
from qmail.edge.machine.standard import write_output
from qmail.protocol.exits import Exit
from qmail.protocol.header import Field
from qmail.protocol.options import asks_for_help

PAUSE_S = 30
CLEAR, BOLD, PLAIN = b"\033[;H\033[;J", b"\033[1m", b"\033[0m"
TEXT_BYTES = 158
"""Two lines of a terminal."""


def main(argv: Sequence[str]) -> int:
    """Run the command until it is interrupted; MAILDIR names the folder."""
    if argv or asks_for_help(argv):
        print("maildirwatch: usage: maildirwatch", file=sys.stderr)
        return Exit.PERMANENT
    folder = os.environ.get("MAILDIR")
    if folder is None:
        print("maildirwatch: fatal: MAILDIR not set", file=sys.stderr)
        return Exit.TEMPORARY
    try:
        watch(RealFs(folder), write_output, lambda: time.sleep(PAUSE_S))
    except KeyboardInterrupt:
        return Exit.OK
    except OSError as trouble:
        reason = (trouble.strerror or "unknown error").lower()
        print(f"maildirwatch: fatal: unable to watch {folder}: {reason}", file=sys.stderr)
        return Exit.TEMPORARY


def watch(maildir: Fs, show: Callable[[bytes], None], pause: Callable[[], None]) -> NoReturn:
    """Show the maildir, pause, and so on.

    Raises: OSError: it is no maildir, or nobody is looking; whatever `pause` raises.
    """
    while True:
        remove_stale(maildir, time.time())
        show(CLEAR + b"".join(entries(maildir)))
        pause()


def entries(maildir: Fs) -> Iterator[bytes]:
    """Yield what is shown of each new message, the oldest first."""
    for message in messages(maildir, (NEW,)):
        try:
            fields, body = beginning(maildir.parts(message.path))
        except FileNotFoundError:
            # A reader was quicker.
            continue
        sender = printable(first_of(fields, b"return-path"), b"_")
        recipient = printable(first_of(fields, b"delivered-to"), b"_")
        head = BOLD + b"FROM " + sender + b" TO <" + recipient + b">" + PLAIN
        yield head + b"\n" + gist(fields, body)[:TEXT_BYTES] + b"\n\n"


def first_of(fields: Sequence[Field], name: bytes) -> bytes:
    """Return the value of the first field of that name, b"" where there is none."""
    return next((field.value.strip() for field in fields if field.name == name), b"")
