"""Slots, turns and domains that are slow (spec/delivery.md 14; issue: fairness)."""

from typing import Final

import pytest
from tests.fakes.send_world import SLOTS, World

from qmail.core.queue.engine import Act
from qmail.core.queue.schedule import SYSTEM_FAILURE_S
from qmail.core.send.lanes import AHEAD_MAX, PARKED_JOBS_MAX
from qmail.core.settings.host_limits import HostLimit, HostLimits
from qmail.mail import Channel

SLOW: Final = b"x@slow.ex"
BUSY: Final = b"ZConnected to 1.2.3.4 but greeting failed.\nRemote host said: 421 later\n"


def limited(at_once: int = 2, per_minute: int = 0, *, remote: int = 20) -> World:
    """Return a world in which slow.ex has a limit."""
    table = {b"slow.ex": HostLimit(at_once, per_minute)}
    return World(remote=remote, hosts=HostLimits(table=table))


def deferred_messages(world: World, count: int, recipient: bytes = SLOW) -> None:
    """Put messages into the schedule that have been tried once."""
    for number in range(100, 100 + count):
        world.arrive(number, recipient)
    while world.jobs:
        world.report(world.running[0][0], b"Zlater\n")
        world.clean()
    world.clean()
    assert len(world.engine.schedule) == count


def to(world: World, domain: bytes) -> list[int]:
    """Return the deliveries that run for one domain."""
    return [number for number, recipient in world.running if recipient.endswith(b"@" + domain)]


# --- what a spawner can make at once --------------------------------------------------------------


def test_a_spawner_gets_no_more_than_it_says_it_can_make_and_the_log_says_so() -> None:
    world = World(remote=2000)
    world.turn()
    world.send.connected(Channel.REMOTE, 3)
    (line,) = world.turn()
    assert line == (
        b"warning: control/concurrencyremote is 2000, but qmail-rspawn makes 3 deliveries at once"
        b" at most: see 'qmail check'"
    )
    lines = world.arrive(7, *(b"x@host%d.ex" % number for number in range(10)))
    world.clean()
    assert len(world.running) == 3
    assert b"status: local 0/10 remote 3/3" in [*lines, *world.lines]
    world.report(world.running[0][0], b"K")
    assert len(world.running) == 3


def test_hup_does_not_make_a_spawner_able_to_do_more() -> None:
    world = World(remote=2000)
    world.send.connected(Channel.LOCAL, 5)
    assert any(b"control/concurrencylocal is 10" in line for line in world.turn())
    world.reread(world.policy.routes, local=4)
    assert not any(b"control/concurrencylocal" in line for line in world.turn())
    world.arrive(7, *(b"u%d@here.ex" % number for number in range(10)))
    world.clean()
    assert len(world.running) == 4
    world.reread(world.policy.routes, local=50)
    assert any(b"control/concurrencylocal is 50" in line for line in world.turn())
    assert len(world.running) == 5


# --- one domain does not fill the slots -----------------------------------------------------------


def test_no_more_run_for_one_domain_than_its_limit_and_others_go_on() -> None:
    world = limited(remote=5)
    for number in range(1, 11):
        world.arrive(number, b"x@SLOW.ex" if number % 2 else SLOW)
    world.arrive(20, b"x@quick.ex")
    assert len(world.running) == 3
    assert len(to(world, b"quick.ex")) == 1
    seen = set()
    while world.jobs:
        slow = [number for number, recipient in world.running if b"quick" not in recipient]
        assert len(slow) <= 2
        seen |= set(slow)
        world.report(world.running[0][0], b"K")
    assert len(seen) == 10
    world.clean()
    assert world.engine.todo == {}
    assert world.send.is_idle


def test_a_domain_of_the_table_by_suffix_is_limited_each_on_its_own() -> None:
    world = World(hosts=HostLimits(table={b".ex": HostLimit(1)}))
    world.arrive(1, b"a@one.ex", b"b@one.ex", b"c@two.ex", b"d@elsewhere")
    world.clean()
    assert [recipient for _, recipient in world.running] == [
        b"a@one.ex",
        b"c@two.ex",
        b"d@elsewhere",
    ]


def test_the_limit_is_no_matter_of_the_local_channel() -> None:
    world = World(hosts=HostLimits(HostLimit(1)))
    world.arrive(1, b"a@here.ex", b"b@here.ex")
    world.clean()
    assert len(world.running) == 2


def test_one_message_to_many_of_a_slow_domain_ends_when_all_are_served() -> None:
    world = limited()
    world.arrive(1, *(b"u%d@slow.ex" % number for number in range(50)), b"x@quick.ex")
    world.clean()
    assert len(world.running) == 3
    served = []
    while world.jobs:
        assert len(to(world, b"slow.ex")) <= 2
        served.append(world.running[0][1])
        world.report(world.running[0][0], b"K")
    assert len(set(served)) == 51
    assert world.lines[-1] == b"end msg 1"


