"""A full disk, a sync that fails, a program that dies: at every operation, one at a time."""

from collections import Counter

import pytest
from tests.durability.scenarios import SCENARIOS
from tests.sim.killing import KillMachine
from tests.sim.power import Choice, Power, PowerCut
from tests.sim.simworld import Disks, Key, Machine, Outside
from tests.sim.survey import Scenario, check_all, recover, run

ids = lambda scenario: scenario.__name__


def any_twice(outside: Outside) -> Counter[Key]:
    """Say that each delivery may happen once more: it was running when its program died."""
    return Counter((mail.number, to) for mail in outside.sent.values() for to in mail.recipients)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=ids)
def test_a_program_that_dies_at_any_operation_loses_nothing(scenario: Scenario) -> None:
    disks, _ = run(scenario, None)
    for death in range(disks.queue.power.count):
        machine = KillMachine(Disks.new(Power(death)), Outside())
        scenario(machine)
        machine.disks.queue.power.restore()
        machine.rest()
        check_all(machine, any_twice(machine.outside))
        assert machine.kills == 1


@pytest.mark.parametrize("scenario", SCENARIOS, ids=ids)
@pytest.mark.parametrize("on_queue", [True, False], ids=["queue", "maildir"])
def test_a_disk_that_is_full_at_any_write_loses_nothing(scenario: Scenario, on_queue: bool) -> None:
    first = Disks.new(Power())
    scenario(Machine(first, Outside()))
    for write in range((first.queue if on_queue else first.mail).writes):
        disks = Disks.new(Power())
        (disks.queue if on_queue else disks.mail).fail_write = write
        machine = Machine(disks, Outside())
        scenario(machine)
        machine.rest()
        assert check_all(machine, Counter()) == 0


@pytest.mark.parametrize("scenario", SCENARIOS, ids=ids)
@pytest.mark.parametrize("on_queue", [True, False], ids=["queue", "maildir"])
def test_no_power_cut_after_a_sync_that_failed_loses_anything(
    scenario: Scenario, on_queue: bool
) -> None:
    first = Disks.new(Power())
    scenario(Machine(first, Outside()))
    operations = first.queue.power.count
    for sync in range((first.queue if on_queue else first.mail).syncs):
        for cut_at in (*range(sync % 7, operations, 7), operations + 1000):
            cut_after_failed_sync(scenario, sync, cut_at, on_queue=on_queue)


def cut_after_failed_sync(scenario: Scenario, sync: int, cut_at: int, *, on_queue: bool) -> None:
    disks, outside = Disks.new(Power(cut_at)), Outside()
    (disks.queue if on_queue else disks.mail).fail_sync = sync
    try:
        machine = Machine(disks, outside)
        scenario(machine)
        machine.rest()
        check_all(machine, Counter())
    except PowerCut:
        names = [Choice(disk.waiting, seed=cut_at) for disk in (disks.queue, disks.mail)]
        recover(disks.after_power_cut(names[0], names[1]), outside, was_healthy=False)
