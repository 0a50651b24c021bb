"""A client of the resident POP3 server: every wait has an end, every count a bound."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.certificates import client_context, write_pem
from tests.fakes.pop3_world import Pop3World, settle
from tests.fakes.tls_client import TlsClient

from qmail.edge.pop3 import entry as pop3_entry
from qmail.edge.pop3 import server as pop3_server
from qmail.edge.pop3 import visit as pop3_visit
from qmail.edge.pop3.connection import LINGER_S, Pop3Connection
from qmail.edge.tls.session import HANDSHAKE_S_MAX, server_context
from qmail.protocol.login_door import (
    Accepted,
    Answer,
    Begin,
    Begun,
    Ended,
    GiveUp,
    Proof,
    Refusal,
    Refused,
    Start,
)

Test = Callable[[Pop3World], Awaitable[None]]
Run = Callable[..., None]
LOGIN = b"USER joe\r\nPASS secret\r\n"
TROUBLE = b"-ERR [SYS/TEMP] unable to look at the password, try again later"


@pytest.fixture
def run() -> Run:
    def run_in_loop(test: Test, **settings: Any) -> None:
        async def main() -> None:
            world = Pop3World(**settings)
            try:
                await test(world)
            finally:
                world.close()

        asyncio.run(main())

    return run_in_loop


async def answered(world: Pop3World, *answers: Answer) -> None:
    """Have qmail-pspawn say this."""
    for answer in answers:
        world.server.line.on_payload(answer.pack().partition(b":")[2][:-1])
    await settle()


def begun(world: Pop3World, connection: Pop3Connection) -> int:
    """Let a client send its login; return the tag."""
    connection.data_received(LOGIN)
    (call,) = world.heard()
    assert isinstance(call, Begin)
    return call.tag


# --- time -----------------------------------------------------------------------------------------


def test_rfc1939_3_a_client_has_ten_minutes_to_log_in_and_no_more(run: Run) -> None:
    async def test(world: Pop3World) -> None:
        connection, transport = world.connect()
        for _ in range(10):
            connection.data_received(b"NOOP\r\n")
            world.later(59)
        assert transport.ended == ""
        world.later(12)
        assert transport.lines[-1] == b"-ERR [SYS/TEMP] timed out"
        assert transport.ended == "our side"
        world.later(LINGER_S + 1)
        assert transport.ended == "aborted"

    run(test)


def test_a_handshake_has_a_minute_however_many_bytes_come(run: Run, tmp_path: Path) -> None:
    async def test(world: Pop3World) -> None:
        hello = TlsClient(client_context(tmp_path / "servercert.pem")).shake_hands()
        connection, transport = world.connect(service="pop3s")
        for at in range(59):
            connection.data_received(hello[at : at + 1])
            world.later(1)
        assert transport.ended == ""
        world.later(HANDSHAKE_S_MAX - 58)
        assert transport.ended == "aborted"
        # After STLS the minute begins with the handshake.
        connection, transport = world.connect()
        world.later(300)
        connection.data_received(b"STLS\r\n")
        world.later(59)
        assert transport.ended == ""
        world.later(2)
        assert transport.ended == "aborted"

    run(test, tls=server_context(str(write_pem(tmp_path))))


def test_qmail_pspawn_has_a_minute_and_the_client_is_told(run: Run) -> None:
    async def test(world: Pop3World) -> None:
        connection, transport = world.connect()
        tag = begun(world, connection)
        world.later(pop3_entry.ANSWER_S_MAX - 1)
        assert transport.lines[-1] == b"+OK "
        world.later(2)
        assert transport.lines[-1] == TROUBLE
        assert world.heard() == [GiveUp(tag)]
        await answered(world, Accepted(tag, b"joe"))
        assert begun(world, connection) == tag + 1

    run(test)


def test_a_session_has_a_minute_to_begin(run: Run) -> None:
    async def test(world: Pop3World) -> None:
        connection, transport = world.connect()
        tag = begun(world, connection)
        await answered(world, Accepted(tag, b"joe"))
        assert world.heard() == [Start(tag)]
        assert not transport.reads
        world.later(pop3_visit.START_S_MAX + 1)
        assert transport.lines[-1] == TROUBLE
        assert world.heard() == [GiveUp(tag)]
        assert transport.ended == "our side"

    run(test)


def test_a_relayed_session_that_is_silent_for_longer_than_it_may_is_cut_off(run: Run) -> None:
    async def test(world: Pop3World) -> None:
        connection, transport = world.connect()
        connection.data_received(LOGIN + b"STAT\r\n")
        (call,) = world.heard()
        await answered(world, Accepted(call.tag, b"joe"), Begun(call.tag))
        world.later(1200)
        connection.data_received(b"NOOP\r\n")
        world.later(1200)
        assert transport.ended == ""
        world.later(pop3_visit.RELAY_S_MORE + 1)
        assert transport.ended == "aborted"
        assert world.heard()[-1] == GiveUp(call.tag)
        connection.connection_lost(None)

    run(test)


def test_a_session_with_the_socket_has_no_time_here(run: Run) -> None:
    async def test(world: Pop3World) -> None:
        connection, transport = world.connect()
        tag = begun(world, connection)
        await answered(world, Accepted(tag, b"joe"), Begun(tag))
        assert transport.ended == "closed"
        assert transport.written.endswith(b"+OK \r\n")
        connection.connection_lost(None)
        world.later(100_000)
        assert len(world.server._connections) == 1
        await answered(world, Ended(tag, 0))
        assert not world.server._connections
        assert world.log()[-1] == "popup: logout 127.0.0.1 <joe> seconds 100000"

    run(test)


def test_a_client_that_does_not_read_its_last_reply_has_the_timeout(run: Run) -> None:
    async def test(world: Pop3World) -> None:
        connection, transport = world.connect()
        connection.data_received(b"QUIT\r\n")
        transport.unsent = 4
        world.later(LINGER_S + 1)
        assert transport.ended == "our side"
        world.later(1200)
        assert transport.ended == "aborted"

    run(test)


def test_a_login_that_is_held_back_is_not_late(run: Run) -> None:
    async def test(world: Pop3World) -> None:
        held: list[tuple[float, Callable[..., None], Any]] = []
        world.server.call_later = lambda *call: held.append(call)
        for _ in range(9):
            world.server.guesses.failed("192.0.2.1", b"other")
        connection, transport = world.connect("192.0.2.1")
        connection.data_received(LOGIN)
        assert world.heard() == []
        ((seconds, call, event),) = held
        assert seconds == 16
        world.later(16)
        call(event)
        (begin,) = world.heard()
        assert isinstance(begin, Begin)
        await answered(world, Refused(begin.tag, Refusal.AUTH))
        assert transport.lines[-1] == b"-ERR [AUTH] authorization failed"
        # A client that hangs up meanwhile is not asked for.
        connection.data_received(LOGIN)
        connection.connection_lost(None)
        call(event)
        assert world.heard() == []

    run(test, takes_clear=lambda _ip: True)


def test_who_would_stand_in_line_for_too_long_is_refused(run: Run) -> None:
    async def test(world: Pop3World) -> None:
        world.server.call_later = lambda *_call: None
        for _ in range(20):
            world.server.guesses.failed("192.0.2.1", b"other")
        ends = []
        for _ in range(5):
            connection, transport = world.connect("192.0.2.1")
            connection.data_received(LOGIN)
            ends.append(transport.lines[-1])
        assert ends[:2] == [b"+OK ", b"+OK "]
        assert set(ends[2:]) == {b"-ERR [AUTH] too many failures"}
        assert world.log()[-1].startswith("popup: denied 192.0.2.1 <joe> pop3 USER: -ERR [AUTH]")

    run(test, takes_clear=lambda _ip: True)


# --- counts ---------------------------------------------------------------------------------------


def test_one_address_gets_so_many_connections_and_loopback_any(run: Run) -> None:
    async def test(world: Pop3World) -> None:
        clients = [world.connect("192.0.2.1") for _ in range(3)]
        assert all(client[1].written.startswith(b"+OK ") for client in clients)
        _, refused = world.connect("::ffff:192.0.2.1")
        assert refused.lines == [b"-ERR [SYS/TEMP] too many connections, try again later"]
        assert refused.ended == "closed"
        assert world.log() == [
            "popup: refuse 192.0.2.1: -ERR [SYS/TEMP] too many connections, try again later"
        ]
        assert world.connect("192.0.2.2")[1].written.startswith(b"+OK ")
        for ip in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
            assert all(world.connect(ip)[1].written.startswith(b"+OK ") for _ in range(5))
        clients[0][0].connection_lost(None)
        assert world.connect("192.0.2.1")[1].written.startswith(b"+OK ")
        network = [world.connect(f"2001:db8::{last}")[1] for last in range(4)]
        assert [client.ended for client in network] == ["", "", "", "closed"]

    run(test, per_client_max=3)


def test_a_session_counts_until_its_process_has_ended(run: Run) -> None:
    async def test(world: Pop3World) -> None:
        connection, _ = world.connect("192.0.2.1")
        tag = begun(world, connection)
        await answered(world, Accepted(tag, b"joe"), Begun(tag))
        connection.connection_lost(None)
        assert world.connect("192.0.2.1")[1].ended == "closed"
        await answered(world, Ended(tag, 0))
        assert world.connect("192.0.2.1")[1].ended == ""

    run(test, per_client_max=1, takes_clear=lambda _ip: True)


def test_with_the_server_full_who_does_not_log_in_makes_room(run: Run) -> None:
    async def test(world: Pop3World) -> None:
        session, _ = world.connect()
        tag = begun(world, session)
        await answered(world, Accepted(tag, b"joe"), Begun(tag))
        _, oldest = world.connect()
        _, other = world.connect()
        assert world.connect()[1].lines[0].startswith(b"-ERR [SYS/TEMP] too many connections")
        world.time_s += pop3_server.CROWDED_S
        _, new = world.connect()
        assert new.written.startswith(b"+OK ")
        assert oldest.lines[-1] == b"-ERR [SYS/TEMP] too many connections, try again later"
        assert oldest.ended == "our side"
        assert other.ended == ""
        assert world.connect()[1].written.startswith(b"+OK ")
        assert other.ended == "our side"
        # The new ones are not here for long, and the session stays.
        assert world.connect()[1].ended == "closed"

    run(test, sessions_max=3)


def test_what_waits_behind_a_login_is_bounded(run: Run) -> None:
    async def test(world: Pop3World) -> None:
        connection, transport = world.connect()
        connection.data_received(LOGIN)
        connection.data_received(b"x" * pop3_entry.PENDING_BYTES_MAX)
        assert transport.reads
        connection.data_received(b"x")
        assert not transport.reads

    run(test)


def test_a_client_that_reads_no_replies_is_not_read_from(run: Run) -> None:
    async def test(world: Pop3World) -> None:
        connection, transport = world.connect()
        connection.pause_writing()
        connection.data_received(b"NOOP\r\n" * 10)
        assert transport.lines == [b"+OK me.ex"]
        assert not transport.reads
        connection.resume_writing()
        assert transport.lines[1:] == [b"+OK "] * 10
        assert transport.reads

    run(test)


def test_twenty_five_mistakes_end_a_connection_and_are_told_once(run: Run) -> None:
    async def test(world: Pop3World) -> None:
        connection, transport = world.connect()
        connection.data_received(b"GET / HTTP/1.0\r\n" * 30)
        assert transport.lines[-1] == b"-ERR [SYS/TEMP] too many mistakes"
        assert transport.ended == "our side"
        assert world.log() == ["popup: refuse 127.0.0.1: -ERR [SYS/TEMP] too many mistakes"]

    run(test)


# --- odd ends -------------------------------------------------------------------------------------


def test_a_client_that_goes_while_its_password_is_looked_at_is_given_up(run: Run) -> None:
    async def test(world: Pop3World) -> None:
        connection, _ = world.connect()
        tag = begun(world, connection)
        connection.connection_lost(None)
        assert world.heard() == [GiveUp(tag)]
        await answered(world, Accepted(tag, b"joe"))
        assert world.heard() == []
        assert not world.server._connections

    run(test)


def test_a_client_that_goes_while_its_session_is_being_started_is_given_up(run: Run) -> None:
    async def test(world: Pop3World) -> None:
        connection, _ = world.connect()
        tag = begun(world, connection)
        await answered(world, Accepted(tag, b"joe", Proof.CLAIMED))
        connection.connection_lost(None)
        await settle()
        assert world.heard() == [Start(tag), GiveUp(tag)]
        assert not world.server._connections

    run(test)


@pytest.mark.parametrize("data", [LOGIN, LOGIN + b"QUIT\r\n"])
def test_an_end_of_input_behind_a_login_waits_for_its_answer(run: Run, data: bytes) -> None:
    async def test(world: Pop3World) -> None:
        connection, transport = world.connect()
        connection.data_received(data)
        assert connection.eof_received()
        (call,) = world.heard()
        await answered(world, Refused(call.tag, Refusal.AUTH))
        assert b"-ERR [AUTH] authorization failed" in transport.lines
        assert transport.ended == "closed"

    run(test)


def test_a_name_that_is_too_long_to_be_one_is_refused_here(run: Run) -> None:
    async def test(world: Pop3World) -> None:
        connection, transport = world.connect()
        connection.data_received(b"AUTH PLAIN " + b"QUFB" * 3000 + b"\r\n")
        assert transport.lines[-1] == b"-ERR [AUTH] authorization failed"
        assert world.heard() == []

    run(test)


def test_a_socket_that_has_not_sent_all_is_not_given_away(run: Run) -> None:
    async def test(world: Pop3World) -> None:
        connection, transport = world.connect()
        tag = begun(world, connection)
        transport.unsent = 3
        await answered(world, Accepted(tag, b"joe"), Begun(tag))
        assert transport.ended == ""
        assert transport.reads
        connection.connection_lost(None)
        await settle()

    run(test)


def test_structured_lines_have_the_session(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QMAIL_LOG", "records")

    async def test(world: Pop3World) -> None:
        connection, _ = world.connect()
        tag = begun(world, connection)
        await answered(world, Accepted(tag, b"joe smith"), Begun(tag), Ended(tag, 0))
        login, logout = world.log()
        text, tail = login.split("\x1f")
        assert text == "popup: login 127.0.0.1 <joe_smith> pop3 USER clear"
        assert tail.startswith("session=")
        assert logout.split("\x1f")[1] == tail

    run(test)
