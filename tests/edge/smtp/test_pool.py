"""Connections kept and shared, with servers in threads of the test."""

import asyncio
import errno
import os
import socket
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

import pytest
from tests.fakes.smtp_server import FakeServer

from qmail.edge.smtp.back_off import BackOff
from qmail.edge.smtp.body import PART_BYTES, Body
from qmail.edge.smtp.connect import CANNOT_READ
from qmail.edge.smtp.pool import CONNECTIONS_MAX, Limits, Pool
from qmail.mail import Letter, Result
from qmail.protocol.remote_reports import NO_CONNECTION, NO_DESCRIPTOR, Ending, Outcome

HERE = "127.0.0.1"
WAIT_S_MAX = 120
QUICK = Limits(connect_s_max=60, wait_s_max=60, idle_s_max=60, tick_s=0.01)


@dataclass
class Plain:
    """A message of the test's own."""

    deadline: float
    load: Callable[[], Body | Result]
    sender: bytes = b"s@x.ex"
    recipients: tuple[bytes, ...] = (b"r@y.ex",)


def message(
    body: bytes = b"a\n.b\n",
    *,
    load: Callable[[], Body | Result] | None = None,
    lives_s: float = 60,
) -> Plain:
    deadline = asyncio.get_running_loop().time() + lives_s
    return Plain(deadline, load or (lambda: Body.of_bytes(body)))


def in_a_file(body: bytes) -> Callable[[], Body]:
    """Return what loads a message from a file that has no name."""

    def load() -> Body:
        with tempfile.TemporaryFile() as file:
            file.write(body)
            file.flush()
            return Body.of_file(os.dup(file.fileno()), len(body))

    return load


def run(
    work: Callable[[Pool], Coroutine[None, None, None]],
    limits: Limits = QUICK,
    back_off: BackOff | None = None,
) -> None:
    """Run `work` with a pool; it must leave nothing behind."""

    async def main() -> None:
        pool = Pool(b"me.ex", limits, back_off)
        async with asyncio.timeout(WAIT_S_MAX):
            await work(pool)
        await pool.close()

    asyncio.run(main())


def letters(outcomes: list[Outcome]) -> str:
    return "".join(chr(outcome.result.letter) for outcome in outcomes)


def test_messages_one_after_the_other_share_a_connection() -> None:
    with FakeServer() as server:

        async def work(pool: Pool) -> None:
            for _ in range(5):
                outcome = await pool.exchange(HERE, server.port, message())
                assert outcome.recipients == (b"r",)
                assert outcome.result.letter is Letter.DELIVERED

        run(work)
    assert server.connections == 1
    assert [taken.data for taken in server.taken] == [b"a\r\n..b\r\n"] * 5
    assert server.taken[0].mail == b"MAIL FROM:<s@x.ex> SIZE=8"
    assert b"RSET" not in server.commands
    assert server.commands[-1] == b"QUIT"


def test_no_more_than_so_many_connections_to_one_address() -> None:
    with FakeServer() as server:

        async def work(pool: Pool) -> None:
            count = 5 * CONNECTIONS_MAX
            sent = [pool.exchange(HERE, server.port, message()) for _ in range(count)]
            assert letters(await asyncio.gather(*sent)) == "K" * count

        run(work)
    assert server.connections <= CONNECTIONS_MAX
    assert len(server.taken) == 5 * CONNECTIONS_MAX


def test_an_idle_connection_makes_room_for_one_to_another_host() -> None:
    with FakeServer() as first, FakeServer() as second, FakeServer() as third:
        servers = (first, second, third, first)

        async def work(pool: Pool) -> None:
            for server in servers:
                outcome = await pool.exchange(HERE, server.port, message())
                assert outcome.result.letter is Letter.DELIVERED

        run(work, Limits(60, 60, idle_s_max=60, tick_s=0.01, sockets_max=2))
        assert first.has_hung_up.wait(WAIT_S_MAX)
    # The second time first was asked, its connection had been closed in favour of third.
    assert (first.connections, second.connections, third.connections) == (2, 1, 1)
    assert b"QUIT" in first.commands


