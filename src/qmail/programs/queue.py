"""qmail-queue: the only writer of new messages. Runs as qmailq.

Started by qmail-start it is resident: submitters call at run/queue, the kernel says who they are,
and accepted messages are told to qmail-send at run/send. As a command it has the classic interface
(descriptor 0 message, 1 envelope, exit codes of spec/programs.md) and hands the message over to the
resident one; run by root or qmailq with the service down, it writes the queue itself.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from qmail.edge.doors.station import call_door
from qmail.edge.log.lines import complain
from qmail.edge.machine.accounts import (
    Accounts,
    MissingAccountError,
    accounts_of,
    become,
    home_folder,
)
from qmail.mail import ADDRESS_BYTES_MAX
from qmail.protocol.doors import FRAME_BYTES_MAX, Receipt, Submission
from qmail.protocol.exits import Exit, QueueExit
from qmail.protocol.netstring import FrameError, FrameReader

PART_BYTES: Final = 65536
ENVELOPE_BYTES_MAX: Final = FRAME_BYTES_MAX - 1024
DEATH_S: Final = 86400
ANSWER_S_MAX: Final = 600.0
IGNORED: Final = (
    signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE,
    signal.SIGVTALRM, signal.SIGPROF, signal.SIGXCPU, signal.SIGXFSZ,
)  # fmt: skip
"""What a terminal or a limit sends does not stop a message half-way (spec/queue.md 4)."""


class Refused(Exception):  # noqa: N818 - it is the exit code on its way out, not an error's name
    """The message is not queued; `code` is the exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def read_message() -> Iterator[bytes]:
    """Yield descriptor 0 up to its end.

    Raises: Refused: 54, it can't be read.
    """
    try:
        while part := os.read(0, PART_BYTES):
            yield part
    except OSError as trouble:
        raise Refused(QueueExit.READ_ERROR) from trouble


def read_envelope() -> bytes:
    """Return the envelope from descriptor 1, up to and with the NUL that ends it.

    Raises: Refused: 54 it ends early, 91 its form is wrong, 11 an address is too long.
    Source: spec/queue.md 4, steps 12 to 14.
    """
    envelope = bytearray()
    start = 0
    while True:
        end = envelope.find(b"\0", start)
        if end >= 0:
            if end == start and start > 0:
                if end >= ENVELOPE_BYTES_MAX:
                    raise Refused(QueueExit.NO_MEMORY)
                return bytes(envelope[: end + 1])
            if envelope[start] != (ord("T") if start else ord("F")):
                raise Refused(QueueExit.BAD_ENVELOPE)
            if end - start - 1 > ADDRESS_BYTES_MAX:
                raise Refused(QueueExit.ADDRESS_TOO_LONG)
            start = end + 1
            continue
        if len(envelope) - start > ADDRESS_BYTES_MAX + 1:
            raise Refused(QueueExit.ADDRESS_TOO_LONG)
        if len(envelope) > ENVELOPE_BYTES_MAX:
            raise Refused(QueueExit.NO_MEMORY)
        envelope += _read_part(envelope, start)


def _read_part(envelope: bytearray, start: int) -> bytes:
    if len(envelope) > start and envelope[start] != (ord("T") if start else ord("F")):
        raise Refused(QueueExit.BAD_ENVELOPE)
    try:
        part = os.read(1, PART_BYTES)
    except OSError as trouble:
        raise Refused(QueueExit.READ_ERROR) from trouble
    if not part:
        raise Refused(QueueExit.READ_ERROR)
    return part


def hand_over(home: str) -> None:
    """Give the message to the resident qmail-queue.

    Raises: Refused: it said no, or broke off. OSError: nobody answers at its door.
    """
    sock = call_door(home, "queue", may_wait=True)
    sock.settimeout(ANSWER_S_MAX)
    try:
        trace_id = os.environb.get(b"QMAIL_ID", b"")
        sock.sendall(Submission(b"O", 1, trace_id=trace_id).pack())
        for part in read_message():
            sock.sendall(Submission(b"C", 1, data=part).pack())
        sock.sendall(Submission(b"E", 1, envelope=read_envelope()).pack())
        receipt = _receipt(sock.recv)
    except (OSError, FrameError) as trouble:
        # The message may be half read: nobody else can take it now.
        raise Refused(QueueExit.COMMUNICATION) from trouble
    finally:
        sock.close()
    if receipt.code != QueueExit.QUEUED:
        raise Refused(receipt.code)