def test_messages_that_wait_for_a_domain_take_turns() -> None:
    world = limited(1)
    world.arrive(1, *(b"u%d@slow.ex" % number for number in range(10)))
    world.clean()
    world.arrive(2, b"ann@slow.ex")
    order = []
    for _ in range(3):
        order.append(world.running[0][1])
        world.report(world.running[0][0], b"K")
    assert b"ann@slow.ex" in order


def test_a_deferred_recipient_of_a_slow_domain_is_tried_again_with_the_others() -> None:
    world = limited(1)
    world.arrive(1, b"a@slow.ex", b"b@slow.ex")
    world.clean()
    world.report(1, b"Zlater\n")
    assert world.running == [(2, b"b@slow.ex")]
    world.report(2, b"K")
    assert "renew 1 remote 400" in world.engine.log
    world.pass_time(400)
    assert world.running == [(3, b"a@slow.ex")]


# --- what was deferred waits by number ------------------------------------------------------------


def test_deferred_messages_for_a_slow_domain_are_not_open_while_they_wait() -> None:
    world = limited(remote=10)
    deferred_messages(world, 60)
    world.engine.log.clear()
    world.pass_time(400)
    assert len(world.running) == 2
    assert len(world.send.ending.messages) == 2
    world.arrive(7, b"new@quick.ex")
    assert len(to(world, b"quick.ex")) == 1
    served = 0
    while to(world, b"slow.ex"):
        world.report(to(world, b"slow.ex")[0], b"K")
        served += 1
    assert served == 60
    assert world.engine.schedule == []


def test_oldest_first_holds_for_those_that_wait_for_a_domain() -> None:
    world = limited(1)
    deferred_messages(world, 10)
    world.pass_time(400)
    order = []
    while world.jobs:
        delivery = world.running[0][0]
        order += [job.body for _, job in world.jobs.values()]
        world.report(delivery, b"K")
    assert order == [b"0/%d" % number for number in range(100, 110)]


def test_a_message_that_waits_for_a_domain_bounces_when_its_time_is_over() -> None:
    world = limited(1)
    deferred_messages(world, 2)
    world.pass_time(400)
    world.clock.time += 10**6
    world.report(world.running[0][0], b"K")
    world.report(world.running[0][0], b"Zlater\n")
    assert len(world.bounces) == 1


