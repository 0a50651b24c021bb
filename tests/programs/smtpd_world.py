"""A home for tests of qmail-smtpd, the real program, and a client that speaks in bytes."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from tests.fakes.door import WAIT_S_MAX, wait_until
from tests.programs.resident import WITHOUT_UVLOOP, ResidentProgram, environment

PROGRAM = "import sys; from qmail.programs.smtpd import main; sys.exit(main(sys.argv[1:]))"
NOBODY = 65534


def make_home(folder: Path, **controls: str) -> Path:
    """Make a home with these control files; no queue but the folder that says whose it is."""
    home = folder / "home"
    for name in ("control", "run", "queue"):
        (home / name).mkdir(parents=True)
    for name, text in ({"me": "mx.example\n", "rcpthosts": "ours.example\n"} | controls).items():
        (home / "control" / name).write_text(text)
    if os.getuid() == 0:
        # A queue of root's own is refused: somebody has forgotten 'qmail init'.
        os.chown(home / "queue", NOBODY, NOBODY)
    return home


class Client:
    """One connection; what the server says is kept in `said`."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(WAIT_S_MAX)
        self.sock = sock
        self.said = b""

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_trouble: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(data)

    def reply(self) -> bytes:
        """Return the next reply, all its lines; b"" at the end."""
        start = len(self.said)
        while True:
            lines = self.said[start:].split(b"\r\n")
            if len(lines) > 1 and lines[-1] == b"" and lines[-2][3:4] == b" ":
                return self.said[start:]
            byte = self.sock.recv(1)
            if not byte:
                return self.said[start:]
            self.said += byte

    def ask(self, *commands: bytes) -> list[int]:
        """Send commands one after the other, each after the reply to the one before."""
        codes = []
        for command in commands:
            self.send(command + b"\r\n")
            codes.append(int(self.reply()[:3] or 0))
        return codes

    def rest(self) -> bytes:
        """Return everything up to the end of the connection."""
        start = len(self.said)
        with contextlib.suppress(ConnectionResetError):
            while data := self.sock.recv(65536):
                self.said += data
        return self.said[start:]


def takes_data(client: Client) -> bool:
    """Say whether the server has its queue; if so, this sends an empty message."""
    *_, code = client.ask(b"MAIL FROM:<a@b>", b"RCPT TO:<probe@ours.example>", b"DATA")
    return code == 354 and client.ask(b".") == [250]


class Resident(ResidentProgram):
    """The resident server, with one listening socket at a port of the kernel's choice."""

    def __init__(
        self, home: Path, *, without_uvloop: bool = False, environ: Mapping[str, str] | None = None
    ) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        super().__init__(
            home,
            (WITHOUT_UVLOOP if without_uvloop else "") + PROGRAM,
            (self.listener,),
            {"QMAIL_LISTENERS": str(self.listener.fileno()), **(environ or {})},
        )

    def connect(self) -> Client:
        """Connect, without waiting for the greeting."""
        return Client(socket.create_connection(self.listener.getsockname()))

    def client(self) -> Client:
        """Connect, and take the greeting."""
        client = self.connect()
        assert client.reply().startswith(b"220 ")
        return client

    def ready_client(self) -> Client:
        """Connect, and wait until the server has the queue's door open."""
        client = self.client()
        wait_until(lambda: takes_data(client))
        return client


def converse(
    home: Path, script: bytes, environ: Mapping[str, str] | None = None, *, ends: bool = True
) -> tuple[int, bytes, bytes]:
    """Run the classic server with `script` on a socket as descriptors 0 and 1.

    Returns: exit code, what it said, what it wrote to descriptor 2.
    """
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=theirs.fileno(),
        stdout=theirs.fileno(),
        stderr=subprocess.PIPE,
        env=environment(home, **(environ or {})),
    )
    theirs.close()
    with Client(ours) as client:
        sender = threading.Thread(target=client.send, args=(script,))
        sender.start()
        if ends:
            sender.join(WAIT_S_MAX)
            ours.shutdown(socket.SHUT_WR)
        said = client.rest()
        sender.join(WAIT_S_MAX)
    _, errors = process.communicate(timeout=WAIT_S_MAX)
    return process.returncode, said, errors


def codes(said: bytes) -> list[int]:
    """Return the codes of all replies."""
    return [int(line[:3]) for line in said.splitlines() if line[3:4] == b" "]
