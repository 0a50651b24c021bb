"""Who may call at an inner door, and how many at a time."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from qmail.edge.doors.admission import Admission
from qmail.edge.doors.station import Door, Station
from qmail.protocol.netstring import pack

OURS = {os.geteuid()}


class World:
    def __init__(self, folder: Path, *, callers_max: int | None = None) -> None:
        self.path = str(folder / "door")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.bind(self.path)
        self.sock.listen()
        self.station = Station()
        self.closed: list[Door] = []
        self.frames: list[bytes] = []
        self.admission = Admission(
            self.station, "qmail-x", on_close=self.closed.append, callers_max=callers_max
        )

    def take(self, door: Door, payloads: list[bytes]) -> None:
        self.frames += payloads

    def call(self) -> socket.socket:
        caller = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        caller.settimeout(30)
        caller.connect(self.path)
        while self.station.turn(0.05):
            continue
        return caller


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    # The path of a socket is short.
    before = Path.cwd()
    os.chdir(tmp_path)
    yield Path()
    os.chdir(before)


def test_who_may_call_is_heard_and_the_end_is_told(folder: Path) -> None:
    world = World(folder)
    world.admission.listen(world.sock, 100, OURS, world.take)
    with world.call() as caller:
        caller.sendall(pack(b"hello"))
        world.station.turn(30)
        assert world.frames == [b"hello"]
        assert world.closed == []
    world.station.turn(30)
    assert len(world.closed) == 1


def test_who_may_not_is_hung_up_on_and_told_of(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    world = World(folder)
    world.admission.listen(world.sock, 100, {12345}, world.take)
    with world.call() as caller:
        assert caller.recv(10) == b""
    assert capfd.readouterr().err == f"qmail-x: refused a call from uid {os.geteuid()}\n"
    assert world.closed == []


def test_who_may_call_is_greeted(folder: Path) -> None:
    world = World(folder)
    world.admission.listen(world.sock, 100, OURS, world.take, greet=lambda: pack(b"welcome"))
    with world.call() as caller:
        assert caller.recv(100) == pack(b"welcome")


def test_more_than_there_may_be_are_hung_up_on_until_one_ends(folder: Path) -> None:
    world = World(folder, callers_max=2)
    world.admission.listen(world.sock, 100, OURS, world.take)
    first, second = world.call(), world.call()
    with world.call() as third:
        assert third.recv(10) == b""
    first.close()
    world.station.turn(30)
    with world.call() as fourth:
        fourth.sendall(pack(b"in"))
        world.station.turn(30)
    assert world.frames == [b"in"]
    second.close()


def test_a_door_that_is_shut_takes_no_more_calls_and_keeps_those_it_has(folder: Path) -> None:
    world = World(folder)
    world.admission.listen(world.sock, 100, OURS, world.take)
    with world.call() as first:
        world.admission.shut()
        with world.call() as second:
            assert second.recv(10) == b""
        (caller,) = world.admission.callers
        first.sendall(pack(b"hello"))
        world.station.turn(30)
        assert world.frames == [b"hello"]
        assert caller.is_open
