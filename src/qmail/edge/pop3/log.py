"""The log lines of one client of the POP3 server: who has logged in, who was refused.

Names are told, what proves them never is. protocol/log_record.py has the forms.
"""

from typing import Protocol

from qmail.protocol.log_tail import packed_tail
from qmail.protocol.logtext import safe
from qmail.protocol.pop3_replies import Reply


class LogServer(Protocol):
    """What writes the lines."""

    is_detailed: bool

    def now(self) -> float:
        """Return the time of a monotonic clock, in seconds."""
        ...

    def new_id(self) -> bytes:
        """Return an id for a connection."""
        ...

    def log_line(self, text: bytes) -> None:
        """Write a line."""
        ...


class Pop3Log:
    """Writes what happens to one client."""

    __slots__ = ("_id", "_logged_in_at", "_server", "_service", "ip", "mechanism", "name")

    def __init__(self, server: LogServer, service: str) -> None:
        self._server = server
        self._service = service.encode()
        self._id = server.new_id() if server.is_detailed else b""
        self._logged_in_at: float | None = None
        self.ip = ""
        self.name = b""
        self.mechanism = b""

    def _write(self, event: bytes, what: bytes) -> None:
        tail = packed_tail(session=self._id) if self._server.is_detailed else b""
        self._server.log_line(b"popup: %b %b%b%b" % (event, self.ip.encode(), what, tail))

    def refused(self, reply: Reply) -> None:
        """Say that a connection was refused or ended from this side, and why."""
        self._write(b"refuse", b": %b" % _text(reply))

    def denied(self, reply: Reply) -> None:
        """Say that a login was refused, and why."""
        self._write(
            b"denied",
            b" <%b> %b %b: %b" % (safe(self.name), self._service, self.mechanism, _text(reply)),
        )

    def logged_in(self, tls: bytes) -> None:
        """Say who has logged in, and how; `tls`: version and cipher, or `clear`."""
        self._logged_in_at = self._server.now()
        self._write(
            b"login", b" <%b> %b %b %b" % (safe(self.name), self._service, self.mechanism, tls)
        )

    def ended(self) -> None:
        """Say that the session of who has logged in is over; once."""
        if self._logged_in_at is not None:
            seconds = int(self._server.now() - self._logged_in_at)
            self._logged_in_at = None
            self._write(b"logout", b" <%b> seconds %d" % (safe(self.name), seconds))

    def no_tls(self, why: str) -> None:
        """Say that TLS did not come about, or broke."""
        self._write(b"tls", b": %b" % safe(why.encode(errors="replace")).replace(b"_", b" "))


def _text(reply: Reply) -> bytes:
    return reply.wire.removesuffix(b"\r\n")
