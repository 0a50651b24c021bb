"""The suite with POP3, really started in a home of its own, and mailboxes with known messages."""

import os
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TypedDict

import pytest
from tests.fakes.homes import (
    GID,
    IS_ROOT,
    UID,
    free_port,
    others_can_run_the_programs,
)

from qmail.edge.machine.accounts import MissingAccountError, separate_accounts

HOST = "localhost"
"""Its certificate is for this name, by which clients connect."""
WAIT_S = 60.0
PASSWORD = "se cret\u00fc"
"""With a blank, and a letter that is two bytes."""
VIRTUAL = 54398
"""Who owns the mail where the programs have separate accounts."""

FIELDS = b"Return-Path: <ann@example.org>\nFrom: ann@example.org\nSubject: "
MESSAGES = (
    FIELDS + b"plain\nTo: joe@example.org\n\nhello\n",
    FIELDS + b"dots\n\n.\n..\n.x\nfrom here\n.\n\n",
    FIELDS + "grüße\n\nschöne grüße\n".encode(),
    FIELDS + b"long\n\n" + b"0123456789 " * 700 + b"\nend\n",
    FIELDS + b"no end of the last line\n\nlast",
    FIELDS + b"no body\n\n",
    FIELDS + b"bytes\n\n" + bytes(range(14, 256)) + b"\n",
    FIELDS + b"big\n\n" + b"a line of some length\n" * 20_000,
)
"""As they are stored."""


def on_the_wire(message: bytes) -> bytes:
    """Return what a client has when it has taken the doubled dots away."""
    lines = message.removesuffix(b"\n").split(b"\n")
    return b"".join(line + b"\r\n" for line in lines)


def as_kept(message: bytes) -> bytes:
    """Return what a client keeps that keeps lines with LF."""
    return on_the_wire(message).replace(b"\r\n", b"\n")


class Identity(TypedDict):
    """Who a program runs as, for subprocess; None: as we do."""

    user: int | None
    group: int | None
    extra_groups: list[int] | None


class Box:
    """One user's mailbox."""

    def __init__(self, name: str, folder: Path, owner: tuple[int, int]) -> None:
        self.name = name
        self.folder = folder
        self.maildir = folder / "Maildir"
        self._owner = owner
        self._count = 0
        folder.mkdir()
        for path in (self.maildir, *(self.maildir / part for part in ("tmp", "new", "cur"))):
            path.mkdir(mode=0o700)
        for path in (folder, self.maildir, *self.maildir.iterdir()):
            os.chown(path, *owner)

    def put(self, *messages: bytes) -> "Box":
        """Put messages into new, each a second younger than the one before."""
        for message in messages:
            self._count += 1
            when = 1_700_000_000 + self._count
            path = self.maildir / f"new/{when}.M{self._count}P1.host"
            path.write_bytes(message)
            path.chmod(0o600)
            os.utime(path, (when, when))
            os.chown(path, *self._owner)
        return self

    def empty(self) -> None:
        """Remove all messages."""
        for name in self.names:
            (self.maildir / name).unlink()

    @property
    def names(self) -> list[str]:
        """What is in new and cur."""
        found = (self.maildir / part for part in ("new", "cur"))
        return sorted(f"{part.name}/{path.name}" for part in found for path in part.iterdir())

    @property
    def uids(self) -> list[str]:
        """The parts of the names that stay the same, the oldest first."""
        return sorted(name.partition("/")[2].partition(":")[0] for name in self.names)


