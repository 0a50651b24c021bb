"""One conversation on two descriptors, blocking, with a time limit for everything.

For programs that serve one client, as a TCP server starts them. `_socket` has what is needed; the
module `socket` on it takes longer to import than some of them work. Source: spec/smtp.md A.1, E.
"""

from __future__ import annotations

import _socket
import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Self

RECEIVE_BYTES: Final = 65536
LINGER_S: Final = 5.0


class GoneError(Exception):
    """The client is gone, or too slow: nothing more can be said to it."""


class Wire:
    """What a client sends comes from `fd_in`, what is said to it goes to `fd_out`."""

    def __init__(self, timeout_s: float, fd_in: int = 0, fd_out: int = 1) -> None:
        self._timeout_s = timeout_s
        self._fds = fd_in, fd_out
        self._deadline = 0.0
        self._in = select.poll()
        self._in.register(fd_in, select.POLLIN)
        self._out = select.poll()
        self._out.register(fd_out, select.POLLOUT)
        self._was_blocking = os.get_blocking(fd_in), os.get_blocking(fd_out)

    def __enter__(self) -> Self:
        for fd in self._fds:
            os.set_blocking(fd, False)
        return self

    def __exit__(self, *_trouble: object) -> None:
        # The open files may be shared with whoever started us.
        for fd, was_blocking in zip(self._fds, self._was_blocking, strict=True):
            os.set_blocking(fd, was_blocking)

    def hasten(self) -> None:
        """Have every write sent at once: else the end of a long one waits for the client's kernel.

        TCP keeps a small rest back until what was sent before it is acknowledged, 40 ms and more.
        """
        try:
            sock = _socket.socket(fileno=os.dup(self._fds[1]))
            try:
                sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            finally:
                sock.close()
        except OSError:
            # A pipe, or a socket of another kind.
            return

    def begin_wait(self) -> None:
        """Give the client the whole timeout again: it has sent a whole command."""
        self._deadline = time.monotonic() + self._timeout_s

    def read(self, limit: float | None = None) -> bytes:
        """Wait for bytes until the deadline, or `limit`; b"" is the end of input.

        Raises: TimeoutError: too late.
        """
        deadline = self._deadline if limit is None else limit
        while True:
            wait_s = min(deadline - time.monotonic(), self._timeout_s)
            if wait_s <= 0 or not self._in.poll(wait_s * 1000):
                raise TimeoutError
            try:
                return self._receive()
            except BlockingIOError:
                continue
            except OSError:
                return b""

    def _receive(self) -> bytes:
        return os.read(self._fds[0], RECEIVE_BYTES)

    def finish(self) -> None:
        """End after the last reply: linger, where the client has sent what nobody will read."""
        if self._in.poll(0):
            self.linger()

    def linger(self) -> None:
        """Let the client read the last reply: end our side, read on without looking.

        Closing with unread input would make the kernel throw the reply away.
        """
        try:
            sock = _socket.socket(fileno=os.dup(self._fds[1]))
            try:
                sock.shutdown(_socket.SHUT_WR)
            finally:
                sock.close()
        except OSError:
            # A pipe, which loses nothing, or the client is gone already.
            return
        limit = time.monotonic() + LINGER_S
        try:
            while self.read(limit):
                pass
        except TimeoutError:
            return

    def write(self, data: bytes) -> None:
        """Send everything.

        Raises: GoneError: the client does not read, or is gone.
        """
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._fds[1], rest) :]
            except BlockingIOError:
                if not self._out.poll(self._timeout_s * 1000):
                    raise GoneError from None
            except OSError as gone:
                raise GoneError from gone
