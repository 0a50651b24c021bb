"""The files of addresses that are left alone, and their lock (spec/queue.md 9)."""

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qmail.edge.smtp.back_off import BackOff, clear_tables, read_tables
from qmail.protocol.tcpto import TCPTO6_BYTES, TCPTO_BYTES

V4, V6 = "192.0.2.1", "2001:db8::1"


class Hours:
    """A wall clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Hours:
    hours = Hours()
    monkeypatch.setattr(time, "time", hours.time)
    return hours


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "queue/lock").mkdir(parents=True)
    (tmp_path / "queue/lock/tcpto").write_bytes(bytes(TCPTO_BYTES))
    (tmp_path / "queue/lock/tcpto6").write_bytes(bytes(TCPTO6_BYTES))
    return tmp_path


@pytest.fixture
def back_off(home: Path) -> Iterator[BackOff]:
    found = BackOff(str(home))
    yield found
    found.close()


@pytest.mark.parametrize("address", [V4, V6])
def test_delivery_13_two_timeouts_leave_an_address_alone_until_it_answers(
    back_off: BackOff, clock: Hours, address: str
) -> None:
    back_off.timed_out(address)
    assert not back_off.is_left_alone(address)
    clock.now += 200
    back_off.timed_out(address)
    assert back_off.is_left_alone(address)
    clock.now += 3839
    assert back_off.is_left_alone(address)
    back_off.answered(address)
    assert not back_off.is_left_alone(address)


@pytest.mark.parametrize("address", [V4, V6])
def test_oddities_4_refusals_are_counted_apart_and_cost_minutes(
    back_off: BackOff, clock: Hours, address: str
) -> None:
    back_off.timed_out(address)
    back_off.refused(address)
    clock.now += 200
    back_off.refused(address)
    assert back_off.is_left_alone(address)
    clock.now += 364
    assert not back_off.is_left_alone(address)
    back_off.timed_out(address)
    assert back_off.is_left_alone(address)


def test_what_one_program_learns_the_other_knows(home: Path, clock: Hours) -> None:
    first, second = BackOff(str(home)), BackOff(str(home))
    first.timed_out(V4)
    clock.now += 200
    second.timed_out(V4)
    assert first.is_left_alone(V4)
    first.clear()
    assert not second.is_left_alone(V4)
    first.close()
    second.close()


def test_queue_9_the_originals_table_has_ipv4_timeouts_and_nothing_else(
    home: Path, back_off: BackOff, clock: Hours
) -> None:
    back_off.timed_out(V6)
    back_off.refused(V4)
    assert (home / "queue/lock/tcpto").read_bytes() == bytes(TCPTO_BYTES)
    back_off.timed_out(V4)
    assert (home / "queue/lock/tcpto").read_bytes()[:5] == bytes((192, 0, 2, 1, 1))
    assert len((home / "queue/lock/tcpto6").read_bytes()) == TCPTO6_BYTES
    assert clock.now


@pytest.mark.parametrize("name", ["tcpto", "tcpto6"])
@pytest.mark.parametrize("content", [None, b""])
def test_delivery_13_without_a_table_nobody_is_left_alone(
    home: Path, clock: Hours, name: str, content: bytes | None
) -> None:
    path = home / "queue/lock" / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    back_off = BackOff(str(home))
    address = V4 if name == "tcpto" else V6
    for _ in range(3):
        back_off.timed_out(address)
        clock.now += 200
    back_off.answered(address)
    assert not back_off.is_left_alone(address)
    back_off.clear()
    back_off.close()


def test_whoever_sits_on_the_lock_holds_up_no_mail(home: Path, back_off: BackOff) -> None:
    fd = os.open(home / "queue/lock/tcpto", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    back_off.timed_out(V4)
    assert not back_off.is_left_alone(V4)
    os.close(fd)
    assert (home / "queue/lock/tcpto").read_bytes() == bytes(TCPTO_BYTES)
    back_off.timed_out(V4)
    assert (home / "queue/lock/tcpto").read_bytes() != bytes(TCPTO_BYTES)


def test_the_lock_is_held_for_a_moment_only(home: Path, back_off: BackOff) -> None:
    back_off.timed_out(V4)
    back_off.is_left_alone(V4)
    with open(home / "queue/lock/tcpto", "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_link_is_not_followed(home: Path, tmp_path: Path, clock: Hours) -> None:
    other = tmp_path / "other"
    other.write_bytes(bytes(TCPTO_BYTES))
    (home / "queue/lock/tcpto").unlink()
    (home / "queue/lock/tcpto").symlink_to(other)
    back_off = BackOff(str(home))
    back_off.timed_out(V4)
    back_off.close()
    assert other.read_bytes() == bytes(TCPTO_BYTES)
    assert clock.now


def test_people_read_and_clear_all_tables(home: Path, back_off: BackOff, clock: Hours) -> None:
    back_off.timed_out(V4)
    back_off.timed_out(V6)
    back_off.refused(V4)
    timeouts, refusals = read_tables(str(home))
    assert [len(list(table.entries())) for table in timeouts] == [1, 1]
    assert [len(list(table.entries())) for table in refusals] == [1]
    clear_tables(str(home))
    assert not any((home / "queue/lock/tcpto").read_bytes())
    assert not any((home / "queue/lock/tcpto6").read_bytes())
    (home / "queue/lock/tcpto6").unlink()
    assert len(read_tables(str(home))[0]) == 1
    (home / "queue/lock/tcpto").unlink()
    with pytest.raises(FileNotFoundError):
        read_tables(str(home))
    with pytest.raises(FileNotFoundError):
        clear_tables(str(home))
    assert clock.now
