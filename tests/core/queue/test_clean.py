"""qmail-clean's orders (spec/queue.md 10)."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fakes.queue_world import LAYOUT, START, FailingFs, files_of, make_queue

from qmail.core.queue.clean import DONE, NONSENSE, TROUBLE, clean, clean_pid
from qmail.mail import SPARE_BYTES_MAX

ALL = (LAYOUT.mess(7), LAYOUT.intd(7), LAYOUT.todo(7))


@pytest.fixture
def fs(tmp_path: Path) -> Iterator[FailingFs]:
    disk = make_queue(tmp_path)
    for path in ALL:
        (tmp_path / path).write_bytes(path.encode())
    yield disk
    disk.release()


def test_queue_10_foop_removes_intd_and_mess(fs: FailingFs, tmp_path: Path) -> None:
    assert clean(fs, LAYOUT, b"foop/7") == DONE
    assert files_of(tmp_path) == {LAYOUT.todo(7)}
    assert fs.log == ["unlink intd/7", f"unlink {LAYOUT.mess(7)}"]


def test_queue_10_todo_removes_intd_and_todo(fs: FailingFs, tmp_path: Path) -> None:
    assert clean(fs, LAYOUT, b"todo/7") == DONE
    assert files_of(tmp_path) == {LAYOUT.mess(7)}


def test_done_makes_a_spare_of_todo_and_leaves_mess_in_its_place(
    fs: FailingFs, tmp_path: Path
) -> None:
    assert clean(fs, LAYOUT, b"done/7") == DONE
    assert files_of(tmp_path) == {"pid/spare.7.todo", LAYOUT.mess(7), LAYOUT.intd(7)}
    assert [line for line in fs.log if line.startswith("rename")] == ["rename pid/spare.7.todo"]


def test_done_unlinks_a_message_that_is_too_long_to_be_a_spare(
    fs: FailingFs, tmp_path: Path
) -> None:
    (tmp_path / LAYOUT.mess(7)).write_bytes(b"x" * (SPARE_BYTES_MAX + 1))
    assert clean(fs, LAYOUT, b"done/7") == DONE
    assert files_of(tmp_path) == {LAYOUT.intd(7)}


def test_done_unlinks_where_spares_cannot_be_made(fs: FailingFs, tmp_path: Path) -> None:
    fs.refuse("rename", errno.EACCES)
    assert clean(fs, LAYOUT, b"done/7") == DONE
    assert files_of(tmp_path) == {LAYOUT.intd(7)}


@pytest.mark.parametrize("size", [10, SPARE_BYTES_MAX + 1])
def test_done_for_the_second_time_leaves_a_new_message_of_that_number_alone(
    fs: FailingFs, tmp_path: Path, size: int
) -> None:
    (tmp_path / LAYOUT.todo(7)).unlink()
    (tmp_path / LAYOUT.mess(7)).write_bytes(b"x" * size)
    assert clean(fs, LAYOUT, b"done/7") == DONE
    assert LAYOUT.mess(7) in files_of(tmp_path)


@pytest.mark.parametrize("order", [b"foop/7", b"todo/7", b"done/7"])
def test_queue_10_what_is_gone_already_is_no_trouble(
    fs: FailingFs, tmp_path: Path, order: bytes
) -> None:
    for path in ALL:
        (tmp_path / path).unlink()
    assert clean(fs, LAYOUT, order) == DONE


@pytest.mark.parametrize(
    ("order", "prefix", "left"),
    [
        (b"foop/7", "intd/", LAYOUT.mess(7)),
        (b"foop/7", "mess/", LAYOUT.mess(7)),
        (b"todo/7", "todo/", LAYOUT.todo(7)),
    ],
)
def test_queue_10_an_unlink_that_fails_is_told_and_ends_the_order(
    fs: FailingFs, tmp_path: Path, order: bytes, prefix: str, left: str
) -> None:
    fs.refuse("unlink", errno.EACCES, prefix)
    assert clean(fs, LAYOUT, order) == TROUBLE
    assert left in files_of(tmp_path)


def test_an_envelope_that_cannot_go_keeps_its_message(fs: FailingFs, tmp_path: Path) -> None:
    fs.refuse("rename", errno.EROFS)
    fs.refuse("unlink", errno.EROFS)
    assert clean(fs, LAYOUT, b"done/7") == TROUBLE
    assert files_of(tmp_path) == set(ALL)


@pytest.mark.parametrize(
    "order",
    [b"", b"foop/", b"foop", b"foop/x", b"foop/-7", b"foop/+7", b"foop/07", b"foop/7 ", b"foop/7/8",
     b"foop/7\n", b"foo/7", b"FOOP/7", b"mess/7", b"todo/../mess/7", b"foop/\xb2", b"\xff" * 20,
     b"foop/" + b"7" * 95, b"foop//7"],
)  # fmt: skip
def test_queue_10_a_bad_order_is_answered_once_and_nothing_is_done(
    fs: FailingFs, tmp_path: Path, order: bytes
) -> None:
    assert clean(fs, LAYOUT, order) == NONSENSE
    assert fs.log == []
    assert files_of(tmp_path) == set(ALL)


def test_queue_10_orders_have_7_to_100_bytes_with_their_nul(fs: FailingFs) -> None:
    assert clean(fs, LAYOUT, b"foop/1") == DONE
    assert clean(fs, LAYOUT, b"foop/" + b"1" * 94) == DONE
    assert clean(fs, LAYOUT, b"foop/" + b"1" * 95) == NONSENSE


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.one_of(st.binary(max_size=30), st.text("fodptn/.7").map(str.encode)))
def test_no_order_reaches_a_file_that_is_no_message(
    fs: FailingFs, tmp_path: Path, order: bytes
) -> None:
    (tmp_path / "lock" / "sendmutex").write_bytes(b"")
    assert clean(fs, LAYOUT, order) in (DONE, TROUBLE, NONSENSE)
    assert (tmp_path / "lock" / "sendmutex").exists()


def test_queue_10_what_lies_in_pid_for_36_hours_goes(fs: FailingFs, tmp_path: Path) -> None:
    for name in ("old", "young", "spare.3"):
        (tmp_path / "pid" / name).write_bytes(b"")
    newest = max(os.stat(tmp_path / "pid" / name).st_ctime for name in ("old", "young"))
    assert clean_pid(fs, newest + 129000) == 0
    assert clean_pid(fs, newest + 129601) == 3
    assert not any(path.startswith("pid/") for path in files_of(tmp_path))


def test_an_age_counts_from_the_newest_time_and_not_from_atime(
    fs: FailingFs, tmp_path: Path
) -> None:
    (tmp_path / "pid" / "x").write_bytes(b"")
    os.utime(tmp_path / "pid" / "x", (START - 10**6, START - 10**6))
    assert clean_pid(fs, os.stat(tmp_path / "pid" / "x").st_ctime + 1) == 0
