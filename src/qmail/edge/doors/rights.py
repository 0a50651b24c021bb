"""An inner door through which descriptors come as well (SCM_RIGHTS)."""

import contextlib
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Final

from qmail.edge.doors.station import RECEIVE_BYTES, Door, Station
from qmail.protocol.netstring import FrameError

RIGHTS_BYTES: Final = socket.CMSG_SPACE(16 * 4)
WAITING_MAX: Final = 64
"""So many descriptors may have come without the frames that name them."""


class RightsDoor(Door):
    """Descriptors come in the order of the frames that want one: `take_descriptor`."""

    __slots__ = ("_fds",)

    def __init__(
        self,
        station: Station,
        sock: socket.socket,
        frame_bytes_max: int,
        *,
        on_frames: Callable[[Door, list[bytes]], None],
        on_close: Callable[[Door], None],
    ) -> None:
        self._fds: deque[int] = deque()
        super().__init__(station, sock, frame_bytes_max, on_frames=on_frames, on_close=on_close)

    def take_descriptor(self) -> int:
        """Return the descriptor that came first. Raises: FrameError: none came."""
        if not self._fds:
            raise FrameError("a frame without its descriptor")
        return self._fds.popleft()

    def receive(self) -> bytes:
        """Take bytes and descriptors. Raises: OSError: as recvmsg, or too many descriptors."""
        data, ancillary, flags, _ = self._sock.recvmsg(
            RECEIVE_BYTES, RIGHTS_BYTES, socket.MSG_CMSG_CLOEXEC
        )
        for level, kind, rights in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self._fds.extend(struct.unpack(f"{len(rights) // 4}i", rights))
        if flags & socket.MSG_CTRUNC or len(self._fds) > WAITING_MAX:
            # What was lost can't be told from what is to come.
            raise OSError("too many descriptors at a time")
        return data

    def close(self) -> None:
        """Close the connection, and what came through it and was not taken."""
        super().close()
        while self._fds:
            with contextlib.suppress(OSError):
                os.close(self._fds.popleft())
