"""No accepted message is lost, whenever the power fails."""

from collections import Counter
from collections.abc import Iterator

import pytest
from tests.durability.scenarios import (
    ANNE,
    BERT,
    SCENARIOS,
    deferred_then_delivered,
    enqueue_one,
    enqueue_several,
    local_and_remote,
    number_reused,
    one_local,
    one_of_two_bounced,
    two_local,
)
from tests.sim.power import Power
from tests.sim.simworld import Deliverer, Disks, LonelyDeliverer, Machine, Mail, Outside
from tests.sim.survey import (
    MODELS,
    Model,
    Pair,
    Scenario,
    check_all,
    findings,
    model_mixed,
    model_nothing,
    survey,
    survey_twice,
)
from tests.sim.wrong_orders import (
    HastyDeliverer,
    HastyLonelyDeliverer,
    HastyWriter,
    OriginalDeliverer,
    OriginalWriter,
    SyncedOriginalWriter,
    machine_with,
)


def model_much_mixed(disks: Disks, seed: int) -> Iterator[Pair]:
    """Many random first parts of the names: among them a whole envelope of a torn message."""
    for index in range(8):
        yield from model_mixed(disks, 1000 * index + seed)


LOCAL_SCENARIOS = (one_local, two_local, local_and_remote, number_reused, deferred_then_delivered)

NAMES_FIRST: dict[str, Model] = {"mixed": model_much_mixed}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_power_cut_at_any_operation_loses_nothing(scenario: Scenario) -> None:
    tally = survey(scenario, MODELS)
    assert tally.operations >= 8
    assert tally.cuts > 5 * tally.operations
    assert tally.recoveries > tally.operations


@pytest.mark.parametrize("fsync_keeps_names", [False, True])
@pytest.mark.parametrize("scenario", LOCAL_SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_power_cut_loses_no_delivery_that_has_no_company(
    scenario: Scenario, fsync_keeps_names: bool
) -> None:
    boot = machine_with(deliverer=LonelyDeliverer, fsync_keeps_names=fsync_keeps_names)
    tally = survey(scenario, MODELS, boot)
    assert tally.operations >= 8
    assert tally.recoveries > tally.operations


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_without_a_cut_everything_arrives_once(scenario: Scenario) -> None:
    disks, outside = Disks.new(Power()), Outside()
    machine = Machine(disks, outside)
    scenario(machine)
    machine.rest()
    assert outside.accepted == outside.sent.keys()
    assert check_all(machine, Counter()) == 0


def test_numbers_are_reused_in_these_scenarios() -> None:
    machine = Machine(Disks.new(Power()), Outside())
    numbers = []
    for number in range(5):
        machine.submit(Mail(number, ANNE, (BERT,)))
        machine.accept_all()
        numbers += [path for path in machine.disks.queue.files() if path.startswith("todo/")]
        machine.work()
    assert len(numbers) == 5
    assert len(set(numbers)) < 5


@pytest.mark.parametrize(
    "scenario",
    [two_local, local_and_remote, deferred_then_delivered, one_of_two_bounced],
    ids=lambda scenario: scenario.__name__,
)
def test_a_second_cut_at_any_operation_of_the_recovery_loses_nothing(scenario: Scenario) -> None:
    some = {"nothing": model_nothing, "mixed": model_mixed}
    tally = survey_twice(scenario, some)
    assert tally.operations > 150
    assert tally.recoveries > 100


# --- the proof that the checks can see ------------------------------------------------------------


@pytest.mark.parametrize("fsync_keeps_names", [False, True])
def test_the_original_order_of_calls_loses_an_accepted_message(fsync_keeps_names: bool) -> None:
    boot = machine_with(writer=OriginalWriter, fsync_keeps_names=fsync_keeps_names)
    for name in ("nothing", "names_first"):
        assert "LossError" in findings(enqueue_one, {name: MODELS[name]}, boot)


def test_the_original_order_loses_nothing_once_folders_are_synced() -> None:
    for scenario in (enqueue_one, enqueue_several):
        assert findings(scenario, MODELS, machine_with(writer=SyncedOriginalWriter)) == {}


def test_naming_an_envelope_before_the_message_is_synced_shows_half_of_it() -> None:
    found = findings(one_local, NAMES_FIRST, machine_with(writer=HastyWriter))
    assert "HalfMessageError" in found


@pytest.mark.parametrize("fsync_keeps_names", [False, True])
def test_the_original_order_of_a_maildir_delivery_loses_the_message(
    fsync_keeps_names: bool,
) -> None:
    boot = machine_with(deliverer=OriginalDeliverer, fsync_keeps_names=fsync_keeps_names)
    assert "LossError" in findings(number_reused, {"nothing": model_nothing}, boot)


@pytest.mark.parametrize("deliverer", [HastyDeliverer, HastyLonelyDeliverer])
def test_naming_a_delivery_before_its_bytes_are_synced_shows_half_of_it(
    deliverer: type[Deliverer],
) -> None:
    found = findings(one_local, NAMES_FIRST, machine_with(deliverer=deliverer))
    assert "HalfMessageError" in found
