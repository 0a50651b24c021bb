"""POP3 under the separate accounts: who speaks to the network, and who has the mailbox."""

import contextlib
import os
import pwd
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.durability.real_suite import Suite
from tests.fakes.certificates import client_context
from tests.fakes.door import wait_until
from tests.fakes.homes import free_port, open_folder
from tests.programs.login_world import scram_secret
from tests.programs.popup_world import Client

from qmail.edge.machine.accounts import MissingAccountError, separate_accounts

pytestmark = pytest.mark.root
WAIT_S = 60.0
OWNER = 54398
"""Whose the mail of ann is; no account of this machine."""


class Pop3Root(Suite):
    """The suite under its accounts, with POP3 and a virtual user."""

    def __init__(self, top: Path) -> None:
        super().__init__(top, separate=True, sink_port=1)
        self.pop3, self.pop3s = free_port(), free_port()
        control = self.home / "control"
        with (control / "listeners").open("a") as file:
            file.write(f"pop3 127.0.0.1:{self.pop3}\npop3s 127.0.0.1:{self.pop3s}\n")
        (control / "servercert.pem").chmod(0o400)
        for name in ("", "/Maildir", "/Maildir/tmp", "/Maildir/new", "/Maildir/cur"):
            folder = top / f"ann{name}"
            folder.mkdir(mode=0o700)
            os.chown(folder, OWNER, OWNER + 1)
        message = top / "ann/Maildir/new/1.one.me"
        message.write_bytes(b"Subject: one\n\nbody\n")
        os.utime(message, (1, 1))
        os.chown(message, OWNER, OWNER + 1)
        passwd = self.home / "users/passwd"
        passwd.write_text(
            f"ann@example.org:{scram_secret('secret')}:{OWNER}:{OWNER + 1}::{top}/ann::\n"
        )
        qmailp = pwd.getpwnam("qmailp")
        passwd.chmod(0o400)
        os.chown(passwd, qmailp.pw_uid, qmailp.pw_gid)

    def session(self, *, is_tls: bool) -> Client:
        """Log in as ann; as long as the answer is temporary, try again."""
        end = time.monotonic() + WAIT_S
        port = self.pop3s if is_tls else self.pop3
        context = client_context(self.home / "control/servercert.pem")
        context.check_hostname = False
        while True:
            sock = socket.create_connection(("127.0.0.1", port), WAIT_S)
            client = Client(sock, context if is_tls else None)
            assert client.line().startswith(b"+OK ")
            answer = client.log_in(b"ann@example.org")
            if answer == b"+OK ":
                return client
            assert answer.startswith(b"-ERR [SYS/TEMP]"), answer
            assert time.monotonic() < end
            client.sock.close()


@pytest.fixture(scope="module")
def suite() -> Iterator[Pop3Root]:
    try:
        separate_accounts()
    except MissingAccountError as missing:
        pytest.skip(str(missing))
    with open_folder() as folder:
        made = Pop3Root(folder)
        made.start()
        yield made
        made.stop()


