"""The inner doors: what the programs say to each other, as netstrings of plain fields.

A frame is one netstring; its payload is a letter followed by fields, each a netstring again. Each
side checks what it receives and closes the connection on anything else. docs/INTERNALS.md lists who
may knock at which door.

run/queue, from a submitter:
    M tag, id, envelope, message   a whole small message
    O tag, id                      a long one begins
    C tag, part                    the next part of it
    E tag, envelope                its end
    X tag                          given up
    answered, when it is on disk or refused, by R tag, exit code, qp, text, id
run/send, from qmail-queue:
    N number, bytes, uid, qp, birth, id, envelope   a message is queued (no envelope: read todo)
run/lspawn and run/rspawn, from qmail-send:
    J delivery, body, sender, recipient         deliver
    L host                                      mail for it comes soon: look it up (rspawn only)
    answered by R delivery, report              K, Z or D and a text
run/lspawn and run/rspawn, to qmail-send, before anything else:
    S count                                     so many deliveries at once, and no more
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from qmail.protocol.netstring import FrameError, pack, pack_fields, unpack_fields
from qmail.protocol.queue_door import (
    FRAME_BYTES_MAX,
    MESSAGE_INLINE_MAX,
    Receipt,
    Submission,
    number,
)

__all__ = [
    "FRAME_BYTES_MAX",
    "JOB_FRAME_MAX",
    "MESSAGE_INLINE_MAX",
    "NOTICE_ENVELOPE_MAX",
    "REPORT_BYTES_MAX",
    "REPORT_FRAME_MAX",
    "Job",
    "LookAhead",
    "Notice",
    "Receipt",
    "Report",
    "Slots",
    "Submission",
    "number",
]

NOTICE_ENVELOPE_MAX: Final = 8192
"""Longer envelopes are not repeated in the notice; qmail-send reads the todo file."""
REPORT_BYTES_MAX: Final = 10000
"""Longest report that qmail-send accepts (spec/delivery.md 10)."""
JOB_FRAME_MAX: Final = 8192
"""A recipient can have a host and a virtual domain's prepend added, and the sender names it."""
REPORT_FRAME_MAX: Final = REPORT_BYTES_MAX + 64


class Notice(NamedTuple):
    """A message is in todo/: what qmail-queue tells qmail-send. Times are seconds since 1970."""

    message: int
    size: int
    uid: int
    qp: int
    birth: int
    envelope: bytes
    """As `Envelope.pack` makes it; empty: too long to repeat, read it from the queue."""
    trace_id: bytes = b""

    def pack(self) -> bytes:
        """Return the frame."""
        return pack(
            b"N"
            + pack_fields(
                b"%d" % self.message,
                b"%d" % self.size,
                b"%d" % self.uid,
                b"%d" % self.qp,
                b"%d" % self.birth,
                self.trace_id,
                self.envelope,
            )
        )

    @classmethod
    def unpack(cls, payload: bytes) -> "Notice":
        """Parse a frame's payload.

        Raises: FrameError: not a notice.
        """
        if payload[:1] != b"N":
            raise FrameError("not a notice")
        *numbers, trace_id, envelope = unpack_fields(payload[1:], 7)
        message, size, uid, qp, birth = map(number, numbers)
        return cls(message, size, uid, qp, birth, envelope, trace_id)


class Job(NamedTuple):
    """One delivery to make: one recipient of one message."""

    delivery: int
    body: bytes
    """Where the message is, in the queue engine's words (on disk: `15/2229911`)."""
    sender: bytes
    recipient: bytes

    def pack(self) -> bytes:
        """Return the frame."""
        return pack(
            b"J" + pack_fields(b"%d" % self.delivery, self.body, self.sender, self.recipient)
        )

    @classmethod
    def unpack(cls, payload: bytes) -> "Job":
        """Parse a frame's payload.

        Raises: FrameError: not a job.
        """
        if payload[:1] != b"J":
            raise FrameError("not a job")
        delivery, body, sender, recipient = unpack_fields(payload[1:], 4)
        return cls(number(delivery), body, sender, recipient)


@dataclass(frozen=True, slots=True)
class Slots:
    """What a spawner says first: how many deliveries it can make at once."""

    count: int

    def pack(self) -> bytes:
        """Return the frame."""
        return pack(b"S" + pack_fields(b"%d" % self.count))

    @classmethod
    def unpack(cls, payload: bytes) -> "Slots":
        """Parse a frame's payload.

        Raises: FrameError: not one of these.
        """
        if payload[:1] != b"S":
            raise FrameError("not a number of slots")
        (count,) = unpack_fields(payload[1:], 1)
        return cls(number(count))


@dataclass(frozen=True, slots=True)
class LookAhead:
    """A host that mail for is about to come: its look-ups can begin. There is no answer."""

    host: bytes

    def pack(self) -> bytes:
        """Return the frame."""
        return pack(b"L" + pack_fields(self.host))

    @classmethod
    def unpack(cls, payload: bytes) -> "LookAhead":
        """Parse a frame's payload.

        Raises: FrameError: not one of these.
        """
        if payload[:1] != b"L":
            raise FrameError("not a host to look up")
        (host,) = unpack_fields(payload[1:], 1)
        return cls(host)


class Report(NamedTuple):
    """How a delivery ended. `text` starts with its letter, K, Z or D."""

    delivery: int
    text: bytes

    def pack(self) -> bytes:
        """Return the frame; a text over the limit is cut."""
        return pack(b"R" + pack_fields(b"%d" % self.delivery, self.text[:REPORT_BYTES_MAX]))

    @classmethod
    def unpack(cls, payload: bytes) -> "Report":
        """Parse a frame's payload.

        Raises: FrameError: not a report.
        """
        if payload[:1] != b"R":
            raise FrameError("not a report")
        delivery, text = unpack_fields(payload[1:], 2)
        return cls(number(delivery), text)
