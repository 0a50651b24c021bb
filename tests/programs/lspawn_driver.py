"""A home with fake queue files, the real qmail-lspawn on it, and a caller at its door."""

import contextlib
import functools
import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.programs.rspawn_driver import slots_said

from qmail.edge.machine.accounts import Accounts, one_account
from qmail.protocol.doors import REPORT_FRAME_MAX, Job, Report
from qmail.protocol.netstring import FrameReader
from qmail.protocol.verify_door import Question

SPARE_UID = 54321
WAIT_S = 60.0
START = "import sys; from qmail.programs.lspawn import main; sys.exit(main(sys.argv[1:]))"


def ordinary_accounts() -> Accounts:
    """Say who runs a home of one account here: we, or under root somebody without a name."""
    uid = os.getuid() or SPARE_UID
    return one_account(uid, os.getgid() or SPARE_UID)


@functools.cache
def can_read_the_programs(uid: int, gid: int) -> bool:
    """Say whether another account can run what is tested here."""
    is_root = os.getuid() == 0
    try:
        done = subprocess.run(
            [sys.executable, "-c", "import qmail.programs.lspawn"],
            check=False,
            cwd="/",
            user=uid if is_root else None,
            group=gid if is_root else None,
            extra_groups=[] if is_root else None,
        )
    except OSError:
        return False
    return done.returncode == 0