def test_a_connection_that_waits_for_the_end_makes_room_before_an_idle_one() -> None:
    # QUIT is not answered: the connection stays until it is closed by force.
    with FakeServer(replies={b"QUIT": None}) as first, FakeServer() as second:

        async def work(pool: Pool) -> None:
            assert letters([await pool.exchange(HERE, first.port, message())]) == "K"
            assert letters([await pool.exchange(HERE, second.port, message())]) == "K"
            assert pool.count == 1
            assert letters([await pool.exchange(HERE, second.port, message())]) == "K"

        run(work, Limits(60, 60, idle_s_max=60, tick_s=0.01, sockets_max=1))
        assert first.has_hung_up.wait(WAIT_S_MAX)
    assert (first.connections, second.connections) == (1, 1)


def test_where_nothing_is_idle_there_may_be_more_connections() -> None:
    with FakeServer(greets_with=4) as server:

        async def work(pool: Pool) -> None:
            sent = [pool.exchange(HERE, server.port, message()) for _ in range(4)]
            assert letters(await asyncio.gather(*sent)) == "KKKK"

        run(work, Limits(60, 60, tick_s=0.01, sockets_max=2))
    assert server.connections == 4


def test_without_a_descriptor_the_message_is_put_off_and_the_reason_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(pool: Pool) -> None:
        async def scarce(*_: object) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        loop = asyncio.get_running_loop()
        with monkeypatch.context() as patch:
            patch.setattr(loop, "create_connection", scarce)
            assert await pool.exchange(HERE, server.port, message()) is NO_DESCRIPTOR
        assert pool.count == 0
        assert letters([await pool.exchange(HERE, server.port, message())]) == "K"

    with FakeServer() as server:
        run(work)


@pytest.mark.parametrize("most", [1, 3, 0])
def test_concurrencyhost_says_how_many_connections_one_address_gets(most: int) -> None:
    count = 60
    # All of them wait, so that none takes a connection that another one has done with.
    with FakeServer(greets_with=most or count) as server:

        async def work(pool: Pool) -> None:
            sent = [pool.exchange(HERE, server.port, message()) for _ in range(count)]
            assert letters(await asyncio.gather(*sent)) == "K" * count

        run(work, Limits(60, 60, tick_s=0.01, connections_max=most))
    assert server.connections == (most or count)


def test_a_failed_transaction_is_followed_by_rset() -> None:
    with FakeServer(replies={b"RCPT": [b"550 no\r\n", b"450 full\r\n"]}) as server:

        async def work(pool: Pool) -> None:
            outcomes = [await pool.exchange(HERE, server.port, message()) for _ in range(3)]
            assert [outcome.spawn_report()[:1] for outcome in outcomes] == [b"D", b"Z", b"K"]

        run(work)
    assert server.commands.count(b"RSET") == 2


def test_a_kept_connection_that_has_gone_dead_costs_no_deferral() -> None:
    # The server closes in answer to the second MAIL, as one does that was idle for too long.
    with FakeServer(
        replies={b"MAIL": [b"250 ok\r\n", b"", b"250 ok\r\n", b"421 idle\r\n"]}
    ) as server:

        async def work(pool: Pool) -> None:
            outcomes = [await pool.exchange(HERE, server.port, message()) for _ in range(3)]
            assert letters(outcomes) == "KKK"

        run(work)
    assert server.connections == 3
    assert len(server.taken) == 3


def test_a_new_connection_that_dies_at_mail_says_to_try_the_next_host() -> None:
    with FakeServer(replies={b"MAIL": b""}) as server:

        async def work(pool: Pool) -> None:
            outcome = await pool.exchange(HERE, server.port, message())
            assert outcome.ending is Ending.NEXT_HOST
            assert b"connection died" in outcome.result.text

        run(work)


def test_death_after_the_dot_is_a_possible_duplicate() -> None:
    with FakeServer(replies={b".": b""}) as server:

        async def work(pool: Pool) -> None:
            outcome = await pool.exchange(HERE, server.port, message())
            assert b"Possible duplicate! (#4.4.2)" in outcome.result.text
            assert outcome.ending is Ending.FINAL

        run(work)


