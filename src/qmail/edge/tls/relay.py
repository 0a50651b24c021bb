"""TLS in front of a conversation that knows nothing of it: one process more, blocking, bounded.

    client  <-- TLS -->  relay  <-- socket -->  descriptors 0 and 1 of the conversation

For commands that serve one client. Both directions end by themselves: what the client said last
still reaches the conversation, and what that says last still reaches the client.
"""

import contextlib
import os
import pwd
import select
import socket
import ssl
import time
from typing import Final

from qmail.edge.machine.accounts import become
from qmail.edge.machine.standard import say
from qmail.edge.tls.session import HANDSHAKE_S_MAX, ServerTls, TlsError

PART_BYTES: Final = 65536
IDLE_S_MAX: Final = 1800.0
"""Longer than any wait of the conversations behind it, which know better what to say."""
FAREWELL_S_MAX: Final = 5.0
ACCOUNT: Final = "qmaild"
NOBODY: Final = 65534


def put_tls_in_front(context: ssl.SSLContext, name: str) -> None:
    """Have a process of its own speak TLS on descriptors 0 and 1; they become its plain end.

    `name`: whose trouble it is, for descriptor 2. Raises: OSError: no process to be had.
    """
    inner, outer = socket.socketpair()
    with inner, outer:
        if os.fork() == 0:
            try:
                inner.close()
                _give_up_root()
                Relay(ServerTls(context), outer).run()
            except TlsError as wrong:
                say(f"{name}: TLS: {wrong}")
            except Exception as trouble:
                say(f"{name}: TLS: {trouble!r}")
            finally:
                os._exit(0)
        os.dup2(inner.fileno(), 0)
        os.dup2(inner.fileno(), 1)


def _give_up_root() -> None:
    """Whoever reads the network needs no rights; the certificate has been read."""
    if os.geteuid() != 0:
        return
    try:
        account = pwd.getpwnam(ACCOUNT)
        uid, gid = account.pw_uid, account.pw_gid
    except KeyError:
        uid = gid = NOBODY
    become(uid, gid)


class Relay:
    """One client on descriptors 0 and 1, and the conversation on `inner`."""

    def __init__(self, tls: ServerTls, inner: socket.socket) -> None:
        self._tls = tls
        self._inner = inner
        self._to_client = b""
        self._to_inner = b""
        self._client_has_ended = False
        self._inner_has_ended = False
        self._inner_is_deaf = False
        """The conversation takes nothing more, or was told that nothing comes."""
        for fd in (0, 1, inner.fileno()):
            os.set_blocking(fd, False)

    def run(self) -> None:
        """Carry bytes until the conversation ends or nothing happens any more.

        Raises: TlsError: the client does not speak TLS, or broke it.
        """
        deadline = time.monotonic() + HANDSHAKE_S_MAX
        while not (self._inner_has_ended and not self._to_client):
            is_new = not self._tls.is_established
            wait_s = deadline - time.monotonic() if is_new else IDLE_S_MAX
            ready = self._wait(wait_s)
            if not ready or (is_new and self._tls.has_ended):
                return
            try:
                self._turn(ready)
                self._to_client += self._tls.bytes_to_send()
            except (BrokenPipeError, ConnectionResetError):
                return
            except TlsError:
                with contextlib.suppress(OSError):
                    os.write(1, self._to_client + self._tls.bytes_to_send())
                raise
        with contextlib.suppress(OSError):
            self._farewell()

    def _wait(self, wait_s: float) -> dict[int, int]:
        """Wait for whatever can go on; nothing in time: an empty dictionary."""
        poll = select.poll()
        if not self._client_has_ended and len(self._to_inner) < PART_BYTES:
            poll.register(0, select.POLLIN)
        if self._to_client:
            poll.register(1, select.POLLOUT)
        inner = 0
        if not self._inner_has_ended and len(self._to_client) < PART_BYTES:
            inner |= select.POLLIN
        if self._to_inner:
            inner |= select.POLLOUT
        if inner:
            poll.register(self._inner, inner)
        return dict(poll.poll(max(wait_s, 0) * 1000))

    def _turn(self, ready: dict[int, int]) -> None:
        inner = ready.get(self._inner.fileno(), 0)
        if 0 in ready:
            self._from_client()
        if inner & ~select.POLLOUT:
            self._from_inner()
        if inner & select.POLLOUT:
            self._send_inner()
        self._read_on()
        if 1 in ready and self._to_client:
            self._to_client = self._to_client[os.write(1, self._to_client) :]

    def _from_client(self) -> None:
        data = os.read(0, PART_BYTES)
        self._client_has_ended = not data
        self._tls.feed(data)

    def _from_inner(self) -> None:
        try:
            data = self._inner.recv(PART_BYTES)
        except ConnectionResetError:
            # Its end, too: it has left something unread.
            data = b""
        if data:
            self._tls.write(data)
            return
        self._inner_has_ended = self._inner_is_deaf = True
        self._to_inner = b""
        self._tls.end()

    def _send_inner(self) -> None:
        try:
            self._to_inner = self._to_inner[self._inner.send(self._to_inner) :]
        except BrokenPipeError:
            # What it has said can still be read.
            self._inner_is_deaf = True
            self._to_inner = b""

    def _read_on(self) -> None:
        """Take what the client has said, and tell the conversation of its end."""
        while len(self._to_inner) < PART_BYTES:
            data = self._tls.read()
            if not data:
                break
            if not self._inner_is_deaf:
                self._to_inner += data
        if self._tls.has_ended and not self._to_inner and not self._inner_is_deaf:
            self._inner_is_deaf = True
            self._inner.shutdown(socket.SHUT_WR)

    def _farewell(self) -> None:
        """Let the client read the end before the connection is closed on unread input."""
        limit = time.monotonic() + FAREWELL_S_MAX
        with socket.socket(fileno=os.dup(1)) as sock:
            sock.shutdown(socket.SHUT_WR)
        while (left_s := limit - time.monotonic()) > 0:
            poll = select.poll()
            poll.register(0, select.POLLIN)
            if not poll.poll(left_s * 1000) or not os.read(0, PART_BYTES):
                return
