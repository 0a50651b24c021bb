"""The resident SMTP server: listening sockets, limits, one timer for all.

The policy is the program's; the couriers carry messages to the queue.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final, Protocol

from qmail.edge.client_server import ClientServer
from qmail.edge.doors.courier import Courier
from qmail.edge.doors.verify_line import Asker
from qmail.edge.log.lines import Log
from qmail.edge.smtp.connection import SmtpConnection
from qmail.protocol.clients import ClientCounts
from qmail.protocol.reply import Reply
from qmail.protocol.smtp_server import MailFrom, RcptTo, SessionSettings
from qmail.protocol.verify_door import Verdict

SESSIONS_MAX: Final = 5000
SESSIONS_PER_CLIENT_MAX: Final = 200
"""For each address but loopback and those in control/relayclients."""
SWEEPS_PER_TIMEOUT: Final = 8
SWEEP_S_MIN: Final = 0.25
SWEEP_S_MAX: Final = 2.0
SHUTDOWN_S_MAX: Final = 5.0


class Clients(Protocol):
    """Knows who may relay."""

    def may_relay(self, ip: str) -> bool:
        """Say whether the client at `ip` may send to any domain."""
        ...


class Policy(Protocol):
    """The rules of the program, as the server uses them."""

    @property
    def session_settings(self) -> SessionSettings:
        """What all sessions share."""
        ...

    @property
    def host_name(self) -> bytes:
        """Name of this host in Received lines."""
        ...

    @property
    def timeout_s(self) -> int:
        """Longest wait for one command, or for one reply to be read."""
        ...

    @property
    def clients(self) -> Clients:
        """Who may relay."""
        ...

    @property
    def verifies(self) -> bool:
        """Whether a recipient that `judge` takes is to be verified."""
        ...

    def judge(self, event: MailFrom | RcptTo, relay_suffix: bytes | None) -> tuple[Reply, bytes]:
        """Return the answer to MAIL or RCPT, and the address that goes with it."""
        ...

    def verified(self, verdict: Verdict, relay_suffix: bytes | None) -> Reply:
        """Return the answer to a recipient of whom `verdict` is known."""
        ...


class Verifier(Protocol):
    """Knows whether a recipient exists, or finds it out."""

    def verdict(self, recipient: bytes, asker: Asker) -> Verdict | None:
        """Return what is known of `recipient`; None: `asker` is told later, and soon."""
        ...

    def sweep(self) -> None:
        """Give up what was asked too long ago."""
        ...


class Guesses(Protocol):
    """Counts unknown recipients."""

    def hold(self, ip: str, in_session: int, *, is_trusted: bool) -> float | None:
        """Count one more of the client at `ip`, its session's `in_session`th.

        Returns: the delay of the answer in seconds; None: the session ends.
        """
        ...


class SmtpServer(ClientServer):
    """All clients of one process."""

    def __init__(self, policy: Policy, log: Log, mail_date: Callable[[int], bytes]) -> None:
        super().__init__(log)
        self.policy = policy
        self.mail_date = mail_date
        self.courier: Courier
        self.verifier: Verifier | None = None
        """None: every recipient of a domain that is ours is taken."""
        self.guesses: Guesses
        self._connections: set[SmtpConnection] = set()
        self._clients = ClientCounts()
        self.sessions_max = SESSIONS_MAX
        self._all_gone: asyncio.Event = asyncio.Event()

    async def listen(self, sockets: list[socket.socket]) -> None:
        """Begin to accept clients."""
        for sock in sockets:
            await self._accept_at(sock, lambda: SmtpConnection(self))
        self._sweep()

    # --- clients --------------------------------------------------------------------------------

    def admit(self, connection: SmtpConnection, *, is_trusted: bool) -> bool:
        """Count a new client in, where there is room."""
        ip = connection.ip
        if len(self._connections) >= self.sessions_max:
            return False
        if not is_trusted and self._clients.of(ip) >= SESSIONS_PER_CLIENT_MAX:
            return False
        self._connections.add(connection)
        self._clients.add(ip)
        return True

    def forget(self, connection: SmtpConnection) -> bool:
        """Count a client out; False: it was never in."""
        if connection not in self._connections:
            return False
        self._connections.remove(connection)
        self._clients.remove(connection.ip)
        if not self._connections:
            self._all_gone.set()
        return True

    def _sweep(self) -> None:
        now = self.now()
        for connection in list(self._connections):
            connection.check(now)
        if self.verifier is not None:
            self.verifier.sweep()
        pause_s = self.policy.timeout_s / SWEEPS_PER_TIMEOUT
        pause_s = min(max(pause_s, SWEEP_S_MIN), SWEEP_S_MAX)
        asyncio.get_running_loop().call_later(pause_s, self._sweep)

    # --- the end --------------------------------------------------------------------------------

    async def shut_down(self) -> None:
        """Accept nobody more, let what waits for the queue be answered, end."""
        self._accept_no_more()
        self._all_gone.clear()
        for connection in list(self._connections):
            connection.shut_down()
        if self._connections:
            try:
                await asyncio.wait_for(self._all_gone.wait(), SHUTDOWN_S_MAX)
            except TimeoutError:
                self.log_line(b"smtpd: %d clients cut off" % len(self._connections))
        self._end()
