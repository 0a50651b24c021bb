"""A home with messages, the real qmail-rspawn on it, and a caller at its door."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tests.fakes.homes import IS_ROOT, UID, as_owner

from qmail.protocol.doors import REPORT_FRAME_MAX, Job, Report, Slots
from qmail.protocol.netstring import FrameReader

WAIT_S = 60.0
START = """
import os, sys
import uvloop, encodings.idna
from qmail.programs.rspawn import main
if os.getuid() == 0:
    # Only now: the programs may lie where no other account can read them.
    os.setgroups([]); os.setgid({uid}); os.setuid({uid})
sys.exit(main(sys.argv[1:]))
"""


def make_home(home: Path, **controls: str) -> None:
    """Make what qmail-rspawn needs of a home."""
    for name in ("control", "run", "queue/mess/1"):
        (home / name).mkdir(parents=True)
    write_controls(home, me="me.ex\n", **controls)
    give_away(home)


def give_away(home: Path) -> None:
    """Make the account of the home the owner of everything in it."""
    if IS_ROOT:
        os.chown(home, UID, UID)
        for path in home.rglob("*"):
            os.chown(path, UID, UID)


def write_controls(home: Path, **controls: str) -> None:
    for name, text in controls.items():
        (home / "control" / name).write_text(text)


def slots_said(sock: socket.socket) -> int:
    """Read what a spawner says first, and nothing that follows; 0 from one that hung up."""
    reader = FrameReader(REPORT_FRAME_MAX)
    with contextlib.suppress(ConnectionResetError):
        while data := sock.recv(1):
            for payload in reader.feed(data):
                return Slots.unpack(payload).count
    return 0


class Rspawn:
    """The program, started on `home`, and one connection to it."""

    def __init__(self, home: Path, environ: Mapping[str, str] | None = None) -> None:
        self.home = home
        self._environ = {**os.environ, "QMAIL_HOME": str(home), **(environ or {})}
        self._reader = FrameReader(REPORT_FRAME_MAX)
        self._reports: dict[int, bytes] = {}
        self.slots = 0
        """How much it said to do at once."""

    def __enter__(self) -> "Rspawn":
        door = socket.socket(socket.AF_UNIX)
        path = str(self.home / "run/rspawn")
        door.bind(path)
        door.listen(8)
        os.chmod(path, 0o666)
        # Before it starts: one that refuses to may be gone, and its door with it, by the time.
        self.sock = self._knock()
        with door:
            self._environ["QMAIL_DOOR"] = str(door.fileno())
            self.process = subprocess.Popen(
                [sys.executable, "-c", START.format(uid=UID)],
                env=self._environ,
                pass_fds=[door.fileno()],
                stderr=subprocess.PIPE,
            )
        self.slots = slots_said(self.sock)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.sock.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(WAIT_S)
        if self.process.stderr is not None:
            self.process.stderr.close()

    def call(self, *, as_uid: bool = True) -> socket.socket:
        """Knock at the door, and wait until it is said how much can be done at once."""
        if not as_uid:
            return self._connect()
        sock = self._knock()
        self.slots = slots_said(sock)
        return sock

    def _knock(self) -> socket.socket:
        with as_owner():
            return self._connect()

    def _connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(WAIT_S)
        sock.connect(str(self.home / "run/rspawn"))
        return sock

    def put_message(self, number: int, message: bytes) -> bytes:
        """Put a message into the queue; return how a job names it."""
        path = self.home / f"queue/mess/1/{number}"
        path.write_bytes(message)
        if IS_ROOT:
            os.chown(path, UID, UID)
        return b"1/%d" % number

    def order(self, *jobs: Job) -> list[bytes]:
        """Order deliveries; return their reports in the order of the jobs."""
        self.sock.sendall(b"".join(job.pack() for job in jobs))
        return [self.report(job.delivery) for job in jobs]

    def report(self, delivery: int) -> bytes:
        """Wait for the report of one delivery."""
        while delivery not in self._reports:
            data = self.sock.recv(65536)
            assert data, "qmail-rspawn hung up"
            for payload in self._reader.feed(data):
                report = Report.unpack(payload)
                assert report.delivery not in self._reports
                self._reports[report.delivery] = report.text
        return self._reports.pop(delivery)

    def signal_and_wait(self, number: signal.Signals) -> int:
        """Send a signal; return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(WAIT_S)

    def said(self) -> str:
        """Return all of descriptor 2, after the end."""
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()
