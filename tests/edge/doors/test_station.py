"""The small event loop and its doors: nothing blocks, nothing is called after its end."""

import errno
import os
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qmail.edge.doors.caller import Caller, Line
from qmail.edge.doors.station import (
    OUT_BYTES_MAX,
    RECEIVE_BYTES,
    Door,
    Listener,
    Station,
    call_door,
    inherited_door,
    listen_door,
    peer_of,
)
from qmail.protocol.netstring import FrameError, pack

WAIT_S = 60.0


class Ends:
    """Owner of one door: what came, and how often it was closed."""

    def __init__(self, station: Station, frame_bytes_max: int = 1000) -> None:
        ours, self.peer = socket.socketpair()
        self.frames: list[bytes] = []
        self.closed = 0
        self.on_frames: Callable[[], None] = lambda: None
        self.door = Door(station, ours, frame_bytes_max, on_frames=self._take, on_close=self._close)

    def _take(self, _door: Door, payloads: list[bytes]) -> None:
        assert self.door.is_open
        self.frames += payloads
        self.on_frames()

    def _close(self, door: Door) -> None:
        assert door is self.door
        self.closed += 1


@pytest.fixture
def station() -> Iterator[Station]:
    made = Station()
    yield made
    made.close()


@pytest.fixture
def ends(station: Station) -> Iterator[Ends]:
    made = Ends(station)
    yield made
    made.peer.close()
    made.door.close()


# --- frames ---------------------------------------------------------------------------------------


def test_all_frames_that_are_there_come_in_one_call(station: Station, ends: Ends) -> None:
    ends.peer.sendall(pack(b"one") + pack(b"two") + b"5:thr")
    station.turn(WAIT_S)
    assert ends.frames == [b"one", b"two"]
    ends.peer.sendall(b"ee,")
    station.turn(WAIT_S)
    assert ends.frames == [b"one", b"two", b"three"]


@pytest.mark.parametrize("is_ended", [False, True])
def test_what_is_longer_than_one_read_is_taken_in_one_turn(
    station: Station, ends: Ends, *, is_ended: bool
) -> None:
    payloads = [b"%03d" % index * 300 for index in range(100)]
    data = b"".join(map(pack, payloads))
    assert len(data) > RECEIVE_BYTES
    ends.peer.setblocking(False)
    assert ends.peer.send(data) == len(data)
    if is_ended:
        ends.peer.shutdown(socket.SHUT_WR)
    station.turn(WAIT_S)
    assert ends.frames == payloads
    assert ends.door.is_open
    if is_ended:
        station.turn(WAIT_S)
        assert ends.closed == 1


@pytest.mark.parametrize("wrong", [b"x", b"01:a,", b"1001:", b"1:ab"])
def test_a_bad_frame_closes_the_door_once(station: Station, ends: Ends, wrong: bytes) -> None:
    ends.peer.sendall(wrong)
    station.turn(WAIT_S)
    assert not ends.door.is_open
    assert ends.closed == 1
    assert ends.peer.recv(10) == b""
    assert not station.turn(0)


def test_an_owner_that_refuses_a_frame_closes_the_door(station: Station, ends: Ends) -> None:
    def refuse() -> None:
        raise FrameError("not here")

    ends.on_frames = refuse
    ends.peer.sendall(pack(b"x"))
    station.turn(WAIT_S)
    assert ends.closed == 1


def test_the_end_of_the_peer_is_told_after_its_last_frames(station: Station, ends: Ends) -> None:
    ends.peer.sendall(pack(b"last"))
    ends.peer.close()
    station.turn(WAIT_S)
    station.turn(WAIT_S)
    assert (ends.frames, ends.closed) == ([b"last"], 1)
    ends.door.close()
    assert ends.closed == 1


def test_a_door_may_close_itself_while_it_takes_frames(station: Station, ends: Ends) -> None:
    ends.on_frames = ends.door.close
    ends.peer.sendall(pack(b"one") + pack(b"two"))
    station.turn(WAIT_S)
    assert ends.closed == 1
    ends.door.send(b"into the void")
    ends.door.flush()
    assert not station.turn(0)


# --- writing and back-pressure --------------------------------------------------------------------


def test_frames_leave_together_at_the_flush(station: Station, ends: Ends) -> None:
    ends.door.send(b"one")
    ends.door.send(b"two")
    ends.peer.setblocking(False)
    with pytest.raises(BlockingIOError):
        ends.peer.recv(10)
    ends.door.flush()
    assert ends.peer.recv(10) == b"onetwo"


def drain(peer: socket.socket, station: Station, count: int) -> bytes:
    peer.setblocking(False)
    got = bytearray()
    while len(got) < count:
        try:
            got += peer.recv(1 << 20)
        except BlockingIOError:
            assert station.turn(WAIT_S)
    return bytes(got)


