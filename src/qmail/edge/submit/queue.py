"""Submission to the queue by programs that handle one message: it blocks, and imports little.

Source: spec/programs.md 0, "Queue submission (caller side)".
"""

from __future__ import annotations

from qmail.edge.doors.doorway import knock
from qmail.protocol.netstring import FrameError, FrameReader
from qmail.protocol.queue_door import FRAME_BYTES_MAX, MESSAGE_INLINE_MAX, Receipt, Submission
from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Final

    from qmail.envelope import Envelope
    from qmail.mail import Result

WAIT_S_MAX: Final = 300
"""Longest wait for the resident qmail-queue to take the next bytes, or to answer."""
ENVELOPE_BYTES_MAX: Final = FRAME_BYTES_MAX - MESSAGE_INLINE_MAX - 1024
TOO_MANY: Final = b"Zmore recipients than one message can have (#4.5.3)"
RECEIPT_BYTES_MAX: Final = 4096
TAG: Final = 1


class Outcome(Record):
    """How a submission ended: `result` is None when the message is in the queue."""

    result: Result | None
    qp: int
    trace_id: bytes = b""


def submit(
    home: str, parts: Iterable[bytes], envelope: Envelope, environ: Mapping[str, str]
) -> Outcome:
    """Put one message into the queue: by the program that QMAILQUEUE names, else at the door.

    With the service down, root and the queue's owner run the command qmail-queue instead.

    Raises: whatever iterating `parts` raises; the submission is given up then.
    """
    packed = envelope.pack()
    if len(packed) > ENVELOPE_BYTES_MAX:
        # A list that has outgrown it can be split: its mail waits for that.
        return _outcome(82, TOO_MANY)
    program = environ.get("QMAILQUEUE")
    if program is not None:
        return _by_program(home, program, parts, packed)
    try:
        sock = knock(home, "queue", WAIT_S_MAX)
    except BlockingIOError:
        return _outcome(72, b"")
    except OSError as trouble:
        return _without_service(home, parts, packed, trouble)
    try:
        # qmail-queue believes an id from few callers (protocol/trace_id.py).
        return _at_door(sock, iter(parts), packed, environ.get("QMAIL_ID", "").encode())
    finally:
        sock.close()


def _at_door(
    sock: _socket.socket, parts: Iterator[bytes], packed: bytes, trace_id: bytes
) -> Outcome:
    start: list[bytes] = []
    size = 0
    for part in parts:
        start.append(part)
        size += len(part)
        if size > MESSAGE_INLINE_MAX:
            break
    try:
        if size <= MESSAGE_INLINE_MAX:
            _send(sock, Submission(b"M", TAG, packed, b"".join(start), trace_id).pack())
        else:
            begin = Submission(b"O", TAG, b"", b"", trace_id).pack()
            _stream(sock, begin + _parts_of(b"".join(start)), parts, packed)
    except _DoorError as broken:
        if isinstance(broken.__cause__, BlockingIOError):
            return _outcome(72, b"")
        # It may have answered early, with a refusal, and hung up: the answer is still readable.
    return _answer(sock)


class _DoorError(Exception):
    """The door failed while the message was on its way: not to be taken for its source failing."""


def _stream(sock: _socket.socket, first: bytes, parts: Iterator[bytes], packed: bytes) -> None:
    _send(sock, first)
    try:
        for part in parts:
            _send(sock, _parts_of(part))
    except _DoorError:
        raise
    except BaseException:
        _give_up(sock)
        raise
    _send(sock, Submission(b"E", TAG, packed, b"").pack())


def _give_up(sock: _socket.socket) -> None:
    try:
        _send(sock, Submission(b"X", TAG, b"", b"").pack())
    except _DoorError:
        # Hanging up says the same.
        return


def _parts_of(data: bytes) -> bytes:
    pieces = range(0, len(data), MESSAGE_INLINE_MAX)
    return b"".join(
        Submission(b"C", TAG, b"", data[at : at + MESSAGE_INLINE_MAX]).pack() for at in pieces
    )


def _send(sock: _socket.socket, frames: bytes) -> None:
    try:
        sock.sendall(frames)
    except OSError as broken:
        raise _DoorError from broken


def _answer(sock: _socket.socket) -> Outcome:
    reader = FrameReader(RECEIPT_BYTES_MAX)
    try:
        while data := sock.recv(RECEIPT_BYTES_MAX):
            for payload in reader.feed(data):
                receipt = Receipt.unpack(payload)
                if receipt.tag != TAG:
                    return _outcome(74, b"")
                return _outcome(receipt.code, receipt.text, receipt.qp, receipt.trace_id)
    except BlockingIOError:
        return _outcome(72, b"")
    except (OSError, FrameError):
        return _outcome(74, b"")
    return _outcome(74, b"")


def _outcome(code: int, text: bytes, qp: int = 0, trace_id: bytes = b"") -> Outcome:
    if code == 0:
        return Outcome(None, qp, trace_id)
    # Imported here because a message that is queued, which is the rule, does not need it.
    from qmail.protocol.exits import queue_result  # noqa: PLC0415  starts faster

    return Outcome(queue_result(code, text), qp)


def _by_program(home: str, program: str, parts: Iterable[bytes], packed: bytes) -> Outcome:
    from qmail.edge.submit.queue_program import run_queue_program  # noqa: PLC0415  starts faster

    code, text, pid = run_queue_program(home, program, parts, packed)
    return _outcome(code, text, pid)


def _without_service(home: str, parts: Iterable[bytes], packed: bytes, trouble: OSError) -> Outcome:
    from qmail.edge.submit.queue_program import own_queue_program  # noqa: PLC0415  starts faster
    from qmail.mail import deferred  # noqa: PLC0415  starts faster

    if not isinstance(trouble, (ConnectionRefusedError, FileNotFoundError)):
        reason = (trouble.strerror or "unknown error").lower().encode()
        return Outcome(deferred(b"unable to reach qmail-queue: " + reason + b" (#4.3.0)"), 0)
    program = own_queue_program(home)
    if program is None:
        return Outcome(deferred(b"qmail-queue service is not running (#4.3.0)"), 0)
    return _by_program(home, program, parts, packed)
