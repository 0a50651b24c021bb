"""maildirserial: send the messages of a maildir by a client (spec/companion.md 3.1)."""

import os
import time
from collections.abc import Iterator, Sequence
from typing import Final

from qmail.core.fs import RealFs
from qmail.core.serial.bounce import Bouncer, read_bounce_controls
from qmail.core.serial.run import Job, Outside, Returned, send_all
from qmail.core.settings.lines import ControlError, control_reader
from qmail.edge.machine.home import home_folder
from qmail.edge.machine.standard import say
from qmail.edge.submit.queue import submit
from qmail.edge.tools.line_tool import PERMANENT, ToolError, reason_of, run_tool
from qmail.edge.tools.serial_client import carry
from qmail.mail import BadEnvelopeError, Envelope, Result
from qmail.protocol.options import OptionError, asks_for_help, split_options

NAME: Final = "maildirserial"
USAGE: Final = (
    "maildirserial: usage: maildirserial [ -b ] [ -t lifetime ] dir prefix client [ arg ... ]"
)
LIFETIME_DIGITS_MAX: Final = 18


def main(argv: Sequence[str]) -> int:
    """Send what is in the maildir."""
    try:
        job, words = (Job(b""), []) if asks_for_help(argv) else read_job(argv)
    except OptionError as wrong:
        say(f"{NAME}: {wrong}\n{USAGE}")
        return PERMANENT
    if not words:
        say(USAGE)
        return PERMANENT
    return run_tool(NAME, lambda: serial(job, words[0], words[1:]))


def read_job(argv: Sequence[str]) -> tuple[Job, list[str]]:
    """Read the command line: what to do; then the folder and the client's words, [] if too few.

    Raises: OptionError: an unknown option, or a lifetime that is no number.
    """
    options, words = split_options(argv, "bt:")
    lifetime_s = None
    for letter, value in options:
        if letter == "t":
            digits = value.isascii() and value.isdigit() and len(value) <= LIFETIME_DIGITS_MAX
            if not digits:
                raise OptionError(f"a lifetime is a number of seconds, not '{value}'")
            lifetime_s = int(value)
    if len(words) < 3:
        return Job(b""), []
    folder, prefix, *client = words
    bounces = any(letter == "b" for letter, _ in options)
    return Job(os.fsencode(prefix), bounces, lifetime_s), [folder, *client]


def serial(job: Job, folder: str, client: Sequence[str]) -> int:
    """Send all. Returns the exit code.

    Raises: ToolError, OSError: it can't go on.
    """
    home = home_folder()
    try:
        controls = read_bounce_controls(control_reader(home))
    except ControlError as wrong:
        raise ToolError(str(wrong)) from None
    try:
        os.chdir(folder)
        maildir = RealFs(".")
    except OSError as trouble:
        raise ToolError(f"unable to chdir to {folder}: {reason_of(trouble)}") from None

    def queue(parts: Iterator[bytes], envelope: Envelope) -> tuple[Result | None, int]:
        outcome = submit(home, parts, envelope, os.environ)
        return outcome.result, outcome.qp

    def send_back(path: str, text: bytes) -> Returned:
        token = os.urandom(12).hex().encode()
        bouncer = Bouncer(maildir, job.prefix, controls, now_s=int(time.time()), token=token)
        try:
            return bouncer.send_back(path, text, queue)
        except BadEnvelopeError as wrong:
            return Returned(f"warning: unable to bounce {path}: {wrong}", is_over=False)

    outside = Outside(
        maildir,
        time.time,
        lambda line: say(f"{NAME}: {line}"),
        lambda names: carry(client, names),
        send_back,
    )
    return send_all(job, outside)
