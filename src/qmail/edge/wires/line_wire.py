"""A wire that takes one line at a time, so that what comes behind it is there for another program.

Nothing is read beyond a line's end: from a socket it is looked at first, from anything else it is
taken byte by byte.
"""

from __future__ import annotations

import os
import socket

from qmail.edge.wires.wire import Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

LOOK_BYTES: Final = 4096


class LineWire(Wire):
    """Descriptors 0 and 1. `read` returns a line with its end, or a part of one."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(timeout_s)
        self._sock: socket.socket | None = None
        try:
            self._sock = socket.socket(fileno=os.dup(0))
        except OSError:
            # A pipe, or a terminal.
            return

    def __exit__(self, *trouble: object) -> None:
        super().__exit__(*trouble)
        if self._sock is not None:
            self._sock.close()

    def _receive(self) -> bytes:
        if self._sock is None:
            return os.read(0, 1)
        seen = self._sock.recv(LOOK_BYTES, socket.MSG_PEEK)
        return self._sock.recv(seen.find(b"\n") + 1 or len(seen)) if seen else b""
