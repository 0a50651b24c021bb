"""A conversation on two descriptors, with a time limit for every read and write. Blocking.

A client that tcpclient starts reads descriptor 6 and writes 7, a server under tcpserver 0 and 1.
"""

import contextlib
import os
import select
import socket
import time
from typing import Final, NamedTuple

RECEIVE_BYTES: Final = 65536


class WireError(Exception):
    """The other side is gone, or too slow: nothing more can be said to it."""


class WireTimeoutError(WireError):
    """It was too slow."""


class Limits(NamedTuple):
    """The longest waits, in seconds."""

    read_s: float
    write_s: float


class TimedWire:
    """One connection."""

    def __init__(self, read_fd: int, write_fd: int, limits: Limits) -> None:
        self._fds = read_fd, write_fd
        self._limits = limits
        self._in = select.poll()
        self._in.register(read_fd, select.POLLIN)
        self._out = select.poll()
        self._out.register(write_fd, select.POLLOUT)
        self._was_blocking: list[bool] = []

    def __enter__(self) -> "TimedWire":
        self._was_blocking = [os.get_blocking(fd) for fd in self._fds]
        for fd in self._fds:
            os.set_blocking(fd, False)
        return self

    def __exit__(self, *_trouble: object) -> None:
        # The open files may be shared with whoever started us.
        for fd, blocking in zip(self._fds, self._was_blocking, strict=True):
            os.set_blocking(fd, blocking)

    def is_readable(self) -> bool:
        """Say whether something can be read without waiting."""
        return bool(self._in.poll(0))

    def read(self, deadline: float | None = None) -> bytes:
        """Wait for bytes, no longer than until `deadline` (monotonic clock).

        Raises: WireError: nothing came in time, or nothing more will come.
        """
        while True:
            wait_s = self._limits.read_s
            if deadline is not None:
                wait_s = min(wait_s, deadline - time.monotonic())
            if wait_s <= 0 or not self._in.poll(wait_s * 1000):
                raise WireTimeoutError("network read error: timed out")
            try:
                data = os.read(self._fds[0], RECEIVE_BYTES)
            except BlockingIOError:
                continue
            except OSError as gone:
                raise WireError(f"network read error: {reason(gone)}") from None
            if not data:
                raise WireError("network read error: end of file")
            return data

    def linger(self, wait_s: float) -> None:
        """Let the other side read our last words: end our side, read on without looking.

        Closing with unread input would make the kernel throw those words away.
        """
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._fds[1])) as sock:
            sock.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + wait_s
        with contextlib.suppress(WireError):
            while True:
                self.read(deadline)

    def write(self, data: bytes) -> None:
        """Send everything.

        Raises: WireError: the other side does not read, or is gone.
        """
        rest = memoryview(data)
        while rest:
            if not self._out.poll(self._limits.write_s * 1000):
                raise WireTimeoutError("network write error: timed out")
            try:
                rest = rest[os.write(self._fds[1], rest) :]
            except BlockingIOError:
                continue
            except OSError as gone:
                raise WireError(f"network write error: {reason(gone)}") from None


def reason(trouble: OSError) -> str:
    """Return what the system says about an error."""
    return (trouble.strerror or str(trouble)).lower()