def ids_of(pid: int) -> tuple[set[int], set[int]]:
    """Return all user ids of a process, and all of its groups."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    groups = {*map(int, status["Gid"].split()), *map(int, status["Groups"].split())}
    return set(map(int, status["Uid"].split())), groups


def only(find: Callable[[], list[int]]) -> int:
    """Look until there is one, and return it."""
    found: list[int] = []

    def is_one() -> bool:
        found[:] = find()
        return len(found) == 1

    wait_until(is_one)
    return found[0]


def holder_of(client: Client) -> int:
    """Wait until one process alone has the other end of the client's socket, and find it.

    A session may have answered before those who passed the socket on have closed theirs.
    """
    return only(lambda: holders_of(client))


def holders_of(client: Client) -> list[int]:
    """Find the processes that have it now."""
    local, remote = client.sock.getsockname()[1], client.sock.getpeername()[1]
    wanted = f"0100007F:{remote:04X} 0100007F:{local:04X}"
    lines = [line for line in Path("/proc/net/tcp").read_text().splitlines() if wanted in line]
    # A line of this table is missed, or there twice, where others come and go meanwhile.
    links_wanted = {f"socket:[{line.split()[9]}]" for line in lines}
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            links = {os.readlink(fd) for fd in (folder / "fd").iterdir()}
            if folder.name.isdigit() and links & links_wanted:
                found.append(int(folder.name))
    return found


def session_of(suite: Pop3Root) -> int:
    """Wait until there is one session, and no rest of an earlier one; return its process."""
    return only(lambda: sessions_of(suite))


def sessions_of(suite: Pop3Root) -> list[int]:
    """List the processes below qmail-start that are the owner."""
    found = []
    for pid in suite.pids():
        # It may have ended since.
        with contextlib.suppress(OSError):
            found += [pid] if ids_of(pid)[0] == {OWNER} else []
    return found


def test_root_with_tls_the_network_is_qmailds_and_the_mailbox_its_owners(suite: Pop3Root) -> None:
    qmaild = pwd.getpwnam("qmaild")
    with suite.session(is_tls=True) as client:
        assert client.ask(b"STAT").startswith(b"+OK 1 ")
        pid = holder_of(client)
        assert suite.pids()[pid] == "qmail-popup"
        assert ids_of(pid) == ({qmaild.pw_uid}, {qmaild.pw_gid})
        assert ids_of(session_of(suite)) == ({OWNER}, {OWNER + 1})
        assert client.ask(b"QUIT") == b"+OK "


def test_root_without_tls_the_session_has_the_socket_and_nobody_else(suite: Pop3Root) -> None:
    with suite.session(is_tls=False) as client:
        assert client.ask(b"STAT").startswith(b"+OK 1 ")
        pid = holder_of(client)
        assert ids_of(pid) == ({OWNER}, {OWNER + 1})
        assert suite.pids()[pid] == "qmail-pspawn"
        # Nothing of qmail's is open there but the log.
        links = [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()]
        assert not any(str(suite.home) in link and "/log" not in link for link in links)
        assert client.ask(b"QUIT") == b"+OK "


def test_root_no_process_of_root_has_a_client(suite: Pop3Root) -> None:
    with suite.session(is_tls=True) as one, suite.session(is_tls=False) as other:
        for client in (one, other):
            assert 0 not in ids_of(holder_of(client))[0]
            assert client.ask(b"QUIT") == b"+OK "


def test_root_qmaild_can_read_the_key_and_no_password(suite: Pop3Root) -> None:
    qmaild = pwd.getpwnam("qmaild")

    def can_read(path: str) -> bool:
        done = subprocess.run(
            ["cat", str(suite.home / path)],
            check=False,
            capture_output=True,
            user=qmaild.pw_uid,
            group=qmaild.pw_gid,
            extra_groups=[],
        )
        return done.returncode == 0

    assert can_read("control/servercert.pem")
    assert not can_read("users/passwd")


def test_root_only_qmaild_can_call_at_run_login(suite: Pop3Root) -> None:
    about = os.stat(suite.home / "run/login")
    assert (about.st_uid, about.st_mode & 0o777) == (pwd.getpwnam("qmaild").pw_uid, 0o600)


def test_root_qmail_check_finds_all_of_it_in_order(suite: Pop3Root) -> None:
    with suite.session(is_tls=True) as client, suite.session(is_tls=False):
        done = subprocess.run(
            [str(suite.top / "bin/qmail"), "check", "--home", str(suite.home)],
            check=False,
            capture_output=True,
            text=True,
            cwd="/",
        )
        ours = ("popup", "pspawn", "login", "pop3", "servercert", str(suite.pop3), "root")
        wrong = [
            line
            for line in done.stdout.splitlines()
            if line.startswith(("error", "warning")) and any(word in line for word in ours)
        ]
        # The commands lie in a folder of the test's own, which `check` does not know.
        assert [line for line in wrong if "/bin" not in line] == []
        assert client.ask(b"QUIT") == b"+OK "
