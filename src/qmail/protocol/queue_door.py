"""The frames at run/queue: part of `qmail.protocol.doors`, which describes and exports them.

They stand alone so that sendmail and qmail-inject need not import the other doors.
"""

from __future__ import annotations

from qmail.protocol.netstring import FrameError, pack, pack_fields, unpack_fields
from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MESSAGE_INLINE_MAX: Final = 65536
"""Messages up to this many bytes cross the queue's door in one frame."""
FRAME_BYTES_MAX: Final = 8 * 1024 * 1024
"""Longest frame at run/queue: an envelope of many recipients is the longest that occurs."""


def number(field: bytes, *, digits_max: int = 19) -> int:
    """Parse a decimal field.

    Raises: FrameError: empty, not all digits, or longer than `digits_max`.
    """
    if not field.isdigit() or len(field) > digits_max:
        raise FrameError("not a number")
    return int(field)


class Submission(Record):
    """One frame from a submitter to qmail-queue; `kind` is one of M, O, C, E, X (see doors.py)."""

    kind: bytes
    tag: int
    envelope: bytes = b""
    data: bytes = b""
    trace_id: bytes = b""
    """The id that the message has already; b"": qmail-queue makes one."""

    def pack(self) -> bytes:
        """Return the frame."""
        kind, number, envelope, data, trace_id = self
        tag = b"%d" % number
        if kind == b"M":
            # Nearly every message crosses in this frame: `pack_fields`, written out.
            head = b"M%d:%b,%d:%b,%d:%b," % (
                len(tag),
                tag,
                len(trace_id),
                trace_id,
                len(envelope),
                envelope,
            )
            return pack(b"%b%d:%b," % (head, len(data), data))
        fields = [tag]
        if kind == b"E":
            fields.append(envelope)
        elif kind == b"C":
            fields.append(data)
        elif kind == b"O":
            fields.append(trace_id)
        return pack(kind + pack_fields(*fields))

    @classmethod
    def unpack(cls, payload: bytes) -> Submission:
        """Parse a frame's payload.

        Raises: FrameError: not a submission.
        """
        kind = payload[:1]
        if kind == b"M":
            tag, trace_id, envelope, data = unpack_fields(payload[1:], 4)
            return cls(kind, number(tag), envelope, data, trace_id)
        if kind == b"C":
            tag, data = unpack_fields(payload[1:], 2)
            return cls(kind, number(tag), b"", data)
        if kind == b"E":
            tag, envelope = unpack_fields(payload[1:], 2)
            return cls(kind, number(tag), envelope)
        if kind == b"O":
            tag, trace_id = unpack_fields(payload[1:], 2)
            return cls(kind, number(tag), b"", b"", trace_id)
        if kind == b"X":
            (tag,) = unpack_fields(payload[1:], 1)
            return cls(kind, number(tag))
        raise FrameError("not a submission")


class Receipt(Record):
    """qmail-queue's answer to one submission: its exit code, qp, a text for exit 82, and its id."""

    tag: int
    code: int
    qp: int
    text: bytes = b""
    trace_id: bytes = b""

    def pack(self) -> bytes:
        """Return the frame."""
        tag, code, qp = b"%d" % self.tag, b"%d" % self.code, b"%d" % self.qp
        return pack(b"R" + pack_fields(tag, code, qp, self.text, self.trace_id))

    @classmethod
    def unpack(cls, payload: bytes) -> Receipt:
        """Parse a frame's payload.

        Raises: FrameError: not a receipt.
        """
        if payload[:1] != b"R":
            raise FrameError("not a receipt")
        tag, code, qp, text, trace_id = unpack_fields(payload[1:], 5)
        return cls(number(tag), number(code, digits_max=3), number(qp), text, trace_id)
