"""The resident qmail-popup, the real program, and clients that speak in bytes."""

import base64
import contextlib
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path

from tests.fakes.certificates import client_context, write_pem
from tests.fakes.door import WAIT_S_MAX
from tests.fakes.login_door import SECRET
from tests.programs.resident import WITHOUT_UVLOOP, ResidentProgram
from tests.programs.smtpd_world import make_home

PROGRAM = "import sys; from qmail.programs.popup import main; sys.exit(main(sys.argv[1:]))"

PLAIN = base64.b64encode(b"\0joe\0" + SECRET)


def make_pop3_home(folder: Path, **controls: str) -> Path:
    """A home with a certificate."""
    home = make_home(folder, **controls)
    write_pem(home / "control")
    return home


class Client:
    """One connection; with `context` it starts with TLS."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext | None = None) -> None:
        sock.settimeout(WAIT_S_MAX)
        self.sock = sock
        self._kept = b""
        if context is not None:
            self.start_tls(context)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_trouble: object) -> None:
        self.sock.close()

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        assert self._kept == b""
        self.sock = context.wrap_socket(self.sock, server_hostname="me.ex")

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(data)

    def line(self) -> bytes:
        """Return the next line without its end; b"" at the end of all."""
        while b"\r\n" not in self._kept:
            data = self.sock.recv(65536)
            if not data:
                found, self._kept = self._kept, b""
                return found
            self._kept += data
        found, _, self._kept = self._kept.partition(b"\r\n")
        return found

    def ask(self, command: bytes) -> bytes:
        """Send a command; return the first line of the answer."""
        self.send(command + b"\r\n")
        return self.line()

    def lines(self, command: bytes) -> list[bytes]:
        """Send a command with an answer of many lines; return those after the first."""
        assert self.ask(command).startswith(b"+OK")
        found = []
        while (line := self.line()) != b".":
            assert line
            found.append(line)
        return found

    def log_in(self, name: bytes = b"joe", secret: bytes = b"secret") -> bytes:
        """Say USER and PASS; return the answer."""
        assert self.ask(b"USER " + name).startswith(b"+OK")
        return self.ask(b"PASS " + secret)

    def rest(self) -> bytes:
        """Return everything up to the end of the connection."""
        found, self._kept = bytearray(self._kept), b""
        with contextlib.suppress(ConnectionResetError):
            while data := self.sock.recv(65536):
                found += data
        return bytes(found)


class Resident(ResidentProgram):
    """The resident server, with a port for pop3 and one for pop3s, chosen by the kernel."""

    def __init__(
        self, home: Path, *, without_uvloop: bool = False, environ: Mapping[str, str] | None = None
    ) -> None:
        self.clear = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.tls = socket.create_server(("127.0.0.1", 0), backlog=200)
        listeners = f"pop3:{self.clear.fileno()} pop3s:{self.tls.fileno()}"
        super().__init__(
            home,
            (WITHOUT_UVLOOP if without_uvloop else "") + PROGRAM,
            (self.clear, self.tls),
            {"QMAIL_LISTENERS": listeners, **(environ or {})},
        )

    @property
    def context(self) -> ssl.SSLContext:
        """What believes the server's certificate."""
        return client_context(self.home / "control/servercert.pem")

    def connect(self, *, source: str = "127.0.0.1") -> Client:
        """Connect to pop3, without waiting for the greeting."""
        where = self.clear.getsockname()
        return Client(socket.create_connection(where, WAIT_S_MAX, source_address=(source, 0)))

    def client(self, *, source: str = "127.0.0.1") -> Client:
        """Connect to pop3, and take the greeting."""
        client = self.connect(source=source)
        assert client.line().startswith(b"+OK ")
        return client

    def connect_tls(self, context: ssl.SSLContext | None = None) -> Client:
        """Connect to pop3s, without waiting for the greeting."""
        sock = socket.create_connection(self.tls.getsockname(), WAIT_S_MAX)
        return Client(sock, context or self.context)

    def tls_client(self) -> Client:
        """Connect to pop3s, and take the greeting."""
        client = self.connect_tls()
        assert client.line().startswith(b"+OK ")
        return client


def greeting(server: Resident) -> bytes:
    """Connect, and return the greeting."""
    with server.connect() as client:
        return client.line()
