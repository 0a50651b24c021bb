"""The resident part of qmail-popup: wires the POP3 server to its settings and to qmail-pspawn."""

import asyncio
import os
import signal
import socket
import ssl
from collections.abc import Sequence
from typing import Final

from qmail.core.login.guessing import LoginGuesses
from qmail.core.settings.controls import ControlError, control_reader, load
from qmail.core.settings.pop3 import Plaintext, PopupControls
from qmail.edge.doors.login_line import LoginLine
from qmail.edge.log.lines import Log, complain
from qmail.edge.machine.accounts import accounts_of
from qmail.edge.machine.descriptors import descriptor_limit, raise_descriptor_limit, room
from qmail.edge.machine.event_loop import inherit, run_to_end
from qmail.edge.pop3.server import Pop3Server, Pop3Settings
from qmail.edge.tls.certificate import CERTIFICATE, certificate_files
from qmail.edge.tls.session import TlsError, server_context
from qmail.protocol.clients import is_loopback
from qmail.protocol.exits import Exit

NAME: Final = "qmail-popup"
LOG_FD: Final = 1
PER_SESSION: Final = 4
"""The client, our end of a pair, and for a moment the other end or a copy of the client's."""
SERVICES: Final = ("pop3", "pop3s")

Ports = Sequence[tuple[str, int]]
"""Of each listening socket: its service and its descriptor."""


def read_ports(text: str) -> Ports | None:
    """Parse QMAIL_LISTENERS: `SERVICE:DESCRIPTOR` words. None: something else."""
    found = []
    for word in text.split():
        service, _, number = word.partition(":")
        if service not in SERVICES or not number.isdigit():
            return None
        found.append((service, int(number)))
    return found or None


def read_settings(home: str) -> Pop3Settings:
    """Read the control files, and the certificate if there is a usable one.

    Raises: ControlError: a bad line. OSError: a file is there and can't be read.
    """
    controls = load(PopupControls, control_reader(home))
    rules = {
        Plaintext.NO: lambda _ip: False,
        Plaintext.LOOPBACK: is_loopback,
        Plaintext.YES: lambda _ip: True,
    }
    return Pop3Settings(
        host=controls.me or b"localhost",
        takes_clear=rules[controls.plaintextauth],
        sessions_max=min(controls.concurrencypop3, room(descriptor_limit(), PER_SESSION)),
        per_client_max=controls.concurrencypop3client,
        timeout_s=controls.timeoutpop3,
        tls=_read_certificate(home),
    )


def _read_certificate(home: str) -> ssl.SSLContext | None:
    """Return TLS, None where there is no certificate or none that can be used: then it is said."""
    files = certificate_files(home)
    if files is None:
        complain(NAME, f"control/{CERTIFICATE} is missing: no TLS")
        return None
    try:
        return server_context(*files)
    except TlsError as wrong:
        complain(NAME, f"warning: {wrong}: no TLS; run 'qmail check'")
        return None


class Resident:
    """The server, its line to qmail-pspawn and its signals."""

    def __init__(self, home: str, settings: Pop3Settings) -> None:
        self._home = home
        loop = asyncio.get_running_loop()
        self._server = Pop3Server(settings, Log(LOG_FD), LoginGuesses(loop.time))
        peers = frozenset({0, accounts_of(home)["qmailp"].uid})
        self._server.line = LoginLine(home, peers, self._server.has_work)
        self._server.at_end_of_turn(self._server.line.flush)
        self._stop = asyncio.Event()

    async def serve(self, sockets: Sequence[tuple[str, socket.socket]]) -> None:
        """Serve until TERM."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._read_again)
        line = loop.create_task(self._server.line.keep_up())
        # Who comes meanwhile waits in the backlog: CAPA is to tell the truth from the first on.
        await self._server.line.wait_for_offer()
        await self._server.listen(sockets)
        await self._stop.wait()
        await self._server.shut_down()
        line.cancel()

    def _read_again(self) -> None:
        """Read control files and certificate again; with a bad one, go on with the old settings.

        Connections that have TLS keep theirs.
        """
        try:
            self._server.settings = read_settings(self._home)
        except (ControlError, OSError) as trouble:
            complain(NAME, f"{trouble}: going on with the old settings")
            self._server.log_line(b"popup: controls not read, going on with the old ones")
        else:
            self._server.log_line(b"popup: controls read")


def run(home: str, listeners: str) -> int:
    """Serve the listening sockets that `listeners` names until TERM; return the exit code."""
    ports = read_ports(listeners)
    if ports is None:
        complain(NAME, "fatal: QMAIL_LISTENERS is not a list of services and descriptors")
        return Exit.TEMPORARY
    raise_descriptor_limit()
    try:
        os.chdir(home)
        settings = read_settings(home)
    except ControlError as bad:
        complain(NAME, f"fatal: {bad}")
        return Exit.TEMPORARY
    except OSError as trouble:
        complain(NAME, f"fatal: {trouble.filename or home}: {trouble.strerror}")
        return Exit.TEMPORARY

    async def serve() -> None:
        await Resident(home, settings).serve([(name, inherit(fd)) for name, fd in ports])

    return run_to_end(NAME, serve)
