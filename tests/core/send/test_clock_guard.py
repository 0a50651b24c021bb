"""A clock that jumps expires nothing and holds nothing up (spec/oddities.md 6)."""

import pytest
from tests.fakes.queue_world import FakeClock
from tests.fakes.send_world import LIFETIME_S, World

from qmail.core.send.clock_guard import JUMP_S, STEP_BACK_S, TRUST_S, ClockGuard

YEARS_S = 10 * 365 * 86400


def test_time_that_passes_is_no_jump() -> None:
    clock = FakeClock()
    guard = ClockGuard(clock)
    clock.time += YEARS_S
    assert guard.look() == 0
    assert guard.may_expire


@pytest.mark.parametrize(("jump_s", "is_believed"), [(JUMP_S, True), (JUMP_S + 1, False)])
def test_oddities_6_a_jump_of_more_than_a_day_is_not_believed(
    jump_s: int, *, is_believed: bool
) -> None:
    clock = FakeClock()
    guard = ClockGuard(clock)
    clock.wrong = jump_s
    assert guard.look() == 0
    assert guard.may_expire == is_believed


def test_a_day_without_another_jump_confirms_the_clock() -> None:
    clock = FakeClock()
    guard = ClockGuard(clock)
    clock.wrong = YEARS_S
    guard.look()
    clock.time += TRUST_S - 1
    guard.look()
    assert not guard.may_expire
    clock.time += 1
    assert guard.may_expire


@pytest.mark.parametrize(("since_s", "is_believed"), [(None, True), (86400.0, True), (9e6, False)])
def test_a_jump_between_two_runs_is_seen_at_the_start(
    since_s: float | None, *, is_believed: bool
) -> None:
    guard = ClockGuard(FakeClock())
    guard.found_at_start(since_s)
    assert guard.may_expire == is_believed


def test_each_jump_is_told_once() -> None:
    clock = FakeClock()
    guard = ClockGuard(clock)
    for _ in range(2):
        clock.wrong += YEARS_S
        guard.look()
        assert f"{YEARS_S} seconds" in guard.warning()
        assert guard.warning() == ""


def test_a_clock_that_is_set_back_is_told_with_by_how_much() -> None:
    clock = FakeClock()
    guard = ClockGuard(clock)
    clock.wrong = -STEP_BACK_S
    assert guard.look() == 0
    clock.wrong -= 1000
    assert guard.look() == 1000
    assert guard.may_expire


# --- in qmail-send --------------------------------------------------------------------------------


def deferred(world: World) -> None:
    world.arrive(7, b"ann@far.ex")
    world.report(1, b"Zbusy\n")
    world.clean()


def test_oddities_6_after_a_jump_of_years_no_message_bounces_and_one_alert_tells() -> None:
    world = World()
    deferred(world)
    world.clock.wrong = YEARS_S
    world.turn()
    for delivery in (2, 3):
        world.report(delivery, b"Zbusy\n")
        assert world.bounces == []
        assert world.engine.schedule[0][0] - world.clock.now() < 86400
        world.pass_time(40000)
    alerts = [line for line in world.lines if line.startswith(b"alert: the clock went ")]
    assert len(alerts) == 1


def test_oddities_6_hup_confirms_the_clock() -> None:
    world = World()
    deferred(world)
    world.clock.wrong = YEARS_S
    world.turn()
    world.report(2, b"Zbusy\n")
    world.reread(world.policy.routes)
    world.pass_time(40000)
    world.report(3, b"Zbusy\n")
    assert len(world.bounces) == 1


def test_oddities_6_a_day_later_ages_are_believed() -> None:
    world = World()
    deferred(world)
    world.clock.wrong = LIFETIME_S * 2
    world.turn()
    world.report(2, b"Zbusy\n")
    world.pass_time(TRUST_S)
    world.report(3, b"Zbusy\n")
    assert len(world.bounces) == 1


def test_oddities_6_after_weeks_without_a_run_nothing_expires_at_once() -> None:
    world = World()
    world.engine.last_run_s = 20 * 86400.0
    world.send.start()
    world.arrive(7, b"ann@far.ex", age_s=LIFETIME_S + 5)
    world.report(1, b"Zbusy\n")
    world.clean()
    assert world.bounces == []
    assert world.engine.last_run_s == 0


def test_a_clock_that_is_set_back_makes_nobody_wait_longer() -> None:
    world = World()
    deferred(world)
    world.clock.wrong = -YEARS_S
    assert world.turn() == [b"warning: the clock was set back by %d seconds" % YEARS_S]
    world.pass_time(399)
    assert world.running == []
    world.pass_time(1)
    assert world.running == [(2, b"ann@far.ex")]