def _receipt(receive: Callable[[int], bytes]) -> Receipt:
    reader = FrameReader(4096)
    while True:
        data = receive(4096)
        if not data:
            raise FrameError("no receipt")
        for payload in reader.feed(data):
            return Receipt.unpack(payload)


def write_alone(home: str, accounts: Accounts) -> None:
    """Write the queue without the service: for root and qmailq only, so that mail at boot is kept.

    Raises: Refused.
    """
    from qmail.core.clock import REAL_CLOCK  # noqa: PLC0415 - only without the service
    from qmail.core.fs import RealFs  # noqa: PLC0415
    from qmail.core.queue.layout import find_layout  # noqa: PLC0415
    from qmail.core.queue.write import QueueError, QueueWriter, write_all  # noqa: PLC0415
    from qmail.protocol.trace_id import TraceIds  # noqa: PLC0415

    uid = os.getuid()
    owner = accounts["qmailq"]
    try:
        if os.geteuid() not in (0, owner.uid):
            raise Refused(QueueExit.CONNECT_REFUSED)
        if owner.uid:
            become(owner.uid, owner.gid)
        fs = RealFs(f"{home}/queue")
        writer = QueueWriter(fs, REAL_CLOCK, find_layout(fs))
    except (OSError, ValueError) as trouble:
        raise Refused(QueueExit.NO_QUEUE) from trouble
    try:
        trace_id = TraceIds(os.getpid()).make(REAL_CLOCK.now())
        draft = writer.begin(uid, os.getpid(), b"by uid %d" % uid, trace_id=trace_id)
        try:
            write_all(writer, draft, read_message(), read_envelope)
        except (Refused, _TerminatedError):
            writer.give_up(draft)
            raise
    except QueueError as refused:
        raise Refused(refused.code) from refused
    pull_trigger(home)


def pull_trigger(home: str) -> None:
    """Wake a qmail-send that may be there after all; without one nothing is lost.

    Source: spec/queue.md 6.
    """
    with contextlib.suppress(OSError):
        fd = os.open(f"{home}/queue/lock/trigger", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.write(fd, b"\0")
        os.close(fd)


def run_command(home: str, accounts: Accounts) -> int:
    """Take the message on descriptor 0 and the envelope on 1; return the exit code."""
    os.umask(0o033)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _on_term)
    signal.signal(signal.SIGALRM, lambda _number, _frame: os._exit(QueueExit.TIMEOUT))
    signal.alarm(DEATH_S)
    try:
        try:
            hand_over(home)
        except OSError:
            write_alone(home, accounts)
    except Refused as refused:
        return refused.code
    except _TerminatedError:
        # Everything is taken back; now it ends as whoever sent the signal expects.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    return QueueExit.QUEUED


class _TerminatedError(Exception):
    """TERM came."""


def _on_term(_number: int, _frame: object) -> None:
    raise _TerminatedError


def main(argv: Sequence[str]) -> int:
    """Run as the service (qmail-start left a door) or as the classic command."""
    if argv:
        complain("qmail-queue", "usage: qmail-queue (message on descriptor 0, envelope on 1)")
        return Exit.PERMANENT
    home = home_folder()
    try:
        accounts = accounts_of(home)
    except MissingAccountError as missing:
        complain("qmail-queue", f"fatal: {missing}")
        return QueueExit.NO_ACCOUNT
    except OSError as trouble:
        complain("qmail-queue", f"fatal: {home}: {trouble.strerror}: run 'qmail init'")
        return QueueExit.NO_HOME
    if "QMAIL_DOOR" not in os.environ:
        return run_command(home, accounts)
    from qmail.programs.queue_service import QueueService  # noqa: PLC0415 - not for the command

    os.umask(0o033)
    try:
        return QueueService(home, accounts).run()
    except (OSError, ValueError) as trouble:
        complain("qmail-queue", f"fatal: {trouble}")
        return Exit.TEMPORARY
