"""Residents from both sides, and the helper for addresses, with real processes."""

import contextlib
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator

import pytest

from qmail.edge.children import post as child_post
from qmail.edge.children import residents as residents_module
from qmail.edge.children.lookup import ANSWER_S_MAX, Lookup, serve_lookups
from qmail.edge.children.offspring import close_all
from qmail.edge.children.residents import (
    BATCH_MAX,
    IDLE_S_MAX,
    LOOK_S_MAX,
    LOOKS_PER_RESIDENT_MAX,
    Residents,
)
from qmail.edge.children.tasks import TaskServer
from qmail.edge.doors.station import Station
from qmail.protocol.doors import Report
from qmail.protocol.local_door import Answer, Look, Owner, Task, pack_task
from qmail.protocol.local_exits import CRASHED
from qmail.protocol.netstring import FrameReader

UID = os.getuid() or 54321
OTHERS = (UID, UID + 1, UID + 2) if os.getuid() == 0 else (UID,) * 3
WAIT_S = 60.0


class EchoQuick:
    """Reports each message's bytes in the turn after the one it came in."""

    def __init__(self) -> None:
        self._ready: list[tuple[int, bytes]] = []

    @property
    def is_idle(self) -> bool:
        return not self._ready

    def begin(
        self, tasks: Iterable[tuple[Task, int]]
    ) -> tuple[list[tuple[int, bytes]], list[tuple[Task, int]]]:
        slow = []
        for task, fd in tasks:
            if task.sender == b"slow":
                slow.append((task, fd))
            else:
                self._ready.append((task.serial, b"K" + os.pread(fd, 100, 0)))
        return [], slow

    def step(self) -> list[tuple[int, bytes]]:
        ready, self._ready = self._ready, []
        return ready

    def look(self, target: bytes) -> bytes:
        if target == b"hang":
            time.sleep(WAIT_S)
        return b"K" + target


def echo(sock: socket.socket) -> int:
    return TaskServer(sock, EchoQuick(), lambda _task: os.write(1, os.read(0, 100)) and 0).run()


class Office:
    """Residents with a station, and what they reported."""

    def __init__(self, main: Callable[[socket.socket], int]) -> None:
        self.station = Station()
        self.reports: dict[int, bytes] = {}
        self.opened = 0
        self.residents = Residents(self.station, main, self._open, self._report)

    def _open(self, _serial: int, body: bytes) -> int | None:
        if not body:
            return None
        self.opened += 1
        fd, path = tempfile.mkstemp()
        os.write(fd, body)
        os.unlink(path)
        return fd

    def _report(self, serial: int, text: bytes) -> None:
        assert serial not in self.reports
        self.reports[serial] = text

    def give(self, serial: int, body: bytes, uid: int = UID, sender: bytes = b"s") -> None:
        self.residents.give((uid, UID), (serial, pack_task(serial, sender, b"target"), body))

    def look(self, serial: int, target: bytes, uid: int = UID) -> bool:
        return self.residents.look((uid, UID), serial, Look(serial, target).pack())

    def wait(self, count: int) -> None:
        end = time.monotonic() + WAIT_S
        self.residents.flush()
        while len(self.reports) < count:
            assert time.monotonic() < end, self.reports
            self.station.turn(0.05)
            self.reap()
            self.residents.flush()

    def reap(self) -> None:
        try:
            while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                self.residents.reaped(pid)
        except ChildProcessError:
            return


@pytest.fixture
def office() -> Iterator[Callable[[Callable[[socket.socket], int]], Office]]:
    made = []

    def make(main: Callable[[socket.socket], int]) -> Office:
        made.append(Office(main))
        return made[-1]

    yield make
    for one in made:
        one.residents.close()
    # Later tests wait for children of their own.
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


Make = Callable[[Callable[[socket.socket], int]], Office]


def test_each_job_gets_its_own_message_however_many_there_are(office: Make) -> None:
    one = office(echo)
    count = 2 * BATCH_MAX + 7
    for serial in range(count):
        one.give(serial, b"message %d" % serial)
    one.wait(count)
    assert one.reports == {serial: b"Kmessage %d" % serial for serial in range(count)}