class LspawnDriver:
    """The program, started on `home`, and one connection to it."""

    def __init__(self, home: Path, accounts: Accounts, default_delivery: str) -> None:
        self.home = home
        self.accounts = accounts
        self._default_delivery = default_delivery
        self._queue_files = 0
        self._deliveries = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.sock: socket.socket | None = None
        self._reader = FrameReader(REPORT_FRAME_MAX)
        self._reports: dict[int, bytes] = {}
        self.slots = 0
        """How much it said to do at once."""

    def make_home(self) -> None:
        """Make what qmail-lspawn needs of a home."""
        self.home.chmod(0o755)
        for name in ("queue", "queue/mess", "queue/mess/0", "run", "alias"):
            folder = self.home / name
            folder.mkdir()
            account = self.accounts["alias" if name == "alias" else "qmailq"]
            self.give(folder, account.name)
        self.make_maildir(self.home / "alias" / "Maildir")

    def give(self, path: Path, name: str) -> None:
        """Let the account `name` own `path`."""
        account = self.accounts[name]
        os.chown(path, account.uid, account.gid)

    def make_maildir(self, folder: Path) -> None:
        """Make a maildir of alias."""
        for path in (folder, folder / "tmp", folder / "new", folder / "cur"):
            path.mkdir(mode=0o700)
            self.give(path, "alias")

    def write(self, path: str, text: str | bytes, mode: int = 0o600) -> Path:
        """Write a file of alias below its home."""
        file = self.home / "alias" / path
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        file.chmod(mode)
        self.give(file, "alias")
        return file

    def mail(self, folder: str = "Maildir") -> list[bytes]:
        """Return what is in new/ of a maildir of alias."""
        new = self.home / "alias" / folder / "new"
        assert list((new.parent / "tmp").iterdir()) == []
        return sorted(file.read_bytes() for file in new.iterdir())

    def start(self, environ: dict[str, str] | None = None) -> None:
        """Start the program with its door open, and call."""
        doors = [self._listen("lspawn"), self._listen("mailbox")]
        becomes = os.getuid() == 0 and not self.accounts.separate
        account = self.accounts["alias"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, self._default_delivery],
            env={
                **os.environ,
                "QMAIL_HOME": str(self.home),
                "QMAIL_DOOR": " ".join(str(door.fileno()) for door in doors),
                **(environ or {}),
            },
            pass_fds=[door.fileno() for door in doors],
            cwd="/",
            user=account.uid if becomes else None,
            group=account.gid if becomes else None,
            extra_groups=[] if becomes else None,
        )
        for door in doors:
            door.close()
        self.sock = self.call(self.accounts["qmails"].uid)

    def _listen(self, name: str) -> socket.socket:
        """Bind a door that the program inherits, as qmail-start does it."""
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(self.home / "run" / name))
        sock.listen(16)
        os.chmod(self.home / "run" / name, 0o666)
        return sock

    def call(self, uid: int, name: str = "lspawn") -> socket.socket:
        """Connect as `uid`; as qmail-send, wait until it is said how much can be done at once."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(WAIT_S)
        with acting_as(uid):
            sock.connect(str(self.home / "run" / name))
        if name == "lspawn" and uid == self.accounts["qmails"].uid:
            self.slots = slots_said(sock)
        return sock

    def look(self, *recipients: str) -> list[bytes]:
        """Ask whether addresses have a mailbox; return the reports in the same order."""
        reader = FrameReader(REPORT_FRAME_MAX)
        reports: dict[int, bytes] = {}
        with self.call(self.accounts["qmailp"].uid, "mailbox") as sock:
            questions = [Question(tag, name.encode()) for tag, name in enumerate(recipients)]
            sock.sendall(b"".join(question.pack() for question in questions))
            while len(reports) < len(recipients):
                data = sock.recv(65536)
                assert data, "qmail-lspawn hung up"
                for report in map(Report.unpack, reader.feed(data)):
                    assert report.delivery not in reports
                    reports[report.delivery] = report.text
        return [reports[tag] for tag in range(len(recipients))]

    def queue(self, message: bytes) -> bytes:
        """Put a message where the queue would; return its name."""
        self._queue_files += 1
        name = f"0/{self._queue_files}"
        path = self.home / "queue" / "mess" / name
        path.write_bytes(message)
        self.give(path, "qmailq")
        return name.encode()

    def send(self, *jobs: Job) -> None:
        """Send jobs as they are."""
        assert self.sock is not None
        self.sock.sendall(b"".join(job.pack() for job in jobs))

    def order(self, recipient: str, message: bytes, sender: bytes = b"s@example.org") -> int:
        """Send one job; return its delivery number."""
        self._deliveries += 1
        self.send(Job(self._deliveries, self.queue(message), sender, recipient.encode()))
        return self._deliveries

    def report(self, delivery: int) -> bytes:
        """Wait for the report on a delivery."""
        assert self.sock is not None
        while delivery not in self._reports:
            data = self.sock.recv(65536)
            assert data, "qmail-lspawn hung up"
            for payload in self._reader.feed(data):
                report = Report.unpack(payload)
                assert report.delivery not in self._reports
                self._reports[report.delivery] = report.text
        return self._reports.pop(delivery)

    def deliver(
        self,
        recipient: str,
        message: bytes = b"Subject: x\n\nbody\n",
        sender: bytes = b"s@example.org",
    ) -> bytes:
        """Make one delivery; return its report."""
        return self.report(self.order(recipient, message, sender))

    def children(self) -> list[int]:
        """Return the process ids of its children."""
        assert self.process is not None
        pid = self.process.pid
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def stop(self) -> int:
        """Send TERM; return the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)

    def close(self) -> None:
        """End everything, however far it is."""
        if self.sock is not None:
            self.sock.close()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(WAIT_S)


@contextlib.contextmanager
def acting_as(uid: int) -> Iterator[None]:
    """Be `uid` to those whom we call, where we can."""
    if os.getuid() != 0:
        yield
        return
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


def person() -> pwd.struct_passwd | None:
    """Return some account of a person that has its own home, None where there is none."""
    for entry in pwd.getpwall():
        with contextlib.suppress(OSError):
            if 1000 <= entry.pw_uid < 65534 and os.stat(entry.pw_dir).st_uid == entry.pw_uid:
                return entry
    return None


@contextlib.contextmanager
def running_lspawn(folder: Path, accounts: Accounts) -> Iterator[LspawnDriver]:
    """Run the program in a home of its own."""
    driver = LspawnDriver(folder, accounts, "./Maildir/")
    driver.make_home()
    driver.start()
    try:
        yield driver
    finally:
        driver.close()
