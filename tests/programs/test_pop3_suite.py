"""POP3 through the whole suite, really started: TLS, logins, sessions, killed parts."""

import base64
import contextlib
import os
import poplib
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from scramp import ScramClient
from tests.fakes.certificates import client_context
from tests.fakes.door import wait_until
from tests.fakes.homes import (
    HOST,
    as_owner,
    free_port,
    open_folder,
    others_can_run_the_programs,
)
from tests.fakes.suite import WAIT_S, Suite
from tests.programs.login_world import scram_secret
from tests.programs.popup_world import Client

from qmail.edge.tls.certificate_maker import self_signed

POSTMASTER = f"postmaster@{HOST}"


class Pop3Suite(Suite):
    """A suite with both kinds of listeners, and a user joe whose mail is that of alias."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.pop3, self.pop3s = free_port(), free_port()
        ports = {"smtp": self.port, "pop3": self.pop3, "pop3s": self.pop3s}
        lines = [f"{service} 127.0.0.1:{port}\n" for service, port in ports.items()]
        self.control("listeners", "".join(lines))
        with as_owner():
            passwd = self.home / "users/passwd"
            passwd.write_text(f"joe:{scram_secret('secret')}:::::\n")
            passwd.chmod(0o600)

    def __enter__(self) -> "Pop3Suite":
        return self

    @property
    def context(self) -> ssl.SSLContext:
        return client_context(self.home / "control/servercert.pem")

    def client(self, *, is_tls: bool = False) -> Client:
        """Connect, and take the greeting."""
        port = self.pop3s if is_tls else self.pop3
        sock = socket.create_connection(("127.0.0.1", port), WAIT_S)
        client = Client(sock, self.context if is_tls else None)
        client.sock.settimeout(WAIT_S)
        assert client.line().startswith(b"+OK ")
        return client

    def session(
        self, *, is_tls: bool = False, name: bytes = b"joe", secret: bytes = b"secret"
    ) -> Client:
        """Log in; as long as the answer is temporary, try again."""
        end = time.monotonic() + WAIT_S
        while True:
            client = self.client(is_tls=is_tls)
            answer = client.log_in(name, secret)
            if answer == b"+OK ":
                return client
            assert answer.startswith(b"-ERR [SYS/TEMP]"), answer
            assert time.monotonic() < end
            client.sock.close()


@pytest.fixture(scope="module")
def running() -> Iterator[Pop3Suite]:
    """One suite that runs, for tests that leave it as it was."""
    if not others_can_run_the_programs():
        pytest.skip("the programs lie where only root can read them")
    with open_folder() as folder, Pop3Suite(folder) as made:
        made.start().wait_for("status: local 0/")
        # From now on it is known what is offered, and no login waits for qmail-pspawn.
        with made.session() as client:
            assert client.ask(b"QUIT") == b"+OK "
        made.wait_for("popup: logout ")
        yield made


@pytest.fixture
def suite() -> Iterator[Pop3Suite]:
    if not others_can_run_the_programs():
        pytest.skip("the programs lie where only root can read them")
    with open_folder() as folder, Pop3Suite(folder) as made:
        yield made


def deliver(suite: Pop3Suite, count: int = 1) -> None:
    """Deliver messages, and wait until POP3 shows them: not in the second in which they come."""
    for _ in range(count):
        suite.send(POSTMASTER)
        suite.wait_for("end msg ")
    wait_until_shown(suite, count)


def wait_until_shown(suite: Pop3Suite, count: int) -> None:
    newest = max(path.stat().st_mtime for path in (suite.home / "alias/Maildir/new").iterdir())
    wait_until(lambda: int(time.time()) > newest)
    assert len(suite.mailbox) == count


@pytest.mark.parametrize("way", ["pop3s", "stls", "clear"])
def test_mail_that_comes_by_smtp_goes_by_pop3(running: Pop3Suite, way: str) -> None:
    running.send_by_smtp(POSTMASTER, sender="joe@far.example", text=f"by {way}\n")
    running.wait_for("end msg ")
    wait_until_shown(running, 1)
    context = running.context
    context.check_hostname = False
    mailbox: poplib.POP3
    if way == "pop3s":
        mailbox = poplib.POP3_SSL("127.0.0.1", running.pop3s, context=context, timeout=WAIT_S)
    else:
        mailbox = poplib.POP3("127.0.0.1", running.pop3, timeout=WAIT_S)
    if way == "stls":
        mailbox.stls(context)
    mailbox.user("joe")
    mailbox.pass_("secret")
    count, _ = mailbox.stat()
    assert count == 1
    _, lines, _ = mailbox.retr(1)
    assert lines[0] == b"Return-Path: <joe@far.example>"
    assert lines[-1] == f"by {way}".encode()
    mailbox.dele(1)
    mailbox.quit()
    service = "pop3s" if way == "pop3s" else "pop3"
    running.wait_for(f"popup: login 127.0.0.1 <joe> {service} USER ")
    running.wait_for("popup: logout 127.0.0.1 <joe> seconds ")
    assert running.mailbox == []


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_dialogue_from_capa_to_quit(running: Pop3Suite, is_tls: bool) -> None:
    deliver(running, 2)
    with running.client(is_tls=is_tls) as client:
        found = set(client.lines(b"CAPA"))
        assert {b"USER", b"UIDL", b"TOP", b"PIPELINING", b"RESP-CODES"} <= found
        assert b"SASL SCRAM-SHA-256 PLAIN" in found
        assert (b"STLS" in found) is not is_tls
        assert client.ask(b"STAT") == b"-ERR authorization first"
        plain = base64.b64encode(b"\0joe\0secret")
        assert client.ask(b"AUTH PLAIN " + plain) == b"+OK "
        assert client.ask(b"STAT").startswith(b"+OK 2 ")
        assert len(client.lines(b"UIDL")) == 2
        client.send(b"DELE 1\r\nDELE 2\r\nRSET\r\nDELE 1\r\nDELE 2\r\nQUIT\r\n")
        assert len(client.rest().splitlines()) == 6
    running.wait_for("popup: logout 127.0.0.1 <joe> seconds ")
    assert list((running.home / "alias/Maildir/cur").iterdir()) == []


def test_scram_with_another_library_as_client(running: Pop3Suite) -> None:
    scram = ScramClient(["SCRAM-SHA-256"], "joe", "secret")
    with running.client() as client:
        first = base64.b64encode(scram.get_client_first().encode())
        challenge = client.ask(b"AUTH SCRAM-SHA-256 " + first)
        scram.set_server_first(base64.b64decode(challenge[2:]).decode())
        signature = client.ask(base64.b64encode(scram.get_client_final().encode()))
        scram.set_server_final(base64.b64decode(signature[2:]).decode())
        assert client.ask(b"") == b"+OK "
        assert client.ask(b"QUIT") == b"+OK "
    running.wait_for("popup: login 127.0.0.1 <joe> pop3 SCRAM-SHA-256 clear")


def test_a_wrong_password_and_a_wrong_name_are_the_same(running: Pop3Suite) -> None:
    with running.client() as client:
        assert client.log_in(b"joe", b"wrong") == b"-ERR [AUTH] authorization failed"
        assert client.log_in(b"nobody-here", b"secret") == b"-ERR [AUTH] authorization failed"
    running.wait_for("popup: denied 127.0.0.1 <joe> pop3 USER: -ERR [AUTH] ")
    running.wait_for("popup: denied 127.0.0.1 <nobody-here> pop3 USER: -ERR [AUTH] ")


@pytest.mark.parametrize("name", ["qmail-popup", "qmail-pspawn"])
def test_a_program_that_is_killed_comes_back_and_logins_go_on(
    running: Pop3Suite, name: str
) -> None:
    before = running.children[name]
    with running.session() as direct:
        with as_owner():
            os.kill(before, signal.SIGKILL)
        running.wait_for(f"{name} is gone (killed by signal 9); starting it again")
        with running.session(is_tls=True) as other:
            assert other.ask(b"STAT").startswith(b"+OK ")
            assert other.ask(b"QUIT") == b"+OK "
        if name == "qmail-popup":
            # The session has its socket.
            assert direct.ask(b"NOOP") == b"+OK "
    wait_until(lambda: running.children.get(name, before) != before)


def test_a_session_that_is_killed_deletes_nothing_and_others_go_on(running: Pop3Suite) -> None:
    deliver(running)
    with running.session(is_tls=True) as other:
        before = below_pspawn(running)
        first = running.session()
        assert first.ask(b"DELE 1") == b"+OK "
        (pid,) = below_pspawn(running) - before
        with as_owner():
            os.kill(pid, signal.SIGKILL)
        assert first.rest() == b""
        first.sock.close()
        assert other.ask(b"NOOP") == b"+OK "
        assert other.ask(b"DELE 1") == b"+OK "
        assert other.ask(b"QUIT") == b"+OK "


def below_pspawn(suite: Pop3Suite) -> set[int]:
    """Return the processes that qmail-pspawn has forked: what they have open nobody may see."""
    parent = suite.children["qmail-pspawn"]
    found = set()
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit():
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                found |= {int(folder.name)} if int(fields[1]) == parent else set()
    return found


def test_without_listeners_for_it_nothing_of_pop3_runs(suite: Pop3Suite) -> None:
    suite.control("listeners", f"smtp 127.0.0.1:{suite.port}\n")
    suite.start().wait_for("status: local 0/")
    assert not {"qmail-popup", "qmail-pspawn"} & set(suite.children)
    assert not (suite.home / "run/login").exists()
    assert suite.stop() == 0


def test_a_pop3s_listener_without_a_certificate_is_not_opened_and_told(suite: Pop3Suite) -> None:
    (suite.home / "control/servercert.pem").unlink()
    suite.start()
    suite.wait_for(
        f"warning: not listening: pop3s 127.0.0.1:{suite.pop3s}: control/servercert.pem is missing"
    )
    with suite.session() as client:
        assert client.ask(b"QUIT") == b"+OK "
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", suite.pop3s))
    assert suite.stop() == 0


def test_hup_brings_a_new_certificate_and_term_ends_sessions(suite: Pop3Suite) -> None:
    suite.start().wait_for("status: local 0/")
    with suite.session(is_tls=True) as old, suite.session() as direct:
        path = suite.home / "control/servercert.pem"
        before = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(self_signed(HOST))
        assert path.read_bytes() != before
        suite.signal(signal.SIGHUP)
        suite.wait_for("popup: controls read")
        # Only the new one is believed here.
        with suite.session(is_tls=True) as new:
            assert new.ask(b"QUIT") == b"+OK "
        assert old.ask(b"NOOP") == b"+OK "
        old.send(b"QUIT\r\n")
        assert old.line() == b"+OK "
        old.sock.close()
        assert direct.ask(b"NOOP") == b"+OK "
        assert suite.stop() == 0
        assert not direct.rest().startswith(b"+OK")


def test_a_checkpassword_program_decides(suite: Pop3Suite) -> None:
    program = suite.home.parent / "checkpassword"
    program.write_text(
        "#!/bin/sh\n"
        "given=$(cat <&3 | tr '\\000' '|')\n"
        'case $given in "ann|right|"*) cd "$QMAIL_HOME/alias" && exec "$@" ;;\n'
        '"late|"*) exit 111 ;; esac\n'
        "exit 1\n"
    )
    program.chmod(0o755)
    suite.control("checkpassword", f"{program}\n")
    suite.start().wait_for("status: local 0/")
    deliver(suite)
    for is_tls in (False, True):
        with suite.session(is_tls=is_tls, name=b"ann", secret=b"right") as client:
            assert client.ask(b"STAT").startswith(b"+OK 1 ")
            assert client.ask(b"QUIT") == b"+OK "
        with suite.client(is_tls=is_tls) as client:
            assert client.log_in(b"ann", b"wrong") == b"-ERR [AUTH] authorization failed"
        with suite.client(is_tls=is_tls) as client:
            assert client.log_in(b"late", b"x").startswith(b"-ERR [SYS/TEMP] ")
    suite.wait_for("popup: login 127.0.0.1 <ann> pop3 USER clear")
    suite.wait_for("popup: denied 127.0.0.1 <ann> pop3s USER: -ERR [AUTH] ")
