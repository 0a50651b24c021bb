"""POP3: sessions a second on maildirs of a thousand messages, ours beside Dovecot's.

As a program it is one client: `python -m bench.pop3 PORT NAME SESSIONS`.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.counters import tree_cpu_s
from bench.mailboxes import MESSAGES, PASSWORD, Mailboxes
from bench.values import BenchError

RETRIEVED: Final = 10
SESSIONS_WARM: Final = 3
"""The first visits list everything and write what both servers keep about a maildir."""
SECONDS_MAX: Final = 120.0
WAIT_S_MAX: Final = 30.0
LINES_END: Final = b"\r\n.\r\n"
ROOT: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One measurement: how many sessions, how long all of them took, and the server's CPU."""

    sessions: int
    seconds: float
    cpu_s: float

    @property
    def rate(self) -> float:
        """Sessions a second."""
        return self.sessions / self.seconds

    @property
    def cpu_ms(self) -> float:
        """CPU ms of the server for each session."""
        return 1000 * self.cpu_s / self.sessions


def read_all(port: int, pid: int, mailboxes: Mailboxes, each: int) -> Reading:
    """Have every mailbox read by a client of its own, all at once, `each` times.

    `pid`: the server's process above all others.
    Raises: BenchError: a session failed, or they don't end.
    """
    before = tree_cpu_s([pid])
    started = time.perf_counter()
    clients = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.pop3", str(port), name, str(each)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
        )
        for name in mailboxes.names
    ]
    _wait_for(clients)
    seconds = time.perf_counter() - started
    cpu_s = tree_cpu_s([pid]) - before
    return Reading(sessions=each * len(clients), seconds=seconds, cpu_s=cpu_s)


def _wait_for(clients: Sequence[subprocess.Popen[bytes]]) -> None:
    end = time.monotonic() + SECONDS_MAX
    try:
        for client in clients:
            _, errors = client.communicate(timeout=max(0.0, end - time.monotonic()))
            if client.returncode:
                reason = errors.decode("utf-8", "replace").strip()[-300:]
                raise BenchError(f"POP3: {reason or client.returncode}")
    except subprocess.TimeoutExpired:
        raise BenchError("POP3: the sessions do not end") from None
    finally:
        for client in clients:
            if client.poll() is None:
                client.kill()
            client.wait()


class Client:
    """One session after the other, each command after the answer to the one before."""

    def __init__(self, port: int, name: str) -> None:
        self._port = port
        self._name = name

    def session(self) -> None:
        """Log in, look at everything, read the newest messages.

        Raises: BenchError: the server said something else. OSError: no connection.
        """
        with socket.create_connection(("127.0.0.1", self._port), WAIT_S_MAX) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sock = sock
            self._expect(b"\r\n")
            self._ask(f"USER {self._name}")
            self._ask(f"PASS {PASSWORD}")
            self._ask("STAT")
            listed = self._ask("LIST", LINES_END)
            if listed.count(b"\r\n") != MESSAGES + 2:
                raise BenchError(f"{listed.count(bytes([10])) - 2} messages are listed")
            self._ask("UIDL", LINES_END)
            for number in range(MESSAGES - RETRIEVED + 1, MESSAGES + 1):
                self._ask(f"RETR {number}", LINES_END)
            self._ask("QUIT")

    def _ask(self, command: str, end: bytes = b"\r\n") -> bytes:
        self._sock.sendall(f"{command}\r\n".encode())
        return self._expect(end)

    def _expect(self, end: bytes) -> bytes:
        said = b""
        while not said.endswith(end):
            data = self._sock.recv(65536)
            if not data:
                raise BenchError(f"the server hangs up after {said[-200:]!r}")
            said += data
            if said.startswith(b"-ERR"):
                raise BenchError(said.decode("utf-8", "replace").strip())
        return said


def main(argv: Sequence[str]) -> int:
    """Be one client. Returns: 0, or 1 where a session failed."""
    client = Client(int(argv[0]), argv[1])
    try:
        for _ in range(int(argv[2])):
            client.session()
    except (BenchError, OSError) as trouble:
        print(trouble, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
