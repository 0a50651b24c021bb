"""The line to qmail-pspawn, without a server: bounds, descriptors, what happens when it breaks."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from qmail.edge.doors import login_line
from qmail.edge.doors.login_line import LoginLine
from qmail.protocol.login_door import (
    Accepted,
    Begin,
    Begun,
    Challenge,
    Ended,
    GiveUp,
    Mechanism,
    Offer,
    Proof,
    Refusal,
    Refused,
    Response,
    Start,
    unpack_call,
)
from qmail.protocol.netstring import FrameReader

WAIT_S = 60.0


class Asker:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def on_challenge(self, data: bytes) -> None:
        self.told.append(data)

    def on_accepted(self, login: bytes, proof: Proof) -> None:
        self.told.append((login, proof))

    def on_refused(self, reason: Refusal) -> None:
        self.told.append(reason)

    def on_begun(self) -> None:
        self.told.append("begun")

    def on_ended(self, code: int | None) -> None:
        self.told.append(("ended", code))


class World:
    """A line, and the other end of it."""

    def __init__(self, home: Path) -> None:
        (home / "run").mkdir(exist_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(home / "run/login")
        self.listener.bind(str(home / "run/login"))
        self.listener.listen()
        self.listener.setblocking(False)
        self.line = LoginLine(str(home), frozenset({os.getuid()}), lambda: None)
        self.keeper = asyncio.get_running_loop().create_task(self.line.keep_up())
        self.door: socket.socket
        self.reader = FrameReader(100000)
        self.fds: list[int] = []

    async def accept(self) -> None:
        loop = asyncio.get_running_loop()
        self.door, _ = await asyncio.wait_for(loop.sock_accept(self.listener), WAIT_S)
        self.door.setblocking(False)
        await until(lambda: self.line.is_up)

    async def heard(self, count: int) -> list[object]:
        """Return the next calls."""
        calls: list[object] = []

        def look() -> bool:
            self.line.flush()
            with contextlib.suppress(BlockingIOError):
                data, fds, _, _ = socket.recv_fds(self.door, 65536, 16)
                assert data, "the line was hung up"
                self.fds += fds
                calls.extend(map(unpack_call, self.reader.feed(data)))
            return len(calls) >= count

        await until(look)
        return calls

    def close(self) -> None:
        self.keeper.cancel()
        self.line.hang_up()
        self.listener.close()
        with contextlib.suppress(AttributeError):
            self.door.close()
        for fd in self.fds:
            os.close(fd)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def a_world(home: Path) -> AsyncIterator[World]:
    world = World(home)
    try:
        yield world
    finally:
        world.close()


def begin(line: LoginLine, asker: Asker) -> int:
    tag = line.new_tag()
    line.begin(Begin(tag=tag, service=b"pop3", mechanism=Mechanism.USER, login=b"joe"), asker)
    return tag


Test = Callable[[World], Awaitable[None]]


def run(home: Path, test: Test) -> None:
    async def main() -> None:
        async with a_world(home) as world:
            await world.accept()
            await test(world)

    asyncio.run(main())


def test_every_answer_reaches_who_asked(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        one, other, line = Asker(), Asker(), world.line
        first, second = begin(line, one), begin(line, other)
        assert len(await world.heard(2)) == 2
        world.door.sendall(
            Offer((Mechanism.APOP,)).pack()
            + Challenge(second, b"well?").pack()
            + Accepted(first, b"joe", Proof.CLAIMED).pack()
            + Challenge(999, b"nobody").pack()
            + Refused(second, Refusal.LIMIT).pack()
        )
        await until(lambda: len(other.told) == 2)
        assert one.told == [(b"joe", Proof.CLAIMED)]
        assert other.told == [b"well?", Refusal.LIMIT]
        assert line.mechanisms == (Mechanism.APOP,)
        line.respond(second, b"too late")
        line.respond(first, b"yes")
        assert await world.heard(1) == [Response(first, b"yes")]

    run(tmp_path, test)


def test_each_descriptor_goes_with_its_frame_and_is_closed_here(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        askers = [Asker() for _ in range(20)]
        tags = [begin(world.line, asker) for asker in askers]
        for tag in tags:
            world.line.start(tag, os.memfd_create(f"session-{tag}"))
        assert (await world.heard(40))[20:] == [Start(tag) for tag in tags]
        names = [f"/memfd:session-{tag} (deleted)" for tag in tags]
        assert [os.readlink(f"/proc/self/fd/{fd}") for fd in world.fds] == names
        assert [open_count(name) for name in names] == [1] * 20

    run(tmp_path, test)


def open_count(name: str) -> int:
    """Count our descriptors of that name."""
    found = 0
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found += os.readlink(f"/proc/self/fd/{fd}") == name
    return found


def test_when_it_breaks_logins_are_refused_and_sessions_are_left(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        waiting, running, line = Asker(), Asker(), world.line
        begin(line, waiting)
        tag = begin(line, running)
        await world.heard(2)
        world.door.sendall(Accepted(tag, b"joe").pack() + Begun(tag).pack())
        await until(lambda: len(running.told) == 2)
        unsent = os.memfd_create("unsent")
        line.start(tag, unsent)
        world.door.close()
        await until(lambda: waiting.told)
        assert waiting.told == [Refusal.TEMPORARY]
        assert running.told[1:] == ["begun", ("ended", None)]
        assert open_count("/memfd:unsent (deleted)") == 0
        await world.accept()
        assert begin(line, Asker()) == tag + 1
        assert len(await world.heard(1)) == 1

    run(tmp_path, test)


def test_an_end_is_told_once_and_the_tag_is_free(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        asker = Asker()
        tag = begin(world.line, asker)
        world.door.sendall(Ended(tag, 3).pack() + Ended(tag, 4).pack())
        await until(lambda: asker.told)
        world.line.give_up(tag)
        begin(world.line, asker)
        assert [type(call) for call in await world.heard(2)] == [Begin, Begin]
        assert asker.told == [("ended", 3)]

    run(tmp_path, test)


def test_who_was_given_up_hears_no_more(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        asker = Asker()
        tag = begin(world.line, asker)
        world.line.give_up(tag)
        assert (await world.heard(2))[1] == GiveUp(tag)
        other = Asker()
        last = begin(world.line, other)
        world.door.sendall(Accepted(tag, b"joe").pack() + Accepted(last, b"ann").pack())
        await until(lambda: other.told)
        assert asker.told == []

    run(tmp_path, test)


def test_a_descriptor_for_nobody_is_closed(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        fd = os.memfd_create("nobody")
        world.line.start(77, fd)
        assert open_count("/memfd:nobody (deleted)") == 0

    run(tmp_path, test)


@pytest.mark.parametrize(
    "junk", [b"x", b"0:,", b"3:Kxx,", b"5:N1:1,,", b"99999:", b"12:L1:1,4:pop3,,"]
)
def test_a_peer_that_breaks_the_rules_is_hung_up_on(tmp_path: Path, junk: bytes) -> None:
    async def test(world: World) -> None:
        asker = Asker()
        begin(world.line, asker)
        world.door.sendall(junk)
        await until(lambda: asker.told)
        assert asker.told == [Refusal.TEMPORARY]

    run(tmp_path, test)


def test_another_account_at_the_door_is_not_believed(tmp_path: Path) -> None:
    async def main() -> None:
        async with a_world(tmp_path) as world:
            world.line._peer_uids = frozenset({os.getuid() + 1})
            loop = asyncio.get_running_loop()
            world.door, _ = await asyncio.wait_for(loop.sock_accept(world.listener), WAIT_S)
            assert await asyncio.wait_for(read(world.door), WAIT_S) == b""
            assert not world.line.is_up

    asyncio.run(main())


async def read(sock: socket.socket) -> bytes:
    sock.setblocking(False)
    return await asyncio.get_running_loop().sock_recv(sock, 100)


def test_a_login_waits_for_the_line_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(world: World) -> None:
        monkeypatch.setattr(login_line, "UP_S_MAX", WAIT_S)
        world.line.hang_up()
        patient, hasty = Asker(), Asker()
        tag = begin(world.line, patient)
        monkeypatch.setattr(login_line, "UP_S_MAX", 0.0)
        begin(world.line, hasty)
        given_up = begin(world.line, Asker())
        world.line.give_up(given_up)
        await until(lambda: hasty.told)
        assert hasty.told == [Refusal.TEMPORARY]
        await world.accept()
        (call,) = await world.heard(1)
        assert isinstance(call, Begin)
        assert call.tag == tag
        assert patient.told == []

    run(tmp_path, test)


def test_what_the_other_side_does_not_take_waits_in_order(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        asker = Asker()
        size = 4000
        count = 0
        while count < 20000 and not world.line._is_waiting_to_write:
            tag = world.line.new_tag()
            call = Begin(
                tag=tag, service=b"pop3", mechanism=Mechanism.USER, login=b"x" * size, secret=b"y"
            )
            world.line.begin(call, asker)
            count += 1
            world.line.flush()
        assert world.line._is_waiting_to_write
        fd = os.memfd_create("last")
        world.line.start(tag, fd)
        calls = await world.heard(count + 1)
        assert [call.tag for call in calls if isinstance(call, Begin)] == list(range(1, count + 1))
        assert calls[-1] == Start(tag)
        assert len(world.fds) == 1
        world.line.flush()
        assert not world.line._is_waiting_to_write

    run(tmp_path, test)
