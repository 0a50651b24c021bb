"""The resident POP3 server with a clock of the test's own, and no sockets but the clients' own."""

import asyncio
import contextlib
import os
import socket
from typing import Any

from tests.fakes.serve_world import FakeTransport

from qmail.core.login.guessing import LoginGuesses
from qmail.edge.doors.login_line import LoginLine
from qmail.edge.log.lines import Log
from qmail.edge.pop3.connection import Pop3Connection
from qmail.edge.pop3.server import Pop3Server, Pop3Settings
from qmail.protocol.clients import is_loopback
from qmail.protocol.login_door import Call, unpack_call
from qmail.protocol.netstring import FrameReader


class ClientTransport(FakeTransport):
    """A client's side of a connection, with a real socket to be given away."""

    def __init__(self, ip: str) -> None:
        super().__init__(ip)
        self._extra = {"peername": (ip, 1234)}
        self.unsent = 0
        self.sock, self.client = socket.socketpair()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.sock if name == "socket" else self._extra.get(name, default)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    @property
    def lines(self) -> list[bytes]:
        """What the client was told so far."""
        return self.written.split(b"\r\n")[:-1]


class Pop3World:
    """A server, and the other end of its line to qmail-pspawn."""

    def __init__(self, **settings: Any) -> None:
        self.log_fd, self._log = os.pipe()
        os.set_blocking(self.log_fd, False)
        self.time_s = 1000.0
        self.settings = {
            "host": b"me.ex",
            "takes_clear": is_loopback,
            "sessions_max": 500,
            "per_client_max": 50,
            "timeout_s": 1200,
            "tls": None,
            **settings,
        }
        made = Pop3Settings(**self.settings)
        self.server = Pop3Server(made, Log(self._log), LoginGuesses(lambda: self.time_s))
        self.server.now = lambda: self.time_s
        self.server.line = LoginLine("/nowhere", frozenset(), self.server.has_work)
        self.server.at_end_of_turn(self.server.line.flush)
        ours, self.door = socket.socketpair()
        ours.setblocking(False)
        self.door.setblocking(False)
        self.server.line._begin_with(ours)
        self._reader = FrameReader(100000)
        self.fds: list[int] = []
        self._transports: list[ClientTransport] = []

    def close(self) -> None:
        """Close everything."""
        self.server.line.hang_up()
        self.door.close()
        for transport in self._transports:
            transport.sock.close()
            transport.client.close()
        for fd in (self.log_fd, self._log, *self.fds):
            os.close(fd)

    def connect(
        self, ip: str = "127.0.0.1", service: str = "pop3"
    ) -> tuple[Pop3Connection, ClientTransport]:
        """Let a client come."""
        transport = ClientTransport(ip)
        self._transports.append(transport)
        connection = Pop3Connection(self.server, service)
        connection.connection_made(transport)
        return connection, transport

    def heard(self) -> list[Call]:
        """Return what qmail-pspawn was told since the last time."""
        self.server.line.flush()
        calls: list[Call] = []
        # One call returns what came with one descriptor, and no more.
        with contextlib.suppress(BlockingIOError):
            while True:
                data, fds, _, _ = socket.recv_fds(self.door, 100000, 16)
                assert data, "the line was hung up"
                self.fds += fds
                calls += map(unpack_call, self._reader.feed(data))
        return calls

    def log(self) -> list[str]:
        """Return the log lines since the last time."""
        self.server._end_turn()
        try:
            return os.read(self.log_fd, 100000).decode().splitlines()
        except BlockingIOError:
            return []

    def later(self, seconds: float) -> None:
        """Let time go by, and have the server look at its clients."""
        self.time_s += seconds
        for connection in list(self.server._connections):
            connection.check(self.time_s)


async def settle() -> None:
    """Let what is ready happen."""
    for _ in range(10):
        await asyncio.sleep(0)
