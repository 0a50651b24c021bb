"""The resident qmail-popup: limits, certificates, signals, parts that are killed."""

import os
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.certificates import client_context, pem_of, write_pem
from tests.fakes.door import WAIT_S_MAX, wait_until
from tests.fakes.login_door import LoginDoor
from tests.programs.popup_world import Client, Resident, greeting, make_pop3_home
from tests.programs.smtpd_world import make_home

from qmail.programs import popup_resident
from qmail.protocol.login_door import (
    Begun,
    Ended,
    Start,
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_pop3_home(tmp_path)


@pytest.fixture
def door(home: Path) -> Iterator[LoginDoor]:
    with LoginDoor(home) as made:
        yield made


@pytest.fixture
def server(home: Path, door: LoginDoor) -> Iterator[Resident]:
    with Resident(home) as made:
        door.wait(lambda door: door.connections)
        yield made


def capabilities(client: Client) -> set[bytes]:
    return set(client.lines(b"CAPA"))


# --- limits ---------------------------------------------------------------------------------------


def test_one_address_has_a_limit_but_for_this_host(tmp_path: Path) -> None:
    home = make_pop3_home(tmp_path, concurrencypop3client="1\n", concurrencypop3="6\n")
    with LoginDoor(home) as door, Resident(home) as server:
        door.wait(lambda door: door.connections)
        clients = [server.client() for _ in range(6)]
        assert all(client.log_in() == b"+OK " for client in clients)
        with server.connect() as refused:
            assert refused.line() == b"-ERR [SYS/TEMP] too many connections, try again later"
        server.wait_for_log("popup: refuse 127.0.0.1: -ERR [SYS/TEMP] too many connections")
        for client in clients:
            assert client.ask(b"QUIT") == b"+OK you said QUIT"
            client.sock.close()
        # A session that has the socket itself counts until its process has ended.
        wait_until(lambda: greeting(server).startswith(b"+OK"))


# --- TLS ------------------------------------------------------------------------------------------


def test_without_a_certificate_there_is_no_stls_and_pop3s_is_closed_until_there_is_one(
    tmp_path: Path,
) -> None:
    home = make_home(tmp_path)
    with LoginDoor(home) as door, Resident(home) as server:
        door.wait(lambda door: door.connections)
        with server.client() as client:
            assert b"STLS" not in capabilities(client)
            assert client.ask(b"STLS") == b"-ERR no STLS here"
        assert "qmail-popup: control/servercert.pem is missing: no TLS" in server.errors
        with socket.create_connection(server.tls.getsockname(), WAIT_S_MAX) as sock:
            assert sock.recv(100) == b""
        write_pem(home / "control")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log("popup: controls read")
        with server.client() as client:
            assert b"STLS" in capabilities(client)
        with server.tls_client() as client:
            assert client.log_in() == b"+OK "


def test_hup_has_the_certificate_read_again_and_open_connections_stay(
    server: Resident, home: Path
) -> None:
    with server.tls_client() as old:
        assert old.log_in() == b"+OK "
        path = home / "control/servercert.pem"
        path.chmod(0o600)
        path.write_bytes(pem_of("renewed.example"))
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log("popup: controls read")
        assert old.ask(b"still") == b"+OK you said still"
        with pytest.raises(ssl.SSLCertVerificationError):
            server.tls_client()
        context = client_context(path)
        context.check_hostname = False
        with server.connect_tls(context) as new:
            assert new.line().startswith(b"+OK ")


def test_hup_with_a_bad_setting_goes_on_with_the_old_ones(server: Resident, home: Path) -> None:
    (home / "control/concurrencypop3").write_text("many\n")
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_log("popup: controls not read, going on with the old ones")
    assert "control/concurrencypop3:1: " in server.errors
    with server.client() as client:
        assert client.log_in() == b"+OK "


def test_what_is_no_tls_on_pop3s_is_closed_and_told(server: Resident) -> None:
    with socket.create_connection(server.tls.getsockname(), WAIT_S_MAX) as sock:
        sock.sendall(b"CAPA\r\nQUIT\r\n")
        with pytest.raises((ConnectionResetError, AssertionError)):
            assert b"+OK" in sock.recv(1000)
    server.wait_for_log("popup: tls 127.0.0.1: ")


# --- the end --------------------------------------------------------------------------------------


def test_quit_before_a_login(server: Resident) -> None:
    for connect in (server.client, server.tls_client):
        with connect() as client:
            assert client.ask(b"QUIT") == b"+OK "
            assert client.rest() == b""


def test_term_lets_sessions_end_and_sends_away_who_has_none(
    server: Resident, door: LoginDoor
) -> None:
    with server.client() as waiting, server.client() as direct, server.tls_client() as relayed:
        assert direct.log_in() == b"+OK "
        assert relayed.log_in() == b"+OK "
        server.process.send_signal(signal.SIGTERM)
        assert waiting.line() == b"-ERR [SYS/TEMP] shutting down, try again later"
        waiting.sock.close()
        assert relayed.ask(b"one more") == b"+OK you said one more"
        assert relayed.ask(b"QUIT") == b"+OK you said QUIT"
        relayed.sock.close()
        assert server.process.wait(WAIT_S_MAX) == 0
        # Its process has it, and goes on.
        assert direct.ask(b"hello") == b"+OK you said hello"


def test_a_killed_qmail_popup_leaves_sessions_that_have_the_socket(
    server: Resident,
) -> None:
    with server.client() as direct, server.tls_client() as relayed:
        assert direct.log_in() == b"+OK "
        assert relayed.log_in() == b"+OK "
        server.stop(signal.SIGKILL)
        assert direct.ask(b"hello") == b"+OK you said hello"
        assert relayed.rest() == b""


def test_a_session_that_is_killed_ends_its_own_client_only(
    server: Resident, door: LoginDoor
) -> None:
    def killed(sock: socket.socket) -> int:
        sock.sendall(b"+OK \r\n")
        sock.settimeout(WAIT_S_MAX)
        sock.recv(100)
        return 128 + 9

    with server.tls_client() as other:
        assert other.log_in() == b"+OK "
        door.session = killed
        for connect in (server.client, server.tls_client):
            with connect() as client:
                assert client.log_in() == b"+OK "
                client.send(b"DELE 1\r\n")
                assert client.rest() == b""
        assert other.ask(b"hello") == b"+OK you said hello"


def test_a_session_that_cannot_be_begun_is_told(server: Resident, door: LoginDoor) -> None:
    door.hook = lambda call: (
        [Begun(call.tag), Ended(call.tag, 111)] if isinstance(call, Start) else None
    )
    with server.tls_client() as client:
        assert client.log_in() in (
            b"",
            b"-ERR [SYS/TEMP] unable to look at the password, try again later",
        )


def test_a_slow_reader_stops_the_session_and_loses_nothing(
    server: Resident, door: LoginDoor
) -> None:
    size = 30_000_000
    sent: list[int] = []

    def flood(sock: socket.socket) -> int:
        sock.settimeout(WAIT_S_MAX)
        sock.sendall(b"+OK \r\n")
        block = bytes(100_000)
        for _ in range(size // len(block)):
            sock.sendall(block)
            sent.append(len(block))
        return 0

    door.session = flood
    with server.tls_client() as client:
        assert client.log_in() == b"+OK "
        wait_until(lambda: sent)
        before = -1
        while before != len(sent):
            before = len(sent)
            wait_until(lambda: True)
            with pytest.raises(TimeoutError):
                socket_wait()
        assert sum(sent) < size
        assert memory_of(server) < 80_000_000
        assert len(client.rest()) == size


def socket_wait() -> None:
    """Let half a second go by in which a sender that is not stopped would go on."""
    one, other = socket.socketpair()
    with one, other:
        one.settimeout(0.5)
        one.recv(1)


def memory_of(server: Resident) -> int:
    pages = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("text", ["", "3", "pop3:x", "smtp:3", "pop3:3 pop3s:"])
def test_listeners_that_make_no_sense_stop_the_start(
    home: Path, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert popup_resident.run(str(home), text) == 111
    assert "QMAIL_LISTENERS is not a list" in capfd.readouterr().err


def test_a_bad_setting_stops_the_start_with_file_and_line(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (home / "control/timeoutpop3").write_text("5\n")
    folder = os.getcwd()
    try:
        assert popup_resident.run(str(home), "pop3:99") == 111
    finally:
        os.chdir(folder)
    assert "fatal: control/timeoutpop3:1: " in capfd.readouterr().err