def test_nobody_listens() -> None:
    with socket.create_server((HERE, 0)) as taken:
        port = taken.getsockname()[1]

    async def work(pool: Pool) -> None:
        sent = [pool.exchange(HERE, port, message()) for _ in range(2 * CONNECTIONS_MAX)]
        assert set(await asyncio.gather(*sent)) == {NO_CONNECTION}

    run(work)


# --- addresses that are left alone (spec/delivery.md 13) ------------------------------------------


class NotedBackOff(BackOff):
    """A BackOff without files: notes what it is told, and says what a test wants."""

    def __init__(self, *, alone: bool = False) -> None:
        self.told: list[str] = []
        self.alone = alone

    def is_left_alone(self, address: str) -> bool:
        assert address == HERE
        return self.alone

    def timed_out(self, address: str) -> None:
        self.told.append(f"timed out {address}")

    def refused(self, address: str) -> None:
        self.told.append(f"refused {address}")

    def answered(self, address: str) -> None:
        self.told.append(f"answered {address}")


def test_delivery_13_an_address_that_is_left_alone_gets_no_connection() -> None:
    back_off = NotedBackOff(alone=True)
    with FakeServer() as server:

        async def work(pool: Pool) -> None:
            sent = [pool.exchange(HERE, server.port, message()) for _ in range(3)]
            assert set(await asyncio.gather(*sent)) == {NO_CONNECTION}
            back_off.alone = False
            assert letters([await pool.exchange(HERE, server.port, message())]) == "K"

        run(work, back_off=back_off)
    assert server.connections == 1
    assert back_off.told == ["answered 127.0.0.1"]


def test_oddities_4_a_refused_connection_is_told_as_such() -> None:
    with socket.create_server((HERE, 0)) as taken:
        port = taken.getsockname()[1]
    back_off = NotedBackOff()

    async def work(pool: Pool) -> None:
        assert await pool.exchange(HERE, port, message()) == NO_CONNECTION

    run(work, back_off=back_off)
    assert back_off.told == ["refused 127.0.0.1"]


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (TimeoutError(), ["timed out 127.0.0.1"]),
        (OSError(errno.ETIMEDOUT, "timed out"), ["timed out 127.0.0.1"]),
        (OSError(errno.EHOSTUNREACH, "no route"), []),
    ],
)
def test_delivery_13_only_a_timeout_counts_as_one(
    monkeypatch: pytest.MonkeyPatch, trouble: OSError, told: list[str]
) -> None:
    back_off = NotedBackOff()

    async def fail(*_arguments: object, **_more: object) -> None:
        raise trouble

    async def work(pool: Pool) -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", fail)
        assert await pool.exchange(HERE, 25, message()) == NO_CONNECTION

    run(work, back_off=back_off)
    assert back_off.told == told


def test_a_server_that_refuses_at_the_greeting_turns_all_who_wait_away() -> None:
    with FakeServer(greeting=b"554 no\r\n") as server:

        async def work(pool: Pool) -> None:
            sent = [pool.exchange(HERE, server.port, message()) for _ in range(50)]
            for outcome in await asyncio.gather(*sent):
                assert outcome.ending is Ending.NEXT_HOST
                assert outcome.result.letter is Letter.FAILED

        run(work)
    assert server.connections <= CONNECTIONS_MAX


def test_a_server_that_takes_few_connections_gets_the_rest_over_those() -> None:
    with FakeServer() as server:

        async def work(pool: Pool) -> None:
            first = await pool.exchange(HERE, server.port, message())
            assert first.result.letter is Letter.DELIVERED
            server.greeting = b"421 too many\r\n"
            sent = [pool.exchange(HERE, server.port, message()) for _ in range(50)]
            assert letters(await asyncio.gather(*sent)) == "K" * 50

        run(work)
    assert {taken.connection for taken in server.taken} == {1}


