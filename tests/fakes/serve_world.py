"""The resident SMTP server with a clock of the test's own, and no sockets."""

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from qmail.core.dates import mail_date
from qmail.core.smtp.policy import read_policy
from qmail.edge.doors.queue_line import QueueLine
from qmail.edge.log.lines import Log
from qmail.edge.smtp.connection import SmtpConnection
from qmail.edge.smtp.server import SmtpServer

CONTROLS = {
    "me": b"mx.example\n",
    "rcpthosts": b"ours.example\n",
    "relayclients": b"198.51.100.0/24\n",
    "timeoutsmtpd": b"100\n",
}


class FakeTransport(asyncio.Transport):
    """Keeps what is written, and which side has closed."""

    def __init__(self, ip: str = "192.0.2.1") -> None:
        super().__init__({"peername": (ip, 1234)})
        self.written = b""
        self.ended = ""
        self.reads = True

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def write_eof(self) -> None:
        self.ended = "our side"

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"

    def is_closing(self) -> bool:
        return self.ended in ("closed", "aborted")

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        del high, low


class World:
    """A server with a clock of the test's own, and no sockets."""

    def __init__(self, controls: Mapping[str, bytes] = CONTROLS) -> None:
        policy = read_policy(controls.get, {}, frozenset)
        self.log_fd, log = os.pipe()
        os.set_blocking(self.log_fd, False)
        self._log = log
        self.server = SmtpServer(policy, Log(log), mail_date)
        self.time_s = 1000.0
        self.server.now = lambda: self.time_s
        self.line = QueueLine("/nowhere", frozenset(), self.server.has_work)
        self.server.courier = self.line
        self.door = FakeTransport()

    def close(self) -> None:
        os.close(self.log_fd)
        os.close(self._log)

    def queue_up(self) -> None:
        self.line.connection_made(self.door)

    def connect(self, ip: str = "192.0.2.1") -> tuple[SmtpConnection, FakeTransport]:
        transport = FakeTransport(ip)
        connection = SmtpConnection(self.server)
        connection.connection_made(transport)
        return connection, transport
