"""Limits of the resident SMTP server, and its line to the queue, without processes."""

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from tests.fakes.queue_door import QueueDoor
from tests.fakes.serve_world import World

from qmail.edge.doors import line as door_line
from qmail.edge.doors.courier import QUEUE_LOST
from qmail.edge.doors.queue_line import QueueLine
from qmail.edge.smtp import connection as smtp_connection
from qmail.edge.smtp import server as serve
from qmail.edge.submit import program_line
from qmail.edge.submit.program_line import KEPT_BYTES_MAX, PROGRAMS_MAX, ProgramCourier
from qmail.mail import Envelope, Result, deferred

OPENING = b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@ours.example>\r\nDATA\r\n"


@pytest.fixture
def run() -> Iterator[Callable[[Callable[[World], Awaitable[None]]], None]]:
    worlds: list[World] = []

    def run_in_loop(test: Callable[[World], Awaitable[None]]) -> None:
        async def main() -> None:
            worlds.append(World())
            await test(worlds[-1])

        asyncio.run(main())

    yield run_in_loop
    for world in worlds:
        world.close()


Run = Callable[[Callable[[World], Awaitable[None]]], None]


@pytest.mark.parametrize(
    ("ip", "same", "different"),
    [("192.0.2.1", "192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")],
)
def test_one_client_gets_200_sessions_and_no_more(
    run: Run, ip: str, *, same: str, different: str
) -> None:
    async def test(world: World) -> None:
        clients = [world.connect(ip) for _ in range(serve.SESSIONS_PER_CLIENT_MAX)]
        assert all(client[1].written.startswith(b"220 ") for client in clients)
        _, refused = world.connect(same)
        assert refused.written.startswith(b"421 4.7.0 ")
        assert refused.ended == "closed"
        _, other = world.connect(different)
        assert other.written.startswith(b"220 ")
        clients[0][0].connection_lost(None)
        _, again = world.connect(same)
        assert again.written.startswith(b"220 ")

    run(test)


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1", "198.51.100.7", "::ffff:127.0.0.1"])
def test_loopback_and_relayclients_have_no_limit_of_their_own(run: Run, ip: str) -> None:
    async def test(world: World) -> None:
        for _ in range(serve.SESSIONS_PER_CLIENT_MAX + 5):
            assert world.connect(ip)[1].written.startswith(b"220 ")

    run(test)


def test_there_is_a_limit_for_all_together(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "SESSIONS_MAX", 3)

    async def test(world: World) -> None:
        for last in range(3):
            assert world.connect(f"192.0.2.{last}")[1].written.startswith(b"220 ")
        assert world.connect("192.0.2.9")[1].written.startswith(b"421 4.7.0 ")

    run(test)


def test_a_message_has_to_come_at_a_pace(run: Run) -> None:
    async def test(world: World) -> None:
        world.queue_up()
        connection, transport = world.connect()
        connection.data_received(OPENING)
        # A byte a second is always in time for one read, and far too slow for a message.
        for _ in range(int(smtp_connection.DATA_S_MIN) + 30):
            world.time_s += 1
            connection.data_received(b"x")
            connection.check(world.time_s)
            if transport.ended:
                break
        assert (
            transport.written.rpartition(b"354 ")[2].partition(b"\r\n")[2].startswith(b"451 4.4.2")
        )
        assert world.time_s <= 1000 + smtp_connection.DATA_S_MIN + 2

    run(test)


def test_a_fast_message_may_take_longer(run: Run) -> None:
    async def test(world: World) -> None:
        world.queue_up()
        connection, transport = world.connect()
        connection.data_received(OPENING)
        for _ in range(1000):
            world.time_s += 1
            connection.data_received(b"x" * 2048)
            connection.check(world.time_s)
        assert transport.ended == ""
        connection.connection_lost(None)

    run(test)


def test_a_queue_that_does_not_answer_is_451(run: Run) -> None:
    async def test(world: World) -> None:
        world.queue_up()
        connection, transport = world.connect()
        connection.data_received(OPENING + b".\r\nNOOP\r\n")
        world.time_s += smtp_connection.ANSWER_S_MAX - 1
        connection.check(world.time_s)
        assert transport.written.endswith(b"354 go ahead\r\n")
        world.time_s += 2
        connection.check(world.time_s)
        assert transport.written.endswith(
            b"451 4.3.0 the queue does not answer\r\n250 2.0.0 ok\r\n"
        )
        assert world.line.in_flight == {}

    run(test)


def test_a_client_that_does_not_end_its_side_is_cut_off(run: Run) -> None:
    async def test(world: World) -> None:
        connection, transport = world.connect()
        connection.data_received(b"BAD\r\n" * 200)
        assert transport.ended == "our side"
        connection.data_received(b"more" * 1000)
        world.time_s += smtp_connection.LINGER_S + 1
        connection.check(world.time_s)
        assert transport.ended == "aborted"

    run(test)


def test_what_waits_behind_a_message_is_bounded(run: Run) -> None:
    async def test(world: World) -> None:
        world.queue_up()
        connection, transport = world.connect()
        connection.data_received(OPENING + b".\r\n")
        connection.data_received(b"NOOP\r\n" * 5000)
        assert transport.reads
        connection.data_received(b"NOOP\r\n" * 10000)
        assert not transport.reads
        connection.on_queued(None, 5)
        assert transport.reads
        assert transport.written.count(b"250 2.0.0 ok\r\n") == 15000

    run(test)