def test_what_the_peer_does_not_take_now_is_written_later_and_in_order(
    station: Station, ends: Ends
) -> None:
    data = b"".join(struct.pack("!I", number) for number in range(2_000_000))
    ends.door.send(data)
    ends.door.flush()
    ends.door.send(b"the end")
    ends.door.flush()
    assert drain(ends.peer, station, len(data) + 7) == data + b"the end"
    assert not station.turn(0)


def test_with_too_much_unwritten_a_door_reads_nothing_more(station: Station, ends: Ends) -> None:
    data = b"x" * (OUT_BYTES_MAX * 2)
    ends.door.send(data)
    ends.door.flush()
    ends.peer.sendall(pack(b"wait"))
    assert not station.turn(0)
    assert ends.frames == []
    drain(ends.peer, station, len(data))
    while not ends.frames:
        assert station.turn(WAIT_S)
    assert ends.frames == [b"wait"]


def test_a_peer_that_goes_while_we_write_closes_the_door_once(station: Station, ends: Ends) -> None:
    ends.peer.close()
    ends.door.send(b"x" * 100)
    ends.door.flush()
    assert (ends.door.is_open, ends.closed) == (False, 1)
    ends.door.flush()
    assert not station.turn(0)
    assert ends.closed == 1


def test_a_peer_that_goes_in_the_middle_of_a_long_write_closes_the_door_once(
    station: Station, ends: Ends
) -> None:
    ends.door.send(b"x" * (OUT_BYTES_MAX + 1))
    ends.door.flush()
    ends.peer.close()
    while ends.door.is_open:
        assert station.turn(WAIT_S)
    assert ends.closed == 1
    assert not station.turn(0)


# --- one round ------------------------------------------------------------------------------------


def test_a_door_that_another_closes_is_not_called_in_the_same_round(station: Station) -> None:
    pair = [Ends(station), Ends(station)]
    pair[0].on_frames = pair[1].door.close
    pair[1].on_frames = pair[0].door.close
    for ends in pair:
        ends.peer.sendall(pack(b"x"))
    station.turn(WAIT_S)
    assert sorted(len(ends.frames) for ends in pair) == [0, 1]
    assert sum(ends.closed for ends in pair) == 1


def test_an_event_of_a_closed_descriptor_does_not_reach_the_next_one_of_its_number(
    station: Station,
) -> None:
    pipes = [os.pipe() for _ in range(3)]
    (one, _), (two, _), (quiet, _) = pipes
    called: list[str] = []

    def replace(other: int) -> None:
        called.append("first")
        station.forget(other)
        os.dup2(quiet, other)
        station.watch(other, lambda: called.append("stale"))

    station.watch(one, lambda: replace(two))
    station.watch(two, lambda: replace(one))
    for _, writer in pipes[:2]:
        os.write(writer, b"x")
    station.turn(WAIT_S)
    assert called == ["first"]
    for pair in pipes:
        os.close(pair[0])
        os.close(pair[1])


def test_forgetting_twice_is_once(station: Station, ends: Ends) -> None:
    station.forget(ends.door.fd)
    station.forget(ends.door.fd)
    ends.peer.sendall(pack(b"x"))
    assert not station.turn(0)


def test_a_signal_is_told_in_the_next_turn(station: Station) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    told: list[int] = []
    try:
        station.on_signal(signal.SIGUSR1, lambda: told.append(1))
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert told == []
        station.turn(WAIT_S)
        assert told == [1]
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGUSR1, before)


# --- doors by name --------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> str:
    (tmp_path / "run").mkdir()
    return str(tmp_path)


def test_the_kernel_says_who_calls(station: Station, home: str) -> None:
    calls: list[socket.socket] = []
    with listen_door(home, "x") as sock:
        Listener(station, sock, calls.append)
        with call_door(home, "x") as caller:
            station.turn(WAIT_S)
            assert peer_of(calls[0]) == (os.getpid(), os.getuid())
            assert peer_of(caller)[1] == os.getuid()
        calls[0].close()