@pytest.mark.parametrize("silent_at", [b"greeting", b"EHLO", b"MAIL", b"RCPT", b"DATA", b"."])
def test_a_silent_server_is_given_up(silent_at: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeServer() as server:
        if silent_at == b"greeting":
            server.greeting = None
        else:
            server.extensions = (b"X",)
            server.replies[silent_at] = None

        async def work(pool: Pool) -> None:
            sent = pool.exchange(HERE, server.port, message(lives_s=1000))
            assert await asyncio.to_thread(server.is_silent.wait, WAIT_S_MAX / 2)
            loop = asyncio.get_running_loop()
            time = loop.time
            monkeypatch.setattr(loop, "time", lambda: time() + QUICK.wait_s_max)
            outcome = await sent
            assert outcome.spawn_report()[:1] == b"Z"
            assert b"but connection died." in outcome.result.text
            assert (b"duplicate" in outcome.result.text) == (silent_at == b".")

        run(work)


def test_a_server_that_does_not_read_is_given_up() -> None:
    with FakeServer(reads_data=False) as server:

        async def work(pool: Pool) -> None:
            outcome = await pool.exchange(
                HERE, server.port, message(load=in_a_file(b"x\n" * 10_000_000))
            )
            assert outcome.result.letter is Letter.DEFERRED
            assert b"duplicate" not in outcome.result.text

        run(work, Limits(60, 0.2, tick_s=0.01))


def test_a_server_that_answers_before_it_is_asked_is_not_believed() -> None:
    said = b"220 x\r\n250 x\r\n250 m\r\n250 r\r\n354 d\r\n250 taken\r\n"
    with FakeServer(greeting=said) as server:

        async def work(pool: Pool) -> None:
            outcome = await pool.exchange(HERE, server.port, message())
            assert outcome is NO_CONNECTION

        run(work)


def test_an_idle_connection_is_closed_with_quit() -> None:
    with FakeServer() as server:

        async def work(pool: Pool) -> None:
            await pool.exchange(HERE, server.port, message())
            assert await asyncio.to_thread(server.has_hung_up.wait, WAIT_S_MAX / 2)
            outcome = await pool.exchange(HERE, server.port, message())
            assert outcome.result.letter is Letter.DELIVERED

        run(work, Limits(60, 60, idle_s_max=0.02, tick_s=0.01))
    assert server.commands.count(b"QUIT") == 2
    assert server.connections == 2


def test_a_connection_carries_so_many_messages_and_is_then_closed() -> None:
    with FakeServer() as server:

        async def work(pool: Pool) -> None:
            for _ in range(7):
                await pool.exchange(HERE, server.port, message())

        run(work, Limits(60, 60, idle_s_max=60, messages_max=3))
    assert [taken.connection for taken in server.taken] == [1, 1, 1, 2, 2, 2, 3]


def test_a_message_that_cannot_be_read_is_deferred_and_harms_nobody() -> None:
    with FakeServer() as server:

        async def work(pool: Pool) -> None:
            bad = pool.exchange(HERE, server.port, message(load=lambda: CANNOT_READ))
            good = pool.exchange(HERE, server.port, message())
            assert (await bad).result is CANNOT_READ
            assert (await good).result.letter is Letter.DELIVERED

        run(work)
    assert len(server.taken) == 1


def test_a_long_message_arrives_whole() -> None:
    body = b".stuffed line\n" * (PART_BYTES // 2)
    with FakeServer() as server:

        async def work(pool: Pool) -> None:
            outcome = await pool.exchange(HERE, server.port, message(load=in_a_file(body)))
            assert outcome.result.letter is Letter.DELIVERED

        run(work)
    assert server.taken[0].data == body.replace(b".", b"..").replace(b"\n", b"\r\n")


def test_what_waits_too_long_for_a_turn_is_deferred() -> None:
    with FakeServer(replies={b"EHLO": None}) as server:

        async def work(pool: Pool) -> None:
            sent = [pool.exchange(HERE, server.port, message(lives_s=0.1)) for _ in range(30)]
            for outcome in await asyncio.gather(*sent):
                assert outcome.result.letter is Letter.DEFERRED
                assert b"#4.4.7" in outcome.result.text

        run(work)