def test_with_the_line_full_clients_are_not_read_from(run: Run) -> None:
    async def test(world: World) -> None:
        world.queue_up()
        connection, transport = world.connect()
        connection.data_received(OPENING + b"x" * 1000)
        assert transport.reads
        world.line.pause_writing()
        connection.data_received(b"x" * 1000)
        assert not transport.reads
        world.line.resume_writing()
        assert transport.reads

    run(test)


class Waiting:
    """An owner that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Result | None, int]] = []
        self.rooms = 0
        self.trace_id = b"5f0c1"

    def on_queued(self, result: Result | None, qp: int) -> None:
        self.told.append((result, qp))

    def on_room(self) -> None:
        self.rooms += 1


def test_frames_of_one_turn_are_written_at_once(run: Run) -> None:
    async def test(world: World) -> None:
        world.queue_up()
        for number in range(3):
            parcel = world.line.begin(Waiting())
            assert parcel is not None
            parcel.add(b"message %d\n" % number)
            parcel.finish(Envelope(b"", (b"a@b",)))
        assert world.door.written == b""
        world.line.flush()
        assert world.door.written.count(b"message ") == 3

    run(test)


def test_a_parcel_that_the_line_lost_is_told_after_its_end(run: Run) -> None:
    async def test(world: World) -> None:
        world.queue_up()
        owner = Waiting()
        parcel = world.line.begin(owner)
        assert parcel is not None
        parcel.add(b"x" * 100000)
        world.line.connection_lost(None)
        assert world.line.begin(Waiting()) is None
        world.queue_up()
        parcel.add(b"x" * 100000)
        parcel.finish(Envelope(b"", (b"a@b",)))
        assert owner.told == []
        await asyncio.sleep(0)
        assert owner.told == [(QUEUE_LOST, 0)]
        assert world.line.in_flight == {}

    run(test)


def test_a_small_parcel_survives_a_reconnection(run: Run) -> None:
    async def test(world: World) -> None:
        world.queue_up()
        parcel = world.line.begin(Waiting())
        assert parcel is not None
        parcel.add(b"small\n")
        world.line.connection_lost(None)
        world.queue_up()
        parcel.finish(Envelope(b"", (b"a@b",)))
        world.line.flush()
        assert b"small\n" in world.door.written

    run(test)


def test_a_queue_that_breaks_the_framing_is_hung_up_on(run: Run) -> None:
    async def test(world: World) -> None:
        world.queue_up()
        world.line.data_received(b"nonsense")
        assert world.door.ended == "aborted"

    run(test)


def test_the_line_calls_again_and_checks_who_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_line, "CALL_AGAIN_S", 0.01)
    (tmp_path / "run").mkdir()

    async def connected(line: QueueLine, looks: int) -> bool:
        task = asyncio.create_task(line.keep_up())
        for _ in range(looks):
            await asyncio.sleep(0.01)
            if line.is_up:
                break
        found = line.is_up
        task.cancel()
        return found

    with QueueDoor(tmp_path):
        friend = QueueLine(str(tmp_path), frozenset({os.getuid()}), lambda: None)
        assert asyncio.run(connected(friend, 6000))
        stranger = QueueLine(str(tmp_path), frozenset({os.getuid() + 1}), lambda: None)
        assert not asyncio.run(connected(stranger, 100))


def test_too_many_programs_at_once_are_refused() -> None:
    courier = ProgramCourier("/bin/true")
    courier.running = PROGRAMS_MAX
    assert courier.begin(Waiting()) is None


def test_few_descriptors_allow_few_programs() -> None:
    courier = ProgramCourier("/bin/true", descriptors=64)
    courier.running = 4
    assert courier.begin(Waiting()) is None
    courier.running = 3
    assert courier.begin(Waiting()) is not None


@pytest.mark.parametrize("size", [1, 3 * KEPT_BYTES_MAX])
def test_a_message_that_finds_no_room_for_its_program_is_refused_for_now(size: int) -> None:
    async def test() -> Result | None:
        owner = Waiting()
        courier = ProgramCourier("/bin/true")
        parcel = courier.begin(owner)
        assert parcel is not None
        courier.running = PROGRAMS_MAX
        parcel.add(b"x" * size)
        parcel.add(b"y")
        assert not parcel.is_full
        parcel.finish(Envelope(b"a@x", (b"b@y",)))
        await asyncio.sleep(0)
        return owner.told[0][0]

    result = asyncio.run(asyncio.wait_for(test(), 20))
    assert result == deferred(b"mail server temporarily rejected message (#4.3.0)")


def test_a_program_without_descriptors_leaves_none_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    made = iter((os.pipe(), os.pipe()))
    fds: list[int] = []

    def scarce() -> tuple[int, int]:
        pair = next(made, None)
        if pair is None:
            raise OSError(errno.EMFILE, "Too many open files")
        fds.extend(pair)
        return pair

    async def test() -> None:
        owner = Waiting()
        parcel = ProgramCourier("/bin/true").begin(owner)
        assert parcel is not None
        parcel.finish(Envelope(b"a@x", (b"b@y",)))
        await asyncio.sleep(0)

    monkeypatch.setattr(program_line, "high_pipe", scarce)
    asyncio.run(asyncio.wait_for(test(), 20))
    assert len(fds) == 4
    for fd in fds:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_listening_turns_nagle_off(run: Run) -> None:
    async def test(world: World) -> None:
        sock = socket.create_server(("127.0.0.1", 0))
        await world.server.listen([sock])
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await world.server.shut_down()

    run(test)
