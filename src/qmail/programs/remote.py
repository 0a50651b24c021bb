"""qmail-remote: send one message by SMTP: `qmail-remote HOST SENDER RECIP...`, message on fd 0.

The reports go to descriptor 1, each ended by NUL: one for each recipient that was answered, then
one for the message. It always ends with 0 (spec/smtp.md B.1).
"""

import asyncio
import contextlib
import os
import random
import stat
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from qmail.core.remote.delivery import Deliverer
from qmail.core.settings.controls import ControlError, control_reader, load
from qmail.core.settings.programs import RemoteControls
from qmail.edge.dns.resolver import DnsResolver
from qmail.edge.log.lines import complain
from qmail.edge.machine.accounts import home_folder
from qmail.edge.machine.local_addresses import FreshLocalAddresses
from qmail.edge.smtp.back_off import BackOff
from qmail.edge.smtp.body import PART_BYTES, Body
from qmail.edge.smtp.connect import CANNOT_READ, Message
from qmail.edge.smtp.pool import TOTAL_S_MAX, Limits, Pool
from qmail.mail import Result, deferred, failed
from qmail.protocol.exits import Exit
from qmail.protocol.options import asks_for_help
from qmail.protocol.remote_reports import Outcome
from qmail.protocol.smtp_client import is_sendable

MISUSED: Final = failed(b"qmail-remote takes a host, a sender and recipients. (#5.3.5)\n")
BAD_ADDRESS: Final = failed(b"An address can't be written in SMTP. (#5.1.3)\n")
NO_HOME: Final = deferred(b"Unable to switch to the home folder. (#4.3.0)\n")
UNFORESEEN: Final = deferred(b"Unexpected trouble in qmail-remote. (#4.3.0)\n")


class MessageInput:
    """The message on descriptor 0: a file, or anything that is read to its end first."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._small: bytes | None = None
        if not stat.S_ISREG(os.fstat(fd).st_mode) or os.lseek(fd, 0, os.SEEK_CUR):
            self._take_stream()

    def _take_stream(self) -> None:
        with open(self._fd, "rb", closefd=False) as stream:
            small = stream.read(PART_BYTES)
            if len(small) < PART_BYTES:
                self._small = small
                return
            # Too long for memory: what comes by a pipe is kept in a nameless file.
            with tempfile.TemporaryFile() as spool:
                part = small
                while part:
                    spool.write(part)
                    part = stream.read(PART_BYTES)
                spool.flush()
                self._fd = os.dup(spool.fileno())

    def load(self) -> Body | Result:
        """Return the message in the form to send it, or why it is not sent."""
        if self._small is not None:
            return Body.of_bytes(self._small)
        try:
            return Body.of_file(os.dup(self._fd), os.fstat(self._fd).st_size)
        except OSError:
            return CANNOT_READ


@dataclass(slots=True)
class InputMessage:
    """The message on descriptor 0, and who gets it."""

    sender: bytes
    recipients: tuple[bytes, ...]
    deadline: float
    load: Callable[[], Body | Result]


async def send(
    controls: RemoteControls, host: bytes, sender: bytes, recipients: tuple[bytes, ...]
) -> Outcome:
    """Send the message on descriptor 0 to one of the servers for `host`."""
    assert controls.helohost is not None
    limits = Limits(controls.timeoutconnect or 1, controls.timeoutremote or 1)
    pool = Pool(controls.helohost, limits, BackOff(home_folder()))
    deliverer: Deliverer[Message] = Deliverer(
        controls.smtproutes,
        DnsResolver(),
        pool,
        local=FreshLocalAddresses(),
        random=random.SystemRandom(),
    )
    try:
        load_message = MessageInput(0).load
    except OSError:
        return Outcome((), CANNOT_READ)
    deadline = asyncio.get_running_loop().time() + TOTAL_S_MAX
    outcome = await deliverer.deliver(
        host, InputMessage(sender, recipients, deadline, load_message)
    )
    await pool.close()
    return outcome


def outcome_of(arguments: Sequence[bytes]) -> Outcome:
    """Do what the command line says; nothing unforeseen is more than a deferral."""
    if len(arguments) < 3:
        return Outcome((), MISUSED)
    host, sender, *recipients = arguments
    if not all(is_sendable(address) for address in (sender, *recipients)):
        return Outcome((), BAD_ADDRESS)
    home = home_folder()
    try:
        os.chdir(home)
    except OSError:
        return Outcome((), NO_HOME)
    try:
        controls = load(RemoteControls, control_reader(home))
    except (ControlError, OSError) as wrong:
        what = str(wrong).encode(errors="replace")
        return Outcome((), deferred(b"Unable to read control files: %b. (#4.3.0)\n" % what))
    if controls.helohost is None:
        text = b"Unable to read control files: there is no control/me. (#4.3.0)\n"
        return Outcome((), deferred(text))
    try:
        return asyncio.run(send(controls, host, sender, tuple(recipients)))
    except Exception:
        return Outcome((), UNFORESEEN)


def main(argv: Sequence[str]) -> int:
    """Send, report, end with 0."""
    if asks_for_help(argv):
        complain("qmail-remote", "usage: qmail-remote host sender recipient ...")
    reports = outcome_of([os.fsencode(argument) for argument in argv]).reports()
    with contextlib.suppress(OSError):
        while reports:
            reports = reports[os.write(1, reports) :]
    return Exit.OK
