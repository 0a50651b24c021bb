"""Spares: used only after a sync, in pairs, not when old, put away when idle."""

import os
from pathlib import Path

from qmail.core.fs import RealFs
from qmail.core.queue.clean import clean
from qmail.core.queue.layout import Layout
from qmail.core.queue.spares import IDLE_S_MAX, SPARES_MAX, Spares, spare_numbers

LAYOUT = Layout(1)


class StillClock:
    def __init__(self, now: float) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


class Queue:
    """A queue folder with finished messages in it."""

    def __init__(self, root: Path, count: int = 1) -> None:
        self.root = root
        for folder in ("pid", "mess/0", "todo"):
            (root / folder).mkdir(parents=True)
        self.fs = RealFs(str(root))
        self.numbers = [self.finish() for _ in range(count)]
        self.clock = StillClock(os.stat(root / "pid").st_mtime)
        self.spares = Spares(self.fs, self.clock, LAYOUT)

    def finish(self) -> int:
        fresh = self.root / "pid" / "fresh"
        fresh.write_bytes(b"old mail\n")
        number = fresh.stat().st_ino
        fresh.rename(self.root / "mess" / "0" / str(number))
        (self.root / "todo" / str(number)).write_bytes(b"u1\0p2\0F\0Ta@b\0")
        assert clean(self.fs, LAYOUT, b"done/%d" % number) == b"+"
        return number

    def make_ready(self) -> None:
        self.spares.look()
        self.spares.synced()


def test_a_spare_is_not_used_before_a_sync_came_after_it_was_seen(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    assert queue.spares.take() is None
    queue.spares.look()
    assert queue.spares.take() is None
    queue.spares.synced()
    spare = queue.spares.take()
    assert spare is not None
    os.close(spare.fd)
    (number,) = queue.numbers
    assert spare.path == f"mess/0/{number}"
    assert spare.envelope == f"pid/spare.{number}.todo"
    assert spare.size == len(b"old mail\n")


def test_after_a_sync_that_failed_a_spare_is_made_safe_anew(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    queue.spares.look()
    queue.spares.sync_failed()
    queue.spares.synced()
    assert queue.spares.take() is None
    (number,) = queue.numbers
    envelope = tmp_path / "pid" / f"spare.{number}.todo"
    envelope.write_bytes(b"u1, as if the disk had dropped the byte that was written")
    queue.make_ready()
    assert envelope.read_bytes()[:1] == b"x"
    spare = queue.spares.take()
    assert spare is not None
    os.close(spare.fd)


def test_a_spare_in_use_is_not_seen_again(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    queue.make_ready()
    spare = queue.spares.take()
    assert spare is not None
    os.close(spare.fd)
    for _ in range(20):
        queue.make_ready()
    assert queue.spares.take() is None
    queue.spares.named(spare.number)


def test_a_spare_without_its_message_is_removed(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    queue.make_ready()
    (tmp_path / "mess" / "0" / str(queue.numbers[0])).unlink()
    assert queue.spares.take() is None
    assert spare_numbers(queue.fs) == []


def test_a_spare_whose_mark_is_gone_is_somebody_elses_message(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    queue.make_ready()
    (tmp_path / "pid" / f"spare.{queue.numbers[0]}.todo").unlink()
    assert queue.spares.take() is None
    assert len(list((tmp_path / "mess" / "0").iterdir())) == 1


def test_a_spare_that_the_sweep_could_meet_is_left_to_the_sweep(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    queue.make_ready()
    queue.clock.time += IDLE_S_MAX + 10
    assert queue.spares.take() is None
    queue.spares.blank()
    assert len(list((tmp_path / "mess" / "0").iterdir())) == 1
    assert spare_numbers(queue.fs) == []


def test_a_message_restored_under_another_inode_is_no_spare(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    (number,) = queue.numbers
    other = tmp_path / "mess" / "0" / "copy"
    other.write_bytes(b"restored\n")
    other.replace(tmp_path / "mess" / "0" / str(number))
    queue.make_ready()
    assert queue.spares.take() is None


def test_other_names_in_pid_are_not_spares(tmp_path: Path) -> None:
    queue = Queue(tmp_path, count=0)
    for name in ("123.456.1", "spare.7", "spare.x.todo", "spare.07.todo"):
        (tmp_path / "pid" / name).touch()
    assert spare_numbers(queue.fs) == []


def test_when_idle_they_leave_mess_and_are_empty_and_still_of_use(tmp_path: Path) -> None:
    queue = Queue(tmp_path, count=2)
    queue.spares.blank()
    assert list((tmp_path / "mess" / "0").iterdir()) == []
    assert [path.stat().st_size for path in (tmp_path / "pid").iterdir()] == [0] * 4
    queue.make_ready()
    spare = queue.spares.take()
    assert spare is not None
    os.close(spare.fd)
    assert spare.path == f"pid/spare.{spare.number}"


def test_there_are_never_more_than_the_limit(tmp_path: Path) -> None:
    queue = Queue(tmp_path, count=SPARES_MAX + 5)
    queue.spares.look()
    assert len(spare_numbers(queue.fs)) == SPARES_MAX
    assert len(list((tmp_path / "mess" / "0").iterdir())) == SPARES_MAX


def test_a_restored_message_is_never_taken_for_a_spare(tmp_path: Path) -> None:
    """Its mark came back with it, from a copy that was made while the queue was at work."""
    queue = Queue(tmp_path)
    (number,) = queue.numbers
    path = tmp_path / LAYOUT.mess(number)
    keep = path.rename(tmp_path / "pid" / "keep")
    path.write_bytes(b"accepted\n")
    assert path.stat().st_ino != keep.stat().st_ino
    queue.spares.blank()
    queue.make_ready()
    assert queue.spares.take() is None
    assert path.read_bytes() == b"accepted\n"