def test_beyond_a_bound_new_messages_wait_on_disk() -> None:
    world = limited(1)
    count = PARKED_JOBS_MAX + 30
    for number in range(1, count + 1):
        world.notice(world.queued(number, SLOW))
    for _ in range(count // 1000 + 2):
        world.turn()
    world.clean()
    assert len([line for line in world.engine.log if line.startswith("keep ")]) == 29
    assert f"renew {count} remote {SYSTEM_FAILURE_S}" in world.engine.log
    assert len(world.send.ending.messages) == PARKED_JOBS_MAX + 1
    world.pass_time(SYSTEM_FAILURE_S)
    assert len(world.send.ending.messages) == PARKED_JOBS_MAX + 1
    assert len(world.engine.schedule) == 0


# --- a rate ---------------------------------------------------------------------------------------


def test_a_rate_spreads_the_deliveries_of_a_domain_over_the_minute() -> None:
    world = limited(0, 6)
    for number in range(1, 10):
        world.arrive(number, SLOW)
    started = [len(world.running)]
    for _ in range(6):
        world.pass_time(10)
        started.append(len(world.running))
    assert started == [1, 2, 3, 4, 5, 6, 7]
    assert 0 < world.send.wait_s() <= 10


# --- domains that ask for less --------------------------------------------------------------------


def test_after_421_a_domain_is_left_alone_for_a_minute_then_longer() -> None:
    world = World()
    world.arrive(1, *(b"u%d@slow.ex" % number for number in range(4)))
    world.clean()
    for delivery in (1, 2, 3, 4):
        lines = world.report(delivery, BUSY)
        told = [line for line in lines if line.startswith(b"send: slow.ex wants less mail: ")]
        assert len(told) == (delivery == 1)
    world.arrive(2, SLOW)
    world.arrive(3, b"x@quick.ex")
    assert [recipient for _, recipient in world.running] == [b"x@quick.ex"]
    world.pass_time(59)
    assert len(world.running) == 1
    world.pass_time(1)
    (delivery,) = to(world, b"slow.ex")
    assert b"none for 120 s" in world.report(delivery, BUSY)[-3]
    world.clean()
    world.arrive(4, SLOW)
    world.pass_time(119)
    assert to(world, b"slow.ex") == []
    world.pass_time(1)
    assert len(to(world, b"slow.ex")) == 1


def test_queue_7_8_alrm_lifts_no_pause_of_a_domain() -> None:
    world = World()
    world.arrive(1, SLOW)
    world.report(1, BUSY)
    world.clean()
    world.engine.act(Act.RETRY_NOW)
    world.turn()
    assert world.running == []
    world.pass_time(60)
    assert world.running == [(2, SLOW)]


def test_successes_bring_a_domain_back_to_its_limit() -> None:
    world = limited(4)
    world.arrive(1, *(b"u%d@slow.ex" % number for number in range(30)))
    world.clean()
    assert len(world.running) == 4
    world.report(1, BUSY)
    for delivery in (2, 3, 4):
        world.report(delivery, b"Zfull\n")
    world.pass_time(60)
    assert len(world.running) == 2
    world.report(world.running[0][0], b"K")
    assert len(world.running) == 3
    world.report(world.running[0][0], b"K")
    assert len(world.running) == 4
    world.report(world.running[0][0], b"K")
    assert len(world.running) == 4


# --- signals, spawners ----------------------------------------------------------------------------


def test_queue_7_8_hup_changes_the_limits_of_what_waits() -> None:
    world = limited(1)
    for number in range(1, 6):
        world.arrive(number, SLOW)
    assert len(world.running) == 1
    world.set_hosts(HostLimits())
    world.turn()
    assert len(world.running) == 5


def test_queue_7_8_after_term_what_waits_for_a_domain_stays_in_the_queue() -> None:
    world = limited(1)
    world.arrive(1, SLOW)
    world.arrive(2, SLOW)
    world.send.exit_soon()
    world.report(1, b"K")
    assert world.running == []
    world.clean()
    assert world.send.is_idle
    assert set(world.engine.todo) == {2}


def test_a_lost_spawner_frees_its_domains() -> None:
    world = limited(1)
    world.arrive(1, SLOW)
    world.arrive(2, SLOW)
    world.send.disconnected(Channel.REMOTE)
    world.jobs.clear()
    world.turn()
    world.send.connected(Channel.REMOTE, SLOTS)
    world.turn()
    assert world.running == [(2, SLOW)]


# --- fair, and never long at a time ---------------------------------------------------------------


@pytest.mark.parametrize("lists", [1, 20])
def test_a_small_message_waits_for_one_turn_of_each_huge_one(lists: int) -> None:
    world = World(local=2)
    for number in range(1, lists + 1):
        world.arrive(number, *(b"u%d@here.ex" % each for each in range(300)))
        world.clean()
    world.arrive(99, b"ann@here.ex")
    ended = 0
    while b"ann@here.ex" not in [recipient for _, recipient in world.running]:
        world.report(world.running[0][0], b"K")
        ended += 1
    assert ended <= lists + 2


def test_one_pump_looks_at_so_many_recipients_and_comes_back_for_the_rest() -> None:
    world = limited(1)
    world.arrive(1, *(b"u%d@slow.ex" % number for number in range(2500)), b"x@quick.ex")
    world.clean()
    assert to(world, b"quick.ex") == []
    turns = 0
    while world.send.wait_s() == 0:
        world.turn()
        turns += 1
    assert turns in (1, 2)
    assert len(to(world, b"quick.ex")) == 1


# --- look-ups ahead of the slots ------------------------------------------------------------------


def test_the_hosts_of_a_message_that_has_to_wait_are_looked_up_ahead() -> None:
    world = World(remote=2)
    world.arrive(1, b"a@one.ex", b"b@two.ex", b"c@One.ex", b"d@three.ex")
    world.clean()
    assert world.send.outputs.hosts == [b"one.ex", b"two.ex", b"three.ex"]
    assert len(world.running) == 2


def test_what_can_start_at_once_needs_no_look_up_ahead() -> None:
    world = World(remote=4)
    world.arrive(1, b"a@one.ex", b"b@two.ex")
    world.clean()
    world.arrive(2, *(b"u%d@here.ex" % number for number in range(100)))
    world.clean()
    for number in range(3, 20):
        world.arrive(number, b"a@one.ex")
    assert world.send.outputs.hosts == []


def test_of_very_many_hosts_the_first_are_looked_up_ahead() -> None:
    world = World(remote=2)
    world.arrive(1, *(b"a@host%d.ex" % number for number in range(5000)))
    for _ in range(4):
        world.turn()
    world.clean()
    assert len(world.send.outputs.hosts) == AHEAD_MAX