def test_job_without_a_message_is_left_out(office: Make) -> None:
    one = office(echo)
    one.give(1, b"one")
    one.give(2, b"")
    one.give(3, b"three")
    one.wait(2)
    assert one.reports == {1: b"Kone", 3: b"Kthree"}


def test_slow_jobs_run_beside_quick_ones(office: Make) -> None:
    one = office(echo)
    for serial in range(60):
        one.give(serial, b"%d" % serial, sender=b"slow" if serial % 2 else b"s")
    one.wait(60)
    assert one.reports == {serial: b"K%d" % serial for serial in range(60)}


@pytest.mark.parametrize(
    "lie",
    [
        Report(99, b"K").pack(),
        Report(1, b"X").pack(),
        Report(1, b"Ka\0b").pack(),
        Report(1, b"K").pack() * 2,
        b"nonsense",
        b"9999999:",
    ],
)
def test_resident_that_lies_is_not_believed(office: Make, lie: bytes) -> None:
    def liar(sock: socket.socket) -> int:
        sock.recv(65536)
        sock.sendall(lie)
        sock.recv(65536)
        return 0

    one = office(liar)
    one.give(1, b"one")
    one.give(2, b"two")
    one.wait(2)
    assert one.reports[2] == CRASHED
    assert one.reports[1] in (CRASHED, b"K")


def test_jobs_of_a_resident_that_dies_are_put_off_and_later_ones_go_on(office: Make) -> None:
    one = office(lambda sock: len(sock.recv(1)) + 1)
    one.give(1, b"one")
    one.wait(1)
    assert one.reports == {1: CRASHED}
    one.give(2, b"two")
    one.wait(2)


