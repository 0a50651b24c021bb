"""The resident qmail-popup over real sockets, with qmail-pspawn played by the test."""

import base64
import contextlib
import poplib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.door import WAIT_S_MAX, wait_until
from tests.fakes.login_door import SECRET, LoginDoor
from tests.programs.popup_world import PLAIN, Client, Resident, greeting, make_pop3_home

from qmail.core.login.guessing import DELAY_S_FIRST
from qmail.protocol.login_door import (
    Answer,
    Begin,
    Call,
    GiveUp,
    Mechanism,
    Proof,
    Refusal,
    Refused,
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


# --- from the greeting to the session -------------------------------------------------------------


@pytest.mark.parametrize("without_uvloop", [False, True])
def test_a_session_without_tls_gets_the_clients_socket(
    home: Path, door: LoginDoor, without_uvloop: bool
) -> None:
    names: list[object] = []

    def session(sock: socket.socket) -> int:
        names.append(sock.getpeername())
        sock.settimeout(WAIT_S_MAX)
        sock.sendall(b"+OK \r\n")
        sock.sendall(sock.recv(100))
        return 0

    door.session = session
    with Resident(home, without_uvloop=without_uvloop) as server:
        door.wait(lambda door: door.connections)
        with server.client() as client:
            assert client.log_in() == b"+OK "
            name = client.sock.getsockname()
            assert client.ask(b"hello") == b"hello"
            assert client.rest() == b""
        assert names == [name]
        login = server.wait_for_log("popup: login 127.0.0.1 <joe> pop3 USER clear")
        assert "secret" not in login
        server.wait_for_log("popup: logout 127.0.0.1 <joe> seconds ")
        (begin,) = (call for call in door.calls if isinstance(call, Begin))
        assert (begin.mechanism, begin.login, begin.secret) == (Mechanism.USER, b"joe", SECRET)
        assert (begin.service, begin.client) == (b"pop3", b"127.0.0.1")
        assert server.errors == ""


@pytest.mark.parametrize("without_uvloop", [False, True])
def test_a_session_with_tls_is_relayed_both_ways(
    home: Path, door: LoginDoor, without_uvloop: bool
) -> None:
    with Resident(home, without_uvloop=without_uvloop) as server:
        door.wait(lambda door: door.connections)
        with server.tls_client() as client:
            assert client.log_in() == b"+OK "
            for number in range(100):
                assert client.ask(b"%d" % number) == b"+OK you said %d" % number
            assert client.ask(b"BIG").endswith(b"BIG")
            assert len(client.line()) == 1_000_000
            assert client.ask(b"QUIT") == b"+OK you said QUIT"
            assert client.rest() == b""
        server.wait_for_log("popup: login 127.0.0.1 <joe> pop3s USER TLSv1.3:TLS_")
        server.wait_for_log("popup: logout 127.0.0.1 <joe>")
        assert server.errors == ""


def test_what_is_sent_behind_the_login_reaches_the_session(server: Resident) -> None:
    with server.connect() as client:
        client.send(b"USER joe\r\nPASS secret\r\none\r\ntwo\r\nQUIT\r\n")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.rest().splitlines()[1:] == [
            b"+OK ",
            b"+OK ",
            b"+OK you said one",
            b"+OK you said two",
            b"+OK you said QUIT",
        ]


def test_stls_then_a_login(server: Resident) -> None:
    with server.client() as client:
        assert client.ask(b"STLS").startswith(b"+OK")
        client.start_tls(server.context)
        assert b"STLS" not in client.lines(b"CAPA")
        assert client.log_in() == b"+OK "
        assert client.ask(b"over TLS") == b"+OK you said over TLS"
    server.wait_for_log("popup: login 127.0.0.1 <joe> pop3 USER TLSv1.3")


def test_rfc2595_4_what_is_sent_in_clear_behind_stls_is_thrown_away(
    server: Resident, door: LoginDoor
) -> None:
    with server.client() as client:
        client.send(b"STLS\r\nUSER joe\r\nPASS secret\r\n")
        assert client.line().startswith(b"+OK")
        client.start_tls(server.context)
        # Nothing of it was taken: there is no name yet.
        assert client.ask(b"PASS secret") == b"-ERR USER first"
    assert not any(isinstance(call, Begin) for call in door.calls)


def test_rfc2595_4_a_name_that_was_said_in_clear_is_forgotten(server: Resident) -> None:
    with server.client() as client:
        assert client.ask(b"USER joe").startswith(b"+OK")
        assert client.ask(b"STLS").startswith(b"+OK")
        client.start_tls(server.context)
        assert client.ask(b"PASS secret") == b"-ERR USER first"


def test_scram_goes_on_by_challenges(server: Resident) -> None:
    with server.client() as client:
        assert client.ask(b"AUTH SCRAM-SHA-256 " + base64.b64encode(b"n,,n=Joe,r=x")) == (
            b"+ " + base64.b64encode(b"and the secret?")
        )
        assert client.ask(base64.b64encode(SECRET)) == b"+OK "
        assert client.ask(b"hello") == b"+OK you said hello"
    server.wait_for_log("popup: login 127.0.0.1 <joe> pop3 SCRAM-SHA-256 clear")


def test_a_cancelled_exchange_is_given_up(server: Resident, door: LoginDoor) -> None:
    with server.client() as client:
        client.ask(b"AUTH SCRAM-SHA-256 " + base64.b64encode(b"n,,n=joe,r=x"))
        assert client.ask(b"*").startswith(b"-ERR")
        assert client.ask(b"AUTH PLAIN " + PLAIN) == b"+OK "
    assert any(isinstance(call, GiveUp) for call in door.calls)


def test_poplib_over_stls_and_over_pop3s(server: Resident) -> None:
    over_stls = poplib.POP3("127.0.0.1", server.clear.getsockname()[1], timeout=WAIT_S_MAX)
    assert over_stls.capa()["STLS"] == []
    context = server.context
    context.check_hostname = False
    over_stls.stls(context)
    over_stls.user("joe")
    assert over_stls.pass_("secret") == b"+OK "
    assert over_stls.quit() == b"+OK you said QUIT"
    port = server.tls.getsockname()[1]
    over_tls = poplib.POP3_SSL("127.0.0.1", port, context=context, timeout=WAIT_S_MAX)
    over_tls.user("joe")
    assert over_tls.pass_("secret") == b"+OK "
    assert over_tls.quit() == b"+OK you said QUIT"


@pytest.mark.parametrize("starttls", [True, False])
def test_openssl_s_client_understands_it(server: Resident, starttls: bool) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: s_client is not tried")
    host, port = (server.clear if starttls else server.tls).getsockname()
    more = ["-starttls", "pop3"] if starttls else []
    done = subprocess.run(
        ["openssl", "s_client", "-quiet", "-crlf", "-connect", f"{host}:{port}", *more,
         "-CAfile", str(server.home / "control/servercert.pem"), "-verify_return_error",
         "-verify_hostname", "me.ex"],
        input=b"USER joe\nPASS secret\nhello\nQUIT\n",
        capture_output=True,
        timeout=WAIT_S_MAX,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(b"+OK \r\n+OK \r\n+OK you said hello\r\n+OK you said QUIT\r\n")


# --- refusals -------------------------------------------------------------------------------------


def test_a_wrong_password_is_refused_and_told_in_the_log_without_it(server: Resident) -> None:
    with server.client() as client:
        assert client.log_in(b"Joe", b"hunter2") == b"-ERR [AUTH] authorization failed"
        plain = base64.b64encode(b"\0joe\0hunter2")
        assert client.ask(b"AUTH PLAIN " + plain) == b"-ERR [AUTH] authorization failed"
        assert client.log_in() == b"+OK "
    server.wait_for_log("popup: login")
    denied = [line for line in server.log if line.startswith("popup: denied")]
    assert denied == [
        "popup: denied 127.0.0.1 <joe> pop3 USER: -ERR [AUTH] authorization failed",
        "popup: denied 127.0.0.1 <joe> pop3 PLAIN: -ERR [AUTH] authorization failed",
    ]
    assert "hunter2" not in "".join(server.log) + server.errors


def test_the_fifth_failure_ends_the_connection(server: Resident) -> None:
    with server.client() as client:
        for _ in range(4):
            assert client.log_in(secret=b"wrong") == b"-ERR [AUTH] authorization failed"
        assert client.log_in(secret=b"wrong") == b"-ERR [AUTH] too many failures"
        assert client.rest() == b""


def test_a_client_that_guesses_waits_longer_and_longer_and_others_do_not(server: Resident) -> None:
    for _ in range(2):
        with server.client(source="127.0.0.1") as client:
            for _ in range(5):
                client.log_in(b"joe", b"wrong")
    # The name has failed ten times from this host: one more is free, then it waits.
    with server.client() as client:
        client.log_in(b"joe", b"wrong")
    with server.client() as slow:
        assert seconds_of_login(slow, b"joe") > DELAY_S_FIRST - 0.01
    # One that waits never takes less; one that does not may, where the machine is slow.
    with contextlib.ExitStack() as stack:
        wait_until(
            lambda: seconds_of_login(stack.enter_context(server.client()), b"ann") < DELAY_S_FIRST
        )


def seconds_of_login(client: Client, name: bytes) -> float:
    began = time.monotonic()
    assert client.log_in(name) == b"+OK "
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("reason", "reply"),
    [
        (Refusal.AUTH, b"-ERR [AUTH] "),
        (Refusal.TEMPORARY, b"-ERR [SYS/TEMP] "),
        (Refusal.LIMIT, b"-ERR [IN-USE] "),
        (Refusal.IN_USE, b"-ERR [IN-USE] "),
    ],
)
def test_every_refusal_has_its_code_before_and_after_the_login_is_good(
    server: Resident, door: LoginDoor, reason: Refusal, reply: bytes
) -> None:
    def refuse(kind: type[Call], call: Call) -> list[Answer] | None:
        return [Refused(call.tag, reason)] if isinstance(call, kind) else None

    door.hook = lambda call: refuse(Begin, call)
    with server.client() as client:
        assert client.log_in().startswith(reply)
        assert client.ask(b"NOOP") == b"+OK "
        door.hook = lambda call: refuse(Start, call)
        assert client.log_in().startswith(reply)
        assert client.rest() == b""


def test_a_login_waits_where_qmail_pspawn_is_just_being_started(home: Path) -> None:
    with Resident(home) as server, server.client() as client:
        client.send(b"USER joe\r\nPASS secret\r\n")
        assert client.line() == b"+OK "
        with LoginDoor(home):
            assert client.line() == b"+OK "


def test_a_killed_qmail_pspawn_ends_no_session_and_comes_back(
    server: Resident, door: LoginDoor
) -> None:
    with server.client() as direct, server.tls_client() as relayed, server.client() as waiting:
        assert direct.log_in() == b"+OK "
        assert relayed.log_in() == b"+OK "
        door.hook = lambda call: [] if isinstance(call, Begin) else None
        waiting.send(b"USER joe\r\nPASS secret\r\n")
        door.wait(lambda door: len([call for call in door.calls if isinstance(call, Begin)]) == 3)
        door.hang_up()
        waiting.line()
        assert waiting.line().startswith(b"-ERR [SYS/TEMP]")
        assert direct.ask(b"still") == b"+OK you said still"
        assert relayed.ask(b"here") == b"+OK you said here"
        door.hook = lambda _call: None
        door.wait(lambda door: door.connections == 2)
        assert waiting.log_in() == b"+OK "


# --- what may come in clear -----------------------------------------------------------------------


def capabilities(client: Client) -> set[bytes]:
    return set(client.lines(b"CAPA"))


def test_from_this_host_passwords_may_come_in_clear(server: Resident) -> None:
    with server.client() as client:
        found = capabilities(client)
        assert {b"USER", b"STLS", b"SASL SCRAM-SHA-256 PLAIN"} <= found


def test_plaintextauth_no_takes_none_without_tls_and_capa_says_so(
    tmp_path: Path,
) -> None:
    home = make_pop3_home(tmp_path, plaintextauth="no\n")
    with LoginDoor(home) as door, Resident(home) as server:
        door.wait(lambda door: door.connections)
        with server.client() as client:
            found = capabilities(client)
            assert b"USER" not in found
            assert {b"STLS", b"SASL SCRAM-SHA-256"} <= found
            assert client.ask(b"USER joe").startswith(b"-ERR [AUTH] ")
            assert client.ask(b"AUTH PLAIN " + PLAIN).startswith(b"-ERR [AUTH] ")
            client.ask(b"STLS")
            client.start_tls(server.context)
            assert {b"USER", b"SASL SCRAM-SHA-256 PLAIN"} <= capabilities(client)
            assert client.log_in() == b"+OK "
        with server.tls_client() as client:
            assert {b"USER", b"SASL SCRAM-SHA-256 PLAIN"} <= capabilities(client)


def test_the_greeting_has_a_challenge_only_with_apop_and_never_the_same(
    home: Path, door: LoginDoor
) -> None:
    with Resident(home) as server:
        door.wait(lambda door: door.connections)
        with server.connect() as client:
            assert b"<" not in client.line()
            assert client.ask(b"APOP joe 0123").startswith(b"-ERR")
        door.offer = (Mechanism.APOP, Mechanism.USER)
        door.hang_up()
        door.wait(lambda door: door.connections == 2)
        wait_until(lambda: b"<" in greeting(server))
        assert len({greeting(server) for _ in range(5)}) == 5
        with server.connect() as client:
            challenge = client.line().removeprefix(b"+OK ")
            assert challenge.endswith(b"@mx.example>")
            client.ask(b"APOP joe " + b"0" * 32)
        begin = [call for call in door.calls if isinstance(call, Begin)][-1]
        assert (begin.mechanism, begin.challenge) == (Mechanism.APOP, challenge)


# --- a program decides: control/checkpassword -----------------------------------------------------


def test_a_claimed_login_is_good_when_its_session_speaks(server: Resident, door: LoginDoor) -> None:
    door.proof = Proof.CLAIMED
    with server.client() as client:
        assert client.log_in() == b"+OK "
        assert client.ask(b"hello") == b"+OK you said hello"
    server.wait_for_log("popup: login 127.0.0.1 <joe> pop3 USER clear")
    assert not any("denied" in line for line in server.log)


@pytest.mark.parametrize(
    ("code", "reply"),
    [
        (1, b"-ERR [AUTH] authorization failed"),
        (3, b"-ERR [AUTH] authorization failed"),
        (111, b"-ERR [SYS/TEMP] unable to look at the password, try again later"),
        (2, b"-ERR [SYS/TEMP] unable to look at the password, try again later"),
        (0, b"-ERR [SYS/TEMP] unable to look at the password, try again later"),
        (128 + 11, b"-ERR [SYS/TEMP] unable to look at the password, try again later"),
    ],
)
def test_a_claimed_login_whose_session_says_nothing_is_what_its_exit_code_says(
    server: Resident, door: LoginDoor, code: int, reply: bytes
) -> None:
    door.proof = Proof.CLAIMED
    door.session = lambda _sock: code
    for connect in (server.client, server.tls_client):
        with connect() as client:
            assert client.log_in() == reply
            assert client.rest() == b""
    assert not any("popup: login" in line for line in server.log)
    server.wait_for_log("popup: denied 127.0.0.1 <joe> pop3s USER: -ERR")


def test_a_session_that_says_its_word_and_ends_at_once_is_believed(
    server: Resident, door: LoginDoor
) -> None:
    door.proof = Proof.CLAIMED

    def brief(sock: socket.socket) -> int:
        sock.sendall(b"-ERR [SYS/PERM] this user has no maildir\r\n")
        return 0

    door.session = brief
    with server.client() as client:
        assert client.log_in() == b"-ERR [SYS/PERM] this user has no maildir"
        assert client.rest() == b""