def test_a_home_as_deep_as_paths_may_be_has_doors(station: Station, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    (deep / "run").mkdir(parents=True)
    calls: list[socket.socket] = []
    with listen_door(str(deep), "x") as sock:
        Listener(station, sock, calls.append)
        call_door(str(deep), "x").close()
        station.turn(WAIT_S)
    assert len(calls) == 1
    calls[0].close()


def test_a_stale_door_is_replaced(home: str) -> None:
    listen_door(home, "x").close()
    with pytest.raises(ConnectionRefusedError):
        call_door(home, "x")
    with listen_door(home, "x"):
        call_door(home, "x").close()


def test_a_door_that_nobody_made_is_missing(home: str) -> None:
    with pytest.raises(FileNotFoundError):
        call_door(home, "x")


def test_a_long_line_at_a_door_does_not_stop_a_resident_program(home: str) -> None:
    with listen_door(home, "x") as sock:
        sock.listen(0)
        callers = [call_door(home, "x")]
        with pytest.raises(BlockingIOError):
            callers += [call_door(home, "x") for _ in range(3)]
        for caller in callers:
            caller.close()


def test_the_door_that_qmail_start_made_is_taken_over(
    home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = listen_door(home, "x")
    monkeypatch.setenv("QMAIL_DOOR", str(made.detach()))
    with inherited_door(home, "x") as door:
        call_door(home, "x").close()
        door.accept()[0].close()
    assert "QMAIL_DOOR" not in os.environ


def test_each_of_several_doors_is_taken_over_by_its_name(
    home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [str(listen_door(home, name).detach()) for name in ("x", "y")]
    monkeypatch.setenv("QMAIL_DOOR", " ".join(made))
    for name, fd in zip(("y", "x"), reversed(made), strict=True):
        with inherited_door(home, name) as door:
            assert door.fileno() == int(fd)
    assert "QMAIL_DOOR" not in os.environ


def test_door_that_was_not_made_for_us_is_left_and_ours_is_bound(
    home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = listen_door(home, "x")
    monkeypatch.setenv("QMAIL_DOOR", str(made.fileno()))
    with inherited_door(home, "y") as door, made:
        assert door.fileno() != made.fileno()
        call_door(home, "y").close()
        assert os.environ["QMAIL_DOOR"] == str(made.fileno())


def test_without_a_descriptor_to_spare_a_listener_pauses_and_lives(
    station: Station, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    calls: list[socket.socket] = []

    class Full:
        """A listening socket whose process has no descriptor left."""

        def __init__(self, real: socket.socket) -> None:
            self.real, self.is_full = real, True
            self.fileno, self.setblocking = real.fileno, real.setblocking

        def accept(self) -> tuple[socket.socket, object]:
            if self.is_full:
                raise OSError(errno.EMFILE, "Too many open files")
            return self.real.accept()

    monkeypatch.setattr("time.sleep", pauses.append)
    with listen_door(home, "x") as sock:
        full = Full(sock)
        Listener(station, full, calls.append)  # type: ignore[arg-type]
        with call_door(home, "x"):
            station.turn(WAIT_S)
            assert (len(pauses), calls) == (1, [])
            full.is_full = False
            station.turn(WAIT_S)
            assert len(calls) == 1
        calls[0].close()


# --- a caller that calls again --------------------------------------------------------------------


class Called:
    """A door that is called, and what the caller tells of it."""

    def __init__(self, station: Station, home: str, uids: frozenset[int]) -> None:
        self.frames: list[bytes] = []
        self.changes: list[bool] = []
        self.line = Line("x", uids, 1000, self.frames.extend, self.changes.append)
        self.caller = Caller(station, home, self.line)


def test_a_caller_calls_again_when_it_is_time(
    station: Station, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    called = Called(station, home, frozenset((os.getuid(),)))
    called.caller.call()
    assert called.changes == []
    with listen_door(home, "x") as sock:
        called.caller.call()
        assert not called.caller.is_up
        now[0] += 1
        called.caller.call()
        assert called.changes == [True]
        peer, _ = sock.accept()
        called.caller.send([b"a", b"b"])
        assert peer.recv(10) == b"ab"
        peer.sendall(pack(b"hello"))
        station.turn(WAIT_S)
        assert called.frames == [b"hello"]
        peer.close()
        station.turn(WAIT_S)
        assert called.changes == [True, False]
        called.caller.send([b"lost"])
        now[0] += 1
        called.caller.call()
        assert called.changes == [True, False, True]
        sock.accept()[0].close()
        station.turn(WAIT_S)


def test_a_caller_believes_nobody_of_another_account(station: Station, home: str) -> None:
    called = Called(station, home, frozenset((os.getuid() + 1,)))
    with listen_door(home, "x") as sock:
        called.caller.call()
        peer, _ = sock.accept()
        assert peer.recv(10) == b""
        peer.close()
    assert (called.changes, called.caller.is_up) == ([], False)


def test_a_connection_that_breaks_while_it_is_written_to_is_told_of_once(
    station: Station, home: str
) -> None:
    called = Called(station, home, frozenset((os.getuid(),)))
    with listen_door(home, "x") as sock:
        called.caller.call()
        sock.accept()[0].close()
        called.caller.send([b"x"])
        called.caller.send([b"y"])
        assert called.changes == [True, False]
        assert not station.turn(0)
