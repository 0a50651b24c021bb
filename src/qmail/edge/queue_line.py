"""The resident server's line to qmail-queue: one connection for all messages, kept up.

Frames of one turn of the event loop are written with one call. While the line is down nothing
begins; what was under way when it broke is answered with a temporary failure.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final, cast

from qmail.edge.courier import QUEUE_LOST, Owner
from qmail.edge.doorway import door_path, short_path
from qmail.edge.station import peer_of
from qmail.mail import Envelope, Result
from qmail.protocol.doors import MESSAGE_INLINE_MAX, Receipt, Submission
from qmail.protocol.exits import queue_result
from qmail.protocol.netstring import FrameError, FrameReader

CALL_AGAIN_S: Final = 1.0
CALL_S_MAX: Final = 10.0
RECEIPT_BYTES_MAX: Final = 4096
SEND_BUFFER_BYTES: Final = 2 * 1024 * 1024
WAITING_BYTES_MAX: Final = 1024 * 1024
"""With more than this unwritten, clients are not read from: back-pressure."""


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
            line.send(Submission(b"O", self.tag, b"", b"").pack())
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
            line.send(Submission(b"M", self.tag, packed, b"".join(self._parts)).pack())
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


class QueueLine(asyncio.Protocol):
    """The connection to run/queue."""

    def __init__(self, home: str, peer_uids: frozenset[int], on_work: Callable[[], None]) -> None:
        self._home = home
        self._peer_uids = peer_uids
        self._on_work = on_work
        """Called when there is something that `flush` should write at the end of this turn."""
        self._transport: asyncio.Transport | None = None
        self._lost: asyncio.Future[None] | None = None
        self._reader = FrameReader(RECEIPT_BYTES_MAX)
        self._frames: list[bytes] = []
        self._waiting: list[Owner] = []
        self._next_tag = 0
        self.in_flight: dict[int, LineParcel] = {}
        self.is_full = False

    @property
    def is_up(self) -> bool:
        """True while qmail-queue is connected."""
        return self._transport is not None

    def begin(self, owner: Owner) -> LineParcel | None:
        """Begin a message; None while the line is down."""
        if self._transport is None:
            return None
        self._next_tag += 1
        return LineParcel(self, self._next_tag, owner)

    def send(self, frame: bytes) -> None:
        """Add a frame to what the end of this turn writes."""
        self._frames.append(frame)
        self._on_work()

    def later(self, callback: Callable[[], None]) -> None:
        """Call back in the next turn of the loop."""
        asyncio.get_running_loop().call_soon(callback)

    def wait_for_room(self, owner: Owner) -> None:
        """Tell `owner` when the line takes more again."""
        self._waiting.append(owner)

    def flush(self) -> None:
        """Write the frames of this turn."""
        if self._frames:
            data = b"".join(self._frames) if len(self._frames) > 1 else self._frames[0]
            self._frames.clear()
            if self._transport is not None:
                self._transport.write(data)

    # --- the connection -------------------------------------------------------------------------

    async def keep_up(self) -> None:
        """Connect, and again whenever the connection is lost: at most once a second, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            self._lost = loop.create_future()
            with contextlib.suppress(OSError, TimeoutError):
                sock = await asyncio.wait_for(self._call(), CALL_S_MAX)
                await loop.create_unix_connection(lambda: self, sock=sock)
                await self._lost
            await asyncio.sleep(CALL_AGAIN_S)

    async def _call(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            path = short_path(door_path(self._home, "queue"))
            await asyncio.get_running_loop().sock_connect(sock, path)
            self._check_peer(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        except BaseException:
            sock.close()
            raise
        return sock

    def _check_peer(self, sock: socket.socket) -> None:
        _, uid = peer_of(sock)
        if uid not in self._peer_uids:
            raise PermissionError(f"uid {uid} listens at the queue's door")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with an empty line."""
        # Not isinstance: uvloop's transports have the methods and not the class.
        transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=WAITING_BYTES_MAX)
        self._transport = transport
        self._reader = FrameReader(RECEIPT_BYTES_MAX)
        self._frames.clear()

    def data_received(self, data: bytes) -> None:
        """Give each receipt to the parcel it belongs to."""
        try:
            for payload in self._reader.feed(data):
                receipt = Receipt.unpack(payload)
                parcel = self.in_flight.pop(receipt.tag, None)
                if parcel is not None:
                    result = queue_result(receipt.code, receipt.text) if receipt.code else None
                    parcel.end(result, receipt.qp)
        except FrameError:
            # A peer that breaks the framing is not believed any more.
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End all that was under way."""
        del exc
        self._transport = None
        self._frames.clear()
        in_flight, self.in_flight = self.in_flight, {}
        for parcel in in_flight.values():
            parcel.end(QUEUE_LOST, 0)
        self.resume_writing()
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(None)

    def pause_writing(self) -> None:
        """Stop taking parts: too much is unwritten."""
        self.is_full = True

    def resume_writing(self) -> None:
        """Let all who wait go on."""
        self.is_full = False
        waiting, self._waiting = self._waiting, []
        for owner in waiting:
            owner.on_room()