def test_no_process_to_be_had_puts_the_jobs_off(
    office: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> int:
        raise BlockingIOError(11, "no more processes")

    one = office(echo)
    monkeypatch.setattr(os, "fork", fail)
    one.give(1, b"one")
    one.residents.flush()
    assert one.reports == {1: CRASHED}


@pytest.mark.root
def test_root_bound_on_residents_makes_room_by_ending_an_idle_one(
    office: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root")
    monkeypatch.setattr(residents_module, "RESIDENTS_MAX", 2)
    one = office(echo)
    for serial, uid in enumerate(OTHERS):
        one.give(serial, b"x", uid)
    one.wait(3)
    assert set(one.reports.values()) == {b"Kx"}


@pytest.mark.root
def test_root_where_the_system_allows_no_more_processes_a_job_waits_for_the_end_of_one(
    office: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root")
    fork = os.fork
    one = office(echo)

    def fork_one() -> int:
        if one.residents._alive:
            raise BlockingIOError(11, "no more processes")
        return fork()

    monkeypatch.setattr(os, "fork", fork_one)
    for serial, uid in enumerate(OTHERS):
        one.give(serial, b"x", uid)
    one.wait(3)
    assert set(one.reports.values()) == {b"Kx"}


def test_idle_resident_is_ended_in_time(office: Make) -> None:
    one = office(echo)
    one.give(1, b"one")
    one.wait(1)
    one.residents.tick(time.monotonic())
    assert not one.residents.is_empty
    one.residents.tick(time.monotonic() + IDLE_S_MAX + 1)
    assert one.residents.is_empty
    pid, status = os.waitpid(-1, 0)
    assert (pid > 0, status) == (True, 0)


def test_look_ups_and_jobs_are_not_mixed_up(office: Make) -> None:
    one = office(echo)
    for serial in range(0, 60, 2):
        one.give(serial, b"%d" % serial)
        if serial < 2 * LOOKS_PER_RESIDENT_MAX:
            assert one.look(serial + 1, b"%d" % (serial + 1))
    one.wait(60)
    assert one.reports == {serial: b"K%d" % serial for serial in range(60)}


def test_look_up_goes_ahead_of_deliveries_that_wait(office: Make) -> None:
    def first_frame(sock: socket.socket) -> int:
        (look,) = FrameReader(1 << 20).feed(sock.recv(20))[:1]
        sock.sendall(Report(Look.unpack(look).serial, b"K").pack())
        return 0

    one = office(first_frame)
    one.give(1, b"one")
    assert one.look(2, b"t")
    one.wait(2)
    assert one.reports == {1: CRASHED, 2: b"K"}


def test_look_ups_of_one_resident_are_bounded(office: Make) -> None:
    one = office(echo)
    asked = [one.look(serial, b"x") for serial in range(LOOKS_PER_RESIDENT_MAX + 2)]
    assert asked == [True] * LOOKS_PER_RESIDENT_MAX + [False] * 2
    one.wait(LOOKS_PER_RESIDENT_MAX)
    assert one.look(99, b"x")


@pytest.mark.root
def test_root_look_ups_take_no_place_of_deliveries(
    office: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root")
    monkeypatch.setattr(residents_module, "RESIDENTS_MAX", 1)
    monkeypatch.setattr(residents_module, "LOOKERS_MAX", 1)
    one = office(echo)
    one.look(0, b"hang", OTHERS[0])
    one.residents.flush()
    # The place for look-ups is taken, the one for deliveries is not.
    one.look(1, b"later", OTHERS[1])
    one.give(2, b"mail", OTHERS[2])
    one.wait(1)
    assert one.reports == {2: b"Kmail"}
    # Whoever hangs is killed in time, and makes room.
    one.residents.tick(time.monotonic() + LOOK_S_MAX + 1)
    one.wait(3)
    assert one.reports == {0: CRASHED, 1: b"Klater", 2: b"Kmail"}


@pytest.mark.root
def test_root_look_up_waits_for_the_end_of_an_idle_resident_of_its_kind(
    office: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root")
    monkeypatch.setattr(residents_module, "LOOKERS_MAX", 1)
    one = office(echo)
    one.give(9, b"mail", OTHERS[2])
    one.wait(1)
    for serial, uid in enumerate((OTHERS[0], OTHERS[1], OTHERS[0])):
        assert one.look(serial, b"%d" % serial, uid)
        one.wait(serial + 2)
    assert one.reports == {0: b"K0", 1: b"K1", 2: b"K2", 9: b"Kmail"}


def test_resident_with_deliveries_is_not_killed_for_a_slow_look_up(office: Make) -> None:
    one = office(echo)
    one.give(1, b"mail", sender=b"slow")
    one.look(2, b"x")
    one.residents.flush()
    one.residents.tick(time.monotonic() + LOOK_S_MAX + 1)
    one.wait(2)
    assert one.reports == {1: b"Kmail", 2: b"Kx"}


def test_resident_of_a_look_up_that_dies_answers_nothing_for_certain(office: Make) -> None:
    one = office(lambda sock: len(sock.recv(1)) + 1)
    one.look(1, b"x")
    one.wait(1)
    assert one.reports == {1: CRASHED}


def test_descriptors_are_closed_in_runs() -> None:
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(6)]
    kept = fds.pop(2)
    close_all(list(reversed(fds)))
    for fd in fds:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(fd)
    os.fstat(kept)
    os.close(kept)
    close_all([])


class Desk:
    """A look-up helper, and what it answered."""

    def __init__(self, find: Callable[[bytes], Answer]) -> None:
        self.station = Station()
        self.answers: dict[bytes, Answer | None] = {}
        self.lookup = Lookup(self.station, (UID, UID), find, self._on_answer)

    def _on_answer(self, local: bytes, answer: Answer | None) -> None:
        self.answers[local] = answer

    def wait(self, count: int) -> None:
        end = time.monotonic() + WAIT_S
        self.lookup.flush()
        while len(self.answers) < count:
            assert time.monotonic() < end
            self.station.turn(0.05)


def owner(local: bytes) -> Answer:
    return Answer(local, 0, Owner(b"joe", os.getpid(), os.getuid(), b"/h", b"-", local))


def test_helper_answers_what_it_is_asked_under_its_own_account() -> None:
    desk = Desk(owner)
    for number in range(300):
        desk.lookup.ask(b"%d" % number)
    desk.wait(300)
    desk.lookup.close()
    found = {local: answer.owner for local, answer in desk.answers.items() if answer is not None}
    assert {who.ext for who in found.values() if who is not None} == found.keys()
    assert {(who.uid, who.gid) for who in found.values() if who is not None} == {
        (os.waitpid(-1, 0)[0], UID)
    }


def test_helper_that_crashes_is_an_answer_of_its_own_and_is_not_started_in_a_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(child_post, "START_AGAIN_S", 1000.0)
    desk = Desk(lambda local: os._exit(3) if local == b"one" else owner(local))
    desk.lookup.ask(b"one")
    desk.wait(1)
    assert desk.answers == {b"one": None}
    os.waitpid(-1, 0)
    # The next question waits for the time of the next helper.
    desk.lookup.ask(b"two")
    desk.lookup.tick(time.monotonic())
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert desk.lookup.is_waiting
    monkeypatch.setattr(child_post, "START_AGAIN_S", 0.0)
    desk.lookup.tick(time.monotonic())
    desk.wait(2)
    assert desk.answers[b"two"] is not None
    desk.lookup.close()
    os.waitpid(-1, 0)


def test_no_helper_to_be_had_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise BlockingIOError(11, "no more processes")

    monkeypatch.setattr(os, "fork", fail)
    desk = Desk(owner)
    desk.lookup.ask(b"one")
    assert desk.answers == {b"one": None}
    assert not desk.lookup.is_waiting


def test_helper_that_hangs_is_killed() -> None:
    def hang(_local: bytes) -> Answer:
        os.read(os.pipe()[0], 1)
        raise AssertionError

    desk = Desk(hang)
    desk.lookup.ask(b"one")
    desk.lookup.flush()
    desk.lookup.tick(time.monotonic())
    assert desk.lookup.is_waiting
    desk.lookup.tick(time.monotonic() + ANSWER_S_MAX + 1)
    assert desk.answers == {b"one": None}
    pid, status = os.waitpid(-1, 0)
    assert os.waitstatus_to_exitcode(status) == -9
    assert desk.lookup.reaped(pid)


def test_helper_that_answers_unasked_is_not_believed() -> None:
    desk = Desk(lambda local: owner(local + b"x"))
    desk.lookup.ask(b"one")
    desk.wait(1)
    assert desk.answers == {b"one": None}
    os.waitpid(-1, 0)


def test_name_that_takes_long_does_not_hold_others_up() -> None:
    def find(local: bytes) -> Answer:
        if local == b"slow":
            time.sleep(WAIT_S)
        return owner(local)

    desk = Desk(find)
    desk.lookup.ask(b"slow")
    for number in range(50):
        desk.lookup.ask(b"%d" % number)
    desk.wait(50)
    assert desk.lookup.is_waiting
    desk.lookup.tick(time.monotonic() + ANSWER_S_MAX + 1)
    assert desk.answers.pop(b"slow") is None
    assert all(desk.answers.values())
    os.waitpid(-1, 0)


def test_helper_that_fails_at_one_name_is_replaced() -> None:
    def find(local: bytes) -> Answer:
        if local == b"bad":
            raise RuntimeError(local)
        return owner(local)

    desk = Desk(find)
    desk.lookup.ask(b"bad")
    desk.wait(1)
    assert desk.answers == {b"bad": None}
    pid, status = os.waitpid(-1, 0)
    assert os.waitstatus_to_exitcode(status) == 111
    assert desk.lookup.reaped(pid)


def test_helper_ends_with_its_parent() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs:
        assert serve_lookups(theirs, owner) == 0


@pytest.mark.parametrize(
    ("memory_mb", "room"), [(256, 50), (1024, 50), (8192, 397), (24_000, 1000), (10**6, 1000)]
)
def test_residents_take_an_eighth_of_the_memory(memory_mb: int, room: int) -> None:
    assert residents_module.room_for_residents(memory_mb << 20, 4096) == room


def test_residents_leave_descriptors_for_messages() -> None:
    assert residents_module.room_for_residents(10**12, 1024) == 512
