"""A queued message whose envelope makes no sense goes out of the way (core/queue/parking.py)."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.queue_world import LAYOUT, START, FailingFs, FakeClock, files_of, make_queue
from tests.fakes.send_world import World

from qmail.core.queue.bad_entries import UNREADABLE_S
from qmail.core.queue.clean import DONE, TROUBLE, clean
from qmail.core.queue.parking import Fate, could_be_torn, park
from qmail.core.queue.read import DiskQueue
from qmail.core.queue.seal import Seal
from qmail.core.queue.write import QueueWriter

GARBLED = b"u5\0p77\0Fjoe@a.ex\0Xann@b.ex\0"
WHOLE = b"u5\0p77\0Fjoe@a.ex\0Tann@b.ex\0"
SEALED = b"u5\0%b\0Fjoe@a.ex\0Tann@b.ex\0" % Seal(77, 9, 1).record(b"Fjoe@a.ex\0Tann@b.ex\0\0")
MESSAGE, ENTRY = LAYOUT.mess(7), LAYOUT.todo(7)
PARKED = {"parked/7.mess", "parked/7.todo"}
BEFORE = 0.0
"""A machine that was started before anything was queued: nothing can be torn by a power cut."""


@pytest.fixture
def fs(tmp_path: Path) -> Iterator[FailingFs]:
    disk = make_queue(tmp_path)
    (tmp_path / MESSAGE).write_bytes(b"message")
    (tmp_path / ENTRY).write_bytes(GARBLED)
    yield disk
    disk.release()


def test_the_message_goes_first_and_both_keep_their_bytes(fs: FailingFs, tmp_path: Path) -> None:
    assert park(fs, LAYOUT, 7, BEFORE) is Fate.PARKED
    assert [line for line in fs.log if line.startswith("rename")] == [
        "rename parked/7.mess", "rename parked/7.todo",
    ]  # fmt: skip
    assert (tmp_path / "parked/7.mess").read_bytes() == b"message"
    assert (tmp_path / "parked/7.todo").read_bytes() == GARBLED
    assert park(fs, LAYOUT, 7, BEFORE) is Fate.LEFT


def test_what_is_in_order_is_not_parked_whoever_asks(fs: FailingFs, tmp_path: Path) -> None:
    (tmp_path / ENTRY).write_bytes(WHOLE)
    assert clean(fs, LAYOUT, b"park/7", BEFORE) == DONE
    assert files_of(tmp_path) == {MESSAGE, ENTRY}


def test_what_a_power_cut_left_half_becomes_s3(fs: FailingFs, tmp_path: Path) -> None:
    (tmp_path / ENTRY).write_bytes(SEALED)
    assert park(fs, LAYOUT, 7, START * 2) is Fate.NEVER_ACCEPTED
    assert files_of(tmp_path) == {MESSAGE, LAYOUT.intd(7)}


def test_what_was_written_since_the_machine_was_started_is_no_work_of_a_power_cut(
    fs: FailingFs, tmp_path: Path
) -> None:
    (tmp_path / ENTRY).write_bytes(SEALED)
    assert park(fs, LAYOUT, 7, BEFORE) is Fate.PARKED


@pytest.mark.parametrize("kind", ["mess", "todo"])
def test_a_parked_message_is_never_written_over(fs: FailingFs, tmp_path: Path, kind: str) -> None:
    (tmp_path / f"parked/7.{kind}").write_bytes(b"of another message")
    assert park(fs, LAYOUT, 7, BEFORE) is Fate.NO_ROOM
    assert clean(fs, LAYOUT, b"park/7", BEFORE) == TROUBLE
    assert files_of(tmp_path) == {MESSAGE, ENTRY, f"parked/7.{kind}"}


def test_parking_that_was_cut_off_is_finished(fs: FailingFs, tmp_path: Path) -> None:
    (tmp_path / MESSAGE).rename(tmp_path / "parked/7.mess")
    assert park(fs, LAYOUT, 7, BEFORE) is Fate.PARKED
    assert files_of(tmp_path) == PARKED


def test_an_envelope_without_any_message_is_left_to_qmail_queue(
    fs: FailingFs, tmp_path: Path
) -> None:
    (tmp_path / MESSAGE).unlink()
    assert park(fs, LAYOUT, 7, BEFORE) is Fate.LEFT
    assert files_of(tmp_path) == {ENTRY}


@pytest.mark.parametrize("code", [errno.EIO, errno.EFBIG])
def test_an_entry_that_is_unreadable_for_good_is_parked(
    fs: FailingFs, tmp_path: Path, code: int
) -> None:
    fs.refuse("read", code, "todo/")
    assert clean(fs, LAYOUT, b"park/7", BEFORE) == DONE
    assert files_of(tmp_path) == PARKED


@pytest.mark.parametrize("call", ["read", "rename", "info"])
def test_trouble_of_the_machine_leaves_everything(fs: FailingFs, tmp_path: Path, call: str) -> None:
    fs.refuse(call, errno.EMFILE)
    assert clean(fs, LAYOUT, b"park/7", BEFORE) == TROUBLE
    assert files_of(tmp_path) == {MESSAGE, ENTRY}


@pytest.mark.parametrize(
    ("records", "is_torn"),
    [(b"", True), (b"\0\0\0", True), (b"x5\0p7/3/aa", True), (b"u", True), (b"u5\0", True),
     (b"u5\0p7/", True), (SEALED, True), (SEALED[:-3], True), (b"u5\0\0\0\0", True),
     (GARBLED, False), (WHOLE, False), (b"u5\0q7\0F\0", False), (b"From: a\n", False)],
)  # fmt: skip
def test_only_what_our_own_writer_left_half_can_be_torn(records: bytes, is_torn: bool) -> None:
    assert could_be_torn(records, START, START + 1) is is_torn
    assert not could_be_torn(records, START, START - 1)


@given(cut=st.integers(0, len(SEALED)), zeros=st.integers(0, 40))
def test_every_cut_of_a_sealed_entry_can_be_torn(cut: int, zeros: int) -> None:
    assert could_be_torn(SEALED[:cut] + bytes(zeros), START, START)


# --- qmail-queue and qmail-send -------------------------------------------------------------------


@pytest.mark.parametrize("records", [GARBLED, b"nonsense", SEALED])
def test_no_start_of_qmail_queue_takes_the_envelope_of_a_message_away(
    fs: FailingFs, tmp_path: Path, records: bytes
) -> None:
    (tmp_path / ENTRY).write_bytes(records)
    assert QueueWriter(fs, FakeClock(), LAYOUT).recover(BEFORE) == []
    assert files_of(tmp_path) == {MESSAGE, ENTRY}


def test_an_entry_that_cannot_be_read_stops_no_start_of_qmail_queue(
    fs: FailingFs, tmp_path: Path
) -> None:
    fs.refuse("read", errno.EIO, "todo/")
    assert QueueWriter(fs, FakeClock(), LAYOUT).recover(BEFORE) == []
    assert files_of(tmp_path) == {MESSAGE, ENTRY}


def test_qmail_queue_leaves_an_envelope_whose_message_is_parked(
    fs: FailingFs, tmp_path: Path
) -> None:
    (tmp_path / MESSAGE).rename(tmp_path / "parked/7.mess")
    assert QueueWriter(fs, FakeClock(), LAYOUT).recover(BEFORE) == []
    assert files_of(tmp_path) == {ENTRY, "parked/7.mess"}
    queue = DiskQueue(fs, FakeClock(), LAYOUT)
    assert list(queue.scan()) == []
    assert queue.unreadable() == [7]


def test_what_makes_no_sense_is_named_once_a_look(fs: FailingFs) -> None:
    queue = DiskQueue(fs, FakeClock(), LAYOUT)
    for _ in range(2):
        assert list(queue.scan()) == []
        assert list(queue.arrivals()) == []
        assert queue.unreadable() == [7]
        assert queue.unreadable() == []
    assert queue.notes == ["warning: unknown record type in todo/7"]
    assert not queue.is_parked(7)
    park(fs, LAYOUT, 7, BEFORE)
    assert queue.is_parked(7)
    assert list(queue.scan()) == []
    assert queue.unreadable() == []


def test_an_entry_that_cannot_be_read_has_an_hour(fs: FailingFs) -> None:
    clock = FakeClock()
    queue = DiskQueue(fs, clock, LAYOUT)
    fs.refuse("read", errno.EIO, "todo/")
    assert queue.arrival(7) is None
    clock.time += UNREADABLE_S - 1
    assert queue.arrival(7) is None
    assert queue.unreadable() == []
    clock.time += 1
    assert queue.arrival(7) is None
    assert queue.unreadable() == [7]


def test_an_hour_counts_from_the_last_time_that_it_could_be_read(
    fs: FailingFs, tmp_path: Path
) -> None:
    (tmp_path / ENTRY).write_bytes(WHOLE)
    clock = FakeClock()
    queue = DiskQueue(fs, clock, LAYOUT)
    for _ in range(2):
        fs.refuse("read", errno.EIO, "todo/")
        assert queue.arrival(7) is None
        fs.allow("read")
        clock.time += UNREADABLE_S
        assert queue.arrival(7) is not None
    assert queue.unreadable() == []


@pytest.mark.parametrize("path", ["info/1/7", "local/1/7", "remote/1/7", "bounce/7"])
def test_a_message_that_other_files_know_more_of_is_left_with_an_alert(
    fs: FailingFs, tmp_path: Path, path: str
) -> None:
    (tmp_path / path).write_bytes(b"Tann@b.ex\0")
    queue = DiskQueue(fs, FakeClock(), LAYOUT, booted=BEFORE)
    for _ in range(2):
        assert list(queue.scan()) == []
    assert queue.unreadable() == []
    assert files_of(tmp_path) == {MESSAGE, ENTRY, path}
    assert queue.notes == [
        "warning: unknown record type in todo/7",
        "alert: message 7 has a bad envelope beside other files: run 'qmail queue check --repair'",
    ]


def test_qmail_send_has_it_parked_and_says_so() -> None:
    world = World()
    world.engine.senseless = [7]
    world.send.rescan()
    world.turn()
    assert world.orders == [b"park/7"]
    world.engine.parked.add(7)
    alert = b"alert: message 7 has no readable envelope: parked/7.mess has it"
    assert alert in world.clean()


def test_a_refusal_is_told_and_the_next_look_asks_again() -> None:
    world = World()
    for _ in range(2):
        world.engine.senseless = [7]
        world.send.rescan()
        world.turn()
        assert world.orders == [b"park/7"]
        assert b"warning: qmail-clean unable to clean up park/7" in world.clean(b"!")


def test_a_message_that_is_at_work_is_not_parked() -> None:
    world = World()
    world.arrive(7, b"ann@here.ex")
    world.engine.senseless = [7]
    world.send.rescan()
    world.turn()
    assert world.orders == []
