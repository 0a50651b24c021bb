"""A child's side of a channel: several threads take frames and answer them, in any order.

One question that takes long, as one to a directory service or a slow hash does, holds nobody up.
"""

import contextlib
import os
import socket
import threading
from collections import deque
from collections.abc import Callable

from qmail.protocol.netstring import FrameReader

RECEIVE_BYTES = 65536

Reply = Callable[[bytes], bytes]
"""Takes the payload of a frame; returns the frames of its answer, b"" for none."""


class _Threads:
    """They take turns at reading; each answers what it took alone."""

    def __init__(self, sock: socket.socket, frame_bytes_max: int, reply: Reply) -> None:
        self._sock = sock
        self._reply = reply
        self._reader = FrameReader(frame_bytes_max)
        self._payloads: deque[bytes] = deque()
        self._reading = threading.Lock()
        self._writing = threading.Lock()

    def serve(self) -> None:
        """Answer until the parent hangs up."""
        while (payload := self._next()) is not None:
            frames = self._reply(payload)
            if frames:
                with self._writing, contextlib.suppress(OSError):
                    self._sock.sendall(frames)

    def serve_or_end(self) -> None:
        # The parent learns of a crash by the end of the process, not of a thread.
        try:
            self.serve()
        except BaseException:
            os._exit(111)

    def _next(self) -> bytes | None:
        with self._reading:
            while not self._payloads:
                # No limit on this wait: the parent's end closes with the parent.
                try:
                    data = self._sock.recv(RECEIVE_BYTES)
                except OSError:
                    data = b""
                if not data:
                    return None
                self._payloads.extend(self._reader.feed(data))
            return self._payloads.popleft()


def serve_answers(sock: socket.socket, frame_bytes_max: int, reply: Reply, *, threads: int) -> int:
    """Answer until the parent hangs up: the whole life of such a child.

    `reply` is called by several threads; whoever of them fails ends the process.
    """
    pool = _Threads(sock, frame_bytes_max, reply)
    # With fewer where the system allows no more.
    with contextlib.suppress(RuntimeError):
        for _ in range(threads - 1):
            threading.Thread(target=pool.serve_or_end, daemon=True).start()
    pool.serve()
    return 0
