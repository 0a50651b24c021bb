"""The question whether mail for an address would be taken, and what its answer means.

run/verify, from qmail-smtpd to qmail-verify, about an address as the client gave it, and
run/mailbox, from qmail-verify to qmail-lspawn, about one that has been routed to this host:
    V tag, recipient
    answered by R tag, report (`doors.Report`): what a delivery would report, as far as it can be
    known before there is a message
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from qmail.protocol.doors import JOB_FRAME_MAX, number
from qmail.protocol.netstring import FrameError, pack, pack_fields, unpack_fields

QUESTION_FRAME_MAX: Final = JOB_FRAME_MAX
KNOWN_REPORT: Final = b"K"
NO_SUCH_MAILBOX_CODE: Final = b"(#5.1.1)"


class Verdict(Enum):
    """What is known of an address."""

    KNOWN = auto()
    """A delivery would be tried, here or elsewhere."""
    UNKNOWN = auto()
    """There is no such mailbox: a delivery would fail for good."""
    UNSURE = auto()
    """There is no telling now."""


def verdict_of(report: bytes) -> Verdict:
    """Say what a report means. Only the one that says it in so many words makes UNKNOWN of it."""
    if report[:1] == b"K":
        return Verdict.KNOWN
    if report[:1] == b"D" and NO_SUCH_MAILBOX_CODE in report:
        return Verdict.UNKNOWN
    return Verdict.UNSURE


@dataclass(frozen=True, slots=True)
class Question:
    """Would mail for `recipient` be taken? `tag` comes back with the answer."""

    tag: int
    recipient: bytes

    def pack(self) -> bytes:
        """Return the frame."""
        return pack(b"V" + pack_fields(b"%d" % self.tag, self.recipient))

    @classmethod
    def unpack(cls, payload: bytes) -> "Question":
        """Parse a frame's payload.

        Raises: FrameError: not a question.
        """
        if payload[:1] != b"V":
            raise FrameError("not a question")
        tag, recipient = unpack_fields(payload[1:], 2)
        return cls(number(tag), recipient)
