"""The resident POP3 server up to the login: listening sockets, limits, one timer for all."""

import asyncio
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from qmail.edge.client_server import ClientServer
from qmail.edge.doors.login_line import LoginLine
from qmail.edge.log.lines import Log
from qmail.edge.pop3.connection import Pop3Connection
from qmail.protocol import pop3_replies as replies
from qmail.protocol.clients import ClientCounts
from qmail.protocol.login_door import Mechanism
from qmail.protocol.pop3 import Offer

SWEEP_S: Final = 1.0
CROWDED_S: Final = 10.0
"""With the server full, who has not logged in for so long makes room for who comes."""
GRACE_S: Final = 25.0
"""So long relayed sessions may go on after TERM; less than qmail-start waits."""
NEEDS_NO_TLS: Final = (Mechanism.SCRAM_SHA_256,)
"""Mechanisms that tell a listener nothing worth having."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pop3Settings:
    """What all connections share, from the control files."""

    host: bytes
    takes_clear: Callable[[str], bool]
    """Whether the client at this address may send its password without TLS."""
    sessions_max: int
    per_client_max: int
    """For each client's address (IPv6: network of 64 bits) but loopback; 0 is no limit."""
    timeout_s: int
    tls: ssl.SSLContext | None
    """None: there is no TLS."""


class Guesses(Protocol):
    """Slows who guesses passwords."""

    def hold(self, ip: str, name: bytes) -> float | None:
        """Return for how many seconds this login waits; None: refuse it."""
        ...

    def failed(self, ip: str, name: bytes) -> None:
        """Count a failure."""
        ...

    def succeeded(self, ip: str, name: bytes) -> None:
        """Remember that `name` logs in from there."""
        ...


class Pop3Server(ClientServer):
    """All clients of one process."""

    def __init__(self, settings: Pop3Settings, log: Log, guesses: Guesses) -> None:
        super().__init__(log)
        self.settings = settings
        self.guesses = guesses
        self.line: LoginLine
        self._connections: set[Pop3Connection] = set()
        self._before_login: dict[Pop3Connection, None] = {}
        """Who has not logged in yet, the oldest first."""
        self._clients = ClientCounts()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = False
        self._quiet: asyncio.Event = asyncio.Event()

    async def listen(self, sockets: Sequence[tuple[str, socket.socket]]) -> None:
        """Begin to accept clients. `sockets`: of which service each is, `pop3` or `pop3s`."""
        for service, sock in sockets:

            def make(service: str = service) -> Pop3Connection:
                return Pop3Connection(self, service)

            await self._accept_at(sock, make)
        self._sweep()

    # --- what a connection asks for -------------------------------------------------------------

    def offer(self, ip: str, *, has_tls: bool) -> Offer:
        """Return what a client may log in with now."""
        settings = self.settings
        takes_clear = has_tls or settings.takes_clear(ip)
        found = [one for one in self.line.mechanisms if takes_clear or one in NEEDS_NO_TLS]
        others = (Mechanism.USER, Mechanism.APOP)
        return Offer(
            has_user=Mechanism.USER in found,
            # The digest tells a listener as much as a hash of the password would.
            has_apop=Mechanism.APOP in self.line.mechanisms,
            mechanisms=tuple(one.value for one in found if one not in others),
            has_stls=settings.tls is not None,
            has_tls=has_tls,
        )

    def new_challenge(self) -> bytes:
        """Return a message id that nobody can foresee, for APOP (RFC 1939 7)."""
        seconds = int(time.time())
        return b"<%b.%d@%b>" % (secrets.token_hex(12).encode(), seconds, self.settings.host)

    def run(self, task: "asyncio.Task[None]") -> None:
        """Keep a task until it is done."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- clients --------------------------------------------------------------------------------

    def admit(self, connection: Pop3Connection) -> bool:
        """Count a new client in, where there is room."""
        settings, ip = self.settings, connection.ip
        if settings.per_client_max and self._clients.of(ip) >= settings.per_client_max:
            return False
        if len(self._connections) >= settings.sessions_max and not self._make_room():
            return False
        self._connections.add(connection)
        self._before_login[connection] = None
        self._clients.add(ip)
        return True

    def _make_room(self) -> bool:
        """Send away who is here without a login for the longest time, if that is long."""
        oldest = next(iter(self._before_login), None)
        if oldest is None or self.now() - oldest.since < CROWDED_S:
            return False
        oldest.send_away(replies.TOO_MANY_SESSIONS)
        self.forget(oldest)
        return True

    def has_logged_in(self, connection: Pop3Connection) -> None:
        """Learn that this client stays when room is wanted."""
        self._before_login.pop(connection, None)

    def forget(self, connection: Pop3Connection) -> None:
        """Count a client out, once."""
        if connection not in self._connections:
            return
        self._connections.remove(connection)
        self._before_login.pop(connection, None)
        self._clients.remove(connection.ip)
        self.given_away()

    def given_away(self) -> None:
        """Learn that one connection less is ours."""
        if self._is_stopping and not any(one.is_ours for one in self._connections):
            self._quiet.set()

    def _sweep(self) -> None:
        now = self.now()
        for connection in list(self._connections):
            connection.check(now)
        asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    # --- the end --------------------------------------------------------------------------------

    async def shut_down(self) -> None:
        """Accept nobody more, send away who has not logged in, let the sessions come to an end.

        Sessions that a process of their own holds without us are none of ours any more.
        """
        self._accept_no_more()
        self._is_stopping = True
        for connection in list(self._connections):
            connection.send_away(replies.SHUTTING_DOWN)
        left = [one for one in self._connections if one.is_ours]
        if left:
            try:
                await asyncio.wait_for(self._quiet.wait(), GRACE_S)
            except TimeoutError:
                left = [one for one in self._connections if one.is_ours]
                self.log_line(b"popup: %d clients cut off" % len(left))
                for connection in left:
                    connection.cut_off()
        self._end()
