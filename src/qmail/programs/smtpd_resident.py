"""The resident qmail-smtpd: all clients in one event loop, one connection to the queue."""

import asyncio
import os
import signal
import socket
from collections.abc import Sequence
from typing import Final

from qmail.core.dates import mail_date
from qmail.core.settings.controls import ControlError, control_reader
from qmail.core.smtp.guessing import Guesses
from qmail.core.smtp.policy import SmtpPolicy, read_policy
from qmail.core.smtp.relay import OwnAddresses, more_hosts_of
from qmail.edge.doors.queue_line import QueueLine
from qmail.edge.doors.verify_line import VerifyLine
from qmail.edge.log.lines import Log, complain
from qmail.edge.machine.accounts import accounts_of
from qmail.edge.machine.descriptors import raise_descriptor_limit, room
from qmail.edge.machine.event_loop import inherit, run_to_end
from qmail.edge.smtp.server import SESSIONS_MAX, SmtpServer
from qmail.edge.submit.program_line import ProgramCourier

NAME: Final = "qmail-smtpd"
LOG_FD: Final = 1


class Resident:
    """The server, its line to the queue and its signals."""

    def __init__(
        self, home: str, policy: SmtpPolicy, own_addresses: OwnAddresses, descriptors: int
    ) -> None:
        self._home = home
        self._descriptors = descriptors
        self._own_addresses = own_addresses
        self._server = SmtpServer(policy, Log(LOG_FD), mail_date)
        self._server.sessions_max = self._room_for_sessions(descriptors)
        self._stop = asyncio.Event()
        self._verifier: VerifyLine

    async def serve(self, sockets: list[socket.socket]) -> None:
        """Serve until TERM."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._read_again)
        tasks = [self._find_verifier(), *self._find_queue()]
        await self._server.listen(sockets)
        await self._stop.wait()
        await self._server.shut_down()
        for task in tasks:
            task.cancel()

    @staticmethod
    def _room_for_sessions(descriptors: int) -> int:
        # Half is for the programs, where each message is handed to one.
        count = room(descriptors // 2 if "QMAILQUEUE" in os.environ else descriptors)
        if count < SESSIONS_MAX:
            complain(
                NAME,
                f"warning: no more than {count} clients at once instead of {SESSIONS_MAX}:"
                " see 'qmail check'",
            )
        return min(count, SESSIONS_MAX)

    def _find_verifier(self) -> "asyncio.Task[None]":
        server = self._server
        server.guesses = Guesses(server.now)
        peers = frozenset({0, accounts_of(self._home)["qmailp"].uid})
        line = VerifyLine(self._home, peers, server.has_work, server.now)
        server.verifier = self._verifier = line
        server.at_end_of_turn(line.flush)
        return asyncio.get_running_loop().create_task(line.keep_up())

    def _find_queue(self) -> "list[asyncio.Task[None]]":
        server = self._server
        program = os.environ.get("QMAILQUEUE")
        if program is not None:
            server.courier = ProgramCourier(program, self._descriptors)
            return []
        peers = frozenset({0, accounts_of(self._home)["qmailq"].uid})
        line = QueueLine(self._home, peers, server.has_work)
        server.courier = line
        server.at_end_of_turn(line.flush)
        return [asyncio.get_running_loop().create_task(line.keep_up())]

    def _read_again(self) -> None:
        """Read the control files again; with a bad one, go on with the old settings."""
        try:
            self._server.policy = read_policy(
                control_reader(self._home),
                os.environ,
                self._own_addresses,
                more_hosts_of(self._home),
            )
        except (ControlError, OSError) as trouble:
            complain(NAME, f"{trouble}: going on with the old settings")
            self._server.log_line(b"smtpd: controls not read, going on with the old ones")
        else:
            self._verifier.forget()
            self._server.log_line(b"smtpd: controls read")


def run(home: str, policy: SmtpPolicy, own_addresses: OwnAddresses, fds: Sequence[int]) -> int:
    """Serve the listening sockets `fds` until TERM; return the exit code."""
    descriptors = raise_descriptor_limit()

    async def serve() -> None:
        resident = Resident(home, policy, own_addresses, descriptors)
        await resident.serve([inherit(fd) for fd in fds])

    return run_to_end(NAME, serve)
