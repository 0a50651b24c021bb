"""A line from an asyncio program to an inner door: one connection for everybody, kept up.

Frames of one turn of the event loop are written with one call.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final, cast

from qmail.edge.doors.doorway import door_path, short_path
from qmail.edge.doors.station import peer_of
from qmail.protocol.netstring import FrameError, FrameReader

CALL_AGAIN_S: Final = 1.0
CALL_S_MAX: Final = 10.0
SEND_BUFFER_BYTES: Final = 2 * 1024 * 1024
WAITING_BYTES_MAX: Final = 1024 * 1024
"""With more than this unwritten the line is full: whoever uses it waits."""


class DoorLine(asyncio.Protocol):
    """The connection to one door; a subclass says what is sent and what comes back."""

    DOOR: str
    FRAME_BYTES_MAX: int

    def __init__(self, home: str, peer_uids: frozenset[int], on_work: Callable[[], None]) -> None:
        self._home = home
        self._peer_uids = peer_uids
        self._on_work = on_work
        """Called when there is something that `flush` should write at the end of this turn."""
        self._transport: asyncio.Transport | None = None
        self._lost: asyncio.Future[None] | None = None
        self._reader = FrameReader(self.FRAME_BYTES_MAX)
        self._frames: list[bytes] = []
        self.is_full = False

    @property
    def is_up(self) -> bool:
        """True while connected."""
        return self._transport is not None

    def send(self, frame: bytes) -> None:
        """Add a frame to what the end of this turn writes."""
        self._frames.append(frame)
        self._on_work()

    def later(self, callback: Callable[[], None]) -> None:
        """Call back in the next turn of the loop."""
        asyncio.get_running_loop().call_soon(callback)

    def flush(self) -> None:
        """Write the frames of this turn."""
        if self._frames:
            data = b"".join(self._frames) if len(self._frames) > 1 else self._frames[0]
            self._frames.clear()
            if self._transport is not None:
                self._transport.write(data)

    # --- what a subclass adds -------------------------------------------------------------------

    def on_up(self) -> None:
        """Begin with an empty line."""

    def on_payload(self, payload: bytes) -> None:
        """Take one frame's payload. Raises: FrameError: the line is closed."""
        raise FrameError(f"{payload[:1]!r} at run/{self.DOOR}")

    def on_down(self) -> None:
        """End all that was under way."""

    def on_refused(self, trouble: OSError) -> None:
        """Learn that there is no connection to be had now; it is tried again."""

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
            path = short_path(door_path(self._home, self.DOOR))
            await asyncio.get_running_loop().sock_connect(sock, path)
            self._check_peer(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        except OSError as trouble:
            sock.close()
            self.on_refused(trouble)
            raise
        except BaseException:
            sock.close()
            raise
        return sock

    def _check_peer(self, sock: socket.socket) -> None:
        _, uid = peer_of(sock)
        if uid not in self._peer_uids:
            raise ConnectionAbortedError(f"uid {uid} listens at run/{self.DOOR}")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with an empty line."""
        # Not isinstance: uvloop's transports have the methods and not the class.
        transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=WAITING_BYTES_MAX)
        self._transport = transport
        self._reader = FrameReader(self.FRAME_BYTES_MAX)
        self._frames.clear()
        self.on_up()

    def data_received(self, data: bytes) -> None:
        """Cut what came into frames."""
        try:
            for payload in self._reader.feed(data):
                self.on_payload(payload)
        except FrameError:
            # A peer that breaks the framing is not believed any more.
            self.hang_up()

    def hang_up(self) -> None:
        """Close the connection, at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End all that was under way."""
        del exc
        self._transport = None
        self._frames.clear()
        self.on_down()
        self.resume_writing()
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(None)

    def pause_writing(self) -> None:
        """Stop taking more: too much is unwritten."""
        self.is_full = True

    def resume_writing(self) -> None:
        """Take more again."""
        self.is_full = False