class Pop3Suite:
    """A home and the suite on it, with ports for pop3 and pop3s.

    `separate`: we are root, and each program has its account; else all is one account.
    """

    def __init__(self, folder: Path, *, separate: bool = False) -> None:
        self.top = folder
        self.home = folder / "home"
        self.port, self.tls_port, self.smtp_port = free_port(), free_port(), free_port()
        self._bin = folder / "bin"
        self._user = UID if IS_ROOT and not separate else None
        self._owner = (VIRTUAL, VIRTUAL) if separate else (UID, GID)
        self._process: subprocess.Popen[bytes] | None = None
        self._bin.mkdir()
        if self._user is not None:
            os.chown(folder, UID, GID)
        subprocess.run([sys.executable, "-m", "qmail.launchers", str(self._bin)], check=True)
        listeners = (f"pop3 127.0.0.1:{self.port}", f"pop3s 127.0.0.1:{self.tls_port}",
                     f"smtp 127.0.0.1:{self.smtp_port}")  # fmt: skip
        words = [word for line in listeners for word in ("--listen", line)]
        self.qmail("init", "--no-maildirs", "--host", HOST, *words)
        text = (self.home / "control/servercert.pem").read_text()
        self.certificate = folder / "certificate.pem"
        """The certificate alone, for clients."""
        self.certificate.write_text(text[text.index("-----BEGIN CERTIFICATE") :])

    def qmail(self, *words: str, text: str = "") -> str:
        """Run the command qmail as who runs the home; return what it printed."""
        return self._run("qmail", *words, "--home", str(self.home), text=text)

    def _run(self, program: str, *words: str, text: str = "") -> str:
        done = subprocess.run(
            [str(self._bin / program), *words],
            input=text,
            capture_output=True,
            check=False,
            text=True,
            timeout=WAIT_S,
            cwd="/",
            env=self._environ,
            **self._identity,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def _environ(self) -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "QMAIL_HOME": str(self.home)}

    @property
    def _identity(self) -> Identity:
        groups: list[int] | None = None if self._user is None else []
        return {"user": self._user, "group": self._user, "extra_groups": groups}

    def box(self, name: str, *messages: bytes) -> Box:
        """Make a mailbox and a password for a name."""
        folder = self.top / name
        box = Box(name, folder, self._owner).put(*messages)
        uid, gid = map(str, self._owner)
        words = ("--uid", uid, "--gid", gid, "--mailhome", str(folder), "--iterations", "4096")
        self.qmail("passwd", "add", name, *words, text=f"{PASSWORD}\n")
        return box

    # --- running --------------------------------------------------------------------------------

    def start(self) -> "Pop3Suite":
        """Start it, and wait until logins are looked at, and it is known what is offered."""
        with (self.top / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._bin / "qmail-start"), "./Maildir/"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=self._environ,
                **self._identity,
            )
        end = time.monotonic() + WAIT_S
        while not self._is_up():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.02)
        return self

    def _is_up(self) -> bool:
        """Say whether a name that nobody has is refused for good."""
        try:
            with self.connect() as sock, sock.makefile("rb") as replies:
                sock.sendall(b"USER nobody-here\r\nPASS x\r\n")
                return [replies.readline() for _ in range(3)][2].startswith(b"-ERR [AUTH]")
        except OSError:
            return False

    def __enter__(self) -> "Pop3Suite":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _wrong: object, _trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(WAIT_S)
            finally:
                self._process.kill()

    @property
    def log(self) -> str:
        """The log so far."""
        return (self.top / "log").read_text(errors="replace")

    def wait_for_log(self, text: str) -> None:
        """Wait until `text` is in the log: a client can be gone before its line is written."""
        end = time.monotonic() + WAIT_S
        while text not in self.log:
            assert time.monotonic() < end, self.log
            time.sleep(0.01)

    def connect(self) -> socket.socket:
        """Connect to pop3."""
        return socket.create_connection(("127.0.0.1", self.port), WAIT_S)

    def connect_tls(self) -> ssl.SSLSocket:
        """Connect to pop3s, as a client that believes the certificate."""
        sock = socket.create_connection(("127.0.0.1", self.tls_port), WAIT_S)
        return self.context.wrap_socket(sock, server_hostname=HOST)

    @property
    def context(self) -> ssl.SSLContext:
        """What believes the server's certificate."""
        return ssl.create_default_context(cafile=str(self.certificate))


def need_accounts() -> None:
    """Skip, aloud, where the separate accounts are missing."""
    try:
        separate_accounts()
    except MissingAccountError as missing:
        pytest.skip(str(missing))


def need_programs() -> None:
    """Skip, aloud, where the account of the home can't read what is tested here."""
    if not others_can_run_the_programs():
        pytest.skip("the programs lie where only root can read them")
