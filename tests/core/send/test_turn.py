"""One turn of qmail-send: commit once, then do what waited."""

from functools import partial

from tests.fakes.queue_world import FakeClock

from qmail.core.queue.engine import EngineError
from qmail.core.send.turn import Turn


class Disk:
    """Counts commits; fails while `is_broken`."""

    def __init__(self) -> None:
        self.commits = 0
        self.is_broken = False

    def commit(self) -> None:
        self.commits += 1
        if self.is_broken:
            raise EngineError("sync failed")


def test_a_turn_that_wrote_nothing_commits_nothing() -> None:
    disk = Disk()
    Turn(FakeClock(), disk.commit).settle(print)
    assert disk.commits == 0


def test_one_commit_serves_all_that_waits_in_order() -> None:
    disk, done = Disk(), list[int]()
    turn = Turn(FakeClock(), disk.commit)
    turn.wrote()
    for number in range(3):
        turn.commit_then(partial(done.append, number), done.clear)
    turn.settle(print)
    assert (disk.commits, done) == (1, [0, 1, 2])
    turn.settle(print)
    assert disk.commits == 1


def test_what_is_written_while_settling_is_committed_too() -> None:
    disk, done = Disk(), list[str]()
    turn = Turn(FakeClock(), disk.commit)
    turn.commit_then(
        lambda: turn.commit_then(lambda: done.append("second"), done.clear), done.clear
    )
    turn.settle(print)
    assert (disk.commits, done) == (2, ["second"])


def test_after_a_commit_that_failed_nothing_is_believed() -> None:
    disk, done, lost, said = Disk(), list[int](), list[int](), list[str]()
    turn = Turn(FakeClock(), disk.commit)
    disk.is_broken = True
    turn.commit_then(lambda: done.append(1), lambda: lost.append(1))
    turn.settle(lambda trouble: said.append(str(trouble)))
    assert (done, lost, said) == ([], [1], ["sync failed"])
    disk.is_broken = False
    turn.settle(print)
    assert disk.commits == 1


def test_timers_come_in_the_order_of_their_times_and_once() -> None:
    clock, done = FakeClock(), list[int]()
    turn = Turn(clock, Disk().commit)
    for delay_s in (30, 10, 20, 10):
        turn.later(delay_s, partial(done.append, delay_s))
    assert turn.wait_s(60) == 10
    assert turn.wait_s(5) == 5
    clock.time += 20
    turn.run_timers()
    turn.run_timers()
    assert done == [10, 10, 20]
    clock.time += 11
    assert turn.wait_s(60) == 0
    turn.run_timers()
    assert turn.wait_s(60) == 60
