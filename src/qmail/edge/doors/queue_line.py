"""The resident server's line to qmail-queue: one connection for all messages, kept up.

While the line is down nothing begins; what was under way when it broke is answered with a temporary
failure. While it is full, clients are not read from: back-pressure.
"""

from collections.abc import Callable
from typing import Final

from qmail.edge.doors.courier import QUEUE_LOST, Owner
from qmail.edge.doors.line import DoorLine
from qmail.mail import Envelope, Result
from qmail.protocol.doors import MESSAGE_INLINE_MAX, Receipt, Submission
from qmail.protocol.exits import queue_result

RECEIPT_BYTES_MAX: Final = 4096


class LineParcel:
    """One message: kept until it is longer than one frame may be, then sent part by part."""

    __slots__ = ("_is_begun", "_is_finished", "_is_lost", "_kept", "_line", "_parts", "_result",
                 "owner", "size", "tag")  # fmt: skip

    def __init__(self, line: "QueueLine", tag: int, owner: Owner) -> None:
        self._line = line
        self._parts: list[bytes] = []
        self._kept = 0
        self._is_begun = False
        self._is_finished = False
        self._is_lost = False
        self._result: Result | None = QUEUE_LOST
        self.tag = tag
        self.owner = owner
        self.size = 0

    @property
    def is_full(self) -> bool:
        """True while the line can't take more."""
        if self._line.is_full:
            self._line.wait_for_room(self.owner)
            return True
        return False

    def add(self, part: bytes) -> None:
        """Add the next part of the message."""
        self.size += len(part)
        if self._is_lost:
            return
        self._parts.append(part)
        self._kept += len(part)
        if self._kept > MESSAGE_INLINE_MAX:
            self._send_parts()

    def _send_parts(self) -> None:
        line = self._line
        if not self._is_begun:
            if not line.is_up:
                self.end(QUEUE_LOST, 0)
                return
            self._is_begun = True
            line.in_flight[self.tag] = self
            line.send(Submission(b"O", self.tag, b"", b"", self.owner.trace_id).pack())
        data = b"".join(self._parts)
        self._parts.clear()
        self._kept = 0
        for at in range(0, len(data), MESSAGE_INLINE_MAX):
            part = data[at : at + MESSAGE_INLINE_MAX]
            line.send(Submission(b"C", self.tag, b"", part).pack())

    def finish(self, envelope: Envelope) -> None:
        """Hand the message over; the owner is told the outcome later."""
        self._is_finished = True
        line = self._line
        if self._is_lost or not line.is_up:
            line.in_flight.pop(self.tag, None)
            line.later(lambda: self.owner.on_queued(self._result, 0))
            return
        packed = envelope.pack()
        if self._is_begun:
            self._send_parts()
            line.send(Submission(b"E", self.tag, packed, b"").pack())
        else:
            line.in_flight[self.tag] = self
            text, trace_id = b"".join(self._parts), self.owner.trace_id
            line.send(Submission(b"M", self.tag, packed, text, trace_id).pack())
            self._parts.clear()

    def give_up(self) -> None:
        """Forget the message; the service is told where it has seen any of it."""
        self._parts.clear()
        if self._line.in_flight.pop(self.tag, None) is not None and self._is_begun:
            self._line.send(Submission(b"X", self.tag, b"", b"").pack())
        self._is_lost = True

    def end(self, result: Result | None, qp: int) -> None:
        """Take the outcome from the line; it may come before the message is at its end."""
        if self._is_finished:
            self.owner.on_queued(result, qp)
        else:
            self._is_lost = True
            self._result = result or QUEUE_LOST
            self._parts.clear()


class QueueLine(DoorLine):
    """The connection to run/queue."""

    DOOR = "queue"
    FRAME_BYTES_MAX = RECEIPT_BYTES_MAX

    def __init__(self, home: str, peer_uids: frozenset[int], on_work: Callable[[], None]) -> None:
        super().__init__(home, peer_uids, on_work)
        self._waiting: list[Owner] = []
        self._next_tag = 0
        self.in_flight: dict[int, LineParcel] = {}

    def begin(self, owner: Owner) -> LineParcel | None:
        """Begin a message; None while the line is down."""
        if self._transport is None:
            return None
        self._next_tag += 1
        return LineParcel(self, self._next_tag, owner)

    def wait_for_room(self, owner: Owner) -> None:
        """Tell `owner` when the line takes more again."""
        self._waiting.append(owner)

    # --- the connection -------------------------------------------------------------------------

    def on_payload(self, payload: bytes) -> None:
        """Give a receipt to the parcel it belongs to. Raises: FrameError: it is none."""
        receipt = Receipt.unpack(payload)
        parcel = self.in_flight.pop(receipt.tag, None)
        if parcel is not None:
            result = queue_result(receipt.code, receipt.text) if receipt.code else None
            parcel.end(result, receipt.qp)

    def on_down(self) -> None:
        """End all that was under way."""
        in_flight, self.in_flight = self.in_flight, {}
        for parcel in in_flight.values():
            parcel.end(QUEUE_LOST, 0)

    def resume_writing(self) -> None:
        """Let all who wait go on."""
        super().resume_writing()
        waiting, self._waiting = self._waiting, []
        for owner in waiting:
            owner.on_room()
