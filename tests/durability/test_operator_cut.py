"""What an operator was told is done stays done when the power fails, and nothing else happens."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from tests.sim.power import Power, PowerCut
from tests.sim.simworld import Disks, Machine, Mail, Outside, copy_of
from tests.sim.survey import MODELS, Pair, look, told

from qmail.core.send.operator_acts import PAUSE
from qmail.protocol.control_door import Answer, Question
from qmail.protocol.queue_filter import Filter

ANNE, BERT, LATE = b"anne@here", b"bert@here", b"late@here"
MAIL = Mail(1, ANNE, (LATE, BERT))
ALONE = Mail(1, ANNE, (LATE,))
TEN_MINUTES_S = 700
ALL = Filter()


@dataclass(slots=True)
class Confirmed:
    """How far the operator got: verbs whose end was reported."""

    verbs: tuple[str, ...] = ()


def steer(machine: Machine, confirmed: Confirmed, verb: str, chosen: Filter = ALL) -> None:
    """Have something done, in the turns of the programs, and note that it was confirmed."""
    question = Question(tag=1, verb=verb, filter=chosen, text=b"" if verb != "bounce" else b"no")
    last: Answer | None = None
    machine.who = "send"
    for answer in machine.send.dispatcher.operator.answer(question):
        if answer is PAUSE:
            machine.send.settle_turn()
        last = answer
    assert last is not None
    assert last.kind == "done", last
    confirmed.verbs = (*confirmed.verbs, verb)


def deferred(machine: Machine, mail: Mail = MAIL) -> None:
    machine.submit(mail)
    machine.work()


def hold(machine: Machine, confirmed: Confirmed) -> None:
    deferred(machine)
    steer(machine, confirmed, "hold")
    machine.pass_time(TEN_MINUTES_S)
    machine.work()
    machine.submit(Mail(2, ANNE, (BERT,)))
    machine.work()


def hold_and_release(machine: Machine, confirmed: Confirmed) -> None:
    hold(machine, confirmed)
    steer(machine, confirmed, "release")
    machine.work()


def hold_twice_and_release(machine: Machine, confirmed: Confirmed) -> None:
    machine.submit(ALONE, Mail(2, ANNE, (b"late-too@here",)))
    machine.work()
    steer(machine, confirmed, "hold", Filter(recipient=LATE))
    steer(machine, Confirmed(), "hold", Filter(recipient=b"late-too@*"))
    steer(machine, Confirmed(), "release", Filter(recipient=b"late-too@*"))
    machine.rest()


def hold_new(machine: Machine, confirmed: Confirmed) -> None:
    for lane in machine.send.dispatcher._lanes._lanes.values():
        lane.limit = 0
    machine.submit(ALONE)
    machine.accept_all()
    steer(machine, confirmed, "hold")
    for lane in machine.send.dispatcher._lanes._lanes.values():
        lane.limit = 10
    machine.work()


def delete(machine: Machine, confirmed: Confirmed) -> None:
    deferred(machine, ALONE)
    steer(machine, confirmed, "delete")
    machine.pass_time(TEN_MINUTES_S)
    machine.work()
    machine.work()


def delete_one_of_two(machine: Machine, confirmed: Confirmed) -> None:
    machine.submit(Mail(1, ANNE, (LATE, b"late-too@here")))
    machine.work()
    steer(machine, confirmed, "delete", Filter(recipient=LATE))
    machine.rest()


def undo(machine: Machine, confirmed: Confirmed) -> None:
    deferred(machine, ALONE)
    steer(machine, confirmed, "delete")
    steer(machine, confirmed, "undo")
    machine.work()


def bounce(machine: Machine, confirmed: Confirmed) -> None:
    deferred(machine, ALONE)
    steer(machine, confirmed, "bounce")
    machine.pass_time(TEN_MINUTES_S)
    machine.work()
    machine.work()


Steered = Callable[[Machine, Confirmed], None]


def run(scenario: Steered, cut_at: int | None) -> tuple[Disks, Outside, Confirmed]:
    disks, outside, confirmed = Disks.new(Power(cut_at)), Outside(), Confirmed()
    with contextlib.suppress(PowerCut):
        scenario(Machine(disks, outside, 1), confirmed)
    return disks, outside, confirmed


def every_cut(scenario: Steered) -> Iterator[tuple[Machine, Confirmed]]:
    """Cut a scenario at every operation, under every disk model; yield what starts on the rest."""
    disks, _, _ = run(scenario, None)
    seen: set[object] = set()
    for cut_at in range(disks.queue.power.count + 1):
        disks, outside, confirmed = run(scenario, cut_at)
        pairs: list[Pair] = [pair for model in MODELS.values() for pair in model(disks, cut_at)]
        for queue, mail in pairs:
            left = disks.after_power_cut(queue, mail)
            key = (left.key(), outside.key(), confirmed.verbs)
            if key not in seen:
                seen.add(key)
                yield Machine(left, copy_of(outside), 2), confirmed


def copies(machine: Machine, recipient: bytes, number: int = 1) -> int:
    """Return how often a recipient has a mail."""
    texts = look(machine.disks, machine.outside).texts.get(recipient, [])
    return texts.count(machine.outside.sent[number].text) if machine.outside.sent else 0


def check_empty(machine: Machine) -> None:
    assert not machine.disks.queue.files()
    assert not machine.send.alerts


def test_what_is_held_stays_held_through_a_power_cut_and_is_delivered_when_released() -> None:
    held = 0
    for machine, confirmed in every_cut(hold):
        before = copies(machine, LATE)
        machine.rest()
        if "hold" in confirmed.verbs:
            held += 1
            assert copies(machine, LATE) == before == 0
        steer(machine, Confirmed(), "release")
        machine.rest()
        if machine.outside.accepted:
            assert copies(machine, LATE) == (1 in machine.outside.accepted)
        check_empty(machine)
    assert held > 5


def test_what_is_released_is_delivered() -> None:
    released = 0
    for machine, confirmed in every_cut(hold_and_release):
        machine.rest()
        if "release" in confirmed.verbs:
            released += 1
            assert copies(machine, LATE) >= 1
        steer(machine, Confirmed(), "release")
        machine.rest()
        if machine.outside.accepted:
            assert 1 <= copies(machine, LATE) <= 2
        check_empty(machine)
    assert released > 5


def test_a_release_of_another_message_lets_nothing_else_go() -> None:
    held = 0
    for machine, confirmed in every_cut(hold_twice_and_release):
        machine.rest()
        if confirmed.verbs:
            held += 1
            assert copies(machine, LATE) == 0
        steer(machine, Confirmed(), "release")
        machine.rest()
        if 1 in machine.outside.accepted:
            assert copies(machine, LATE) == 1
        if 2 in machine.outside.accepted:
            assert copies(machine, b"late-too@here", 2) >= 1
        check_empty(machine)
    assert held > 10


def test_a_new_message_that_is_held_before_its_first_try_is_not_tried() -> None:
    held = 0
    for machine, confirmed in every_cut(hold_new):
        machine.rest()
        if confirmed.verbs:
            held += 1
            assert machine.outside.tries == {}
        steer(machine, Confirmed(), "release")
        machine.rest()
        if machine.outside.accepted:
            assert copies(machine, LATE) == 1
        check_empty(machine)
    assert held > 5


@pytest.mark.parametrize("scenario", [delete, delete_one_of_two])
def test_what_is_deleted_is_never_delivered_and_leaves_nothing(scenario: Steered) -> None:
    deleted = 0
    for machine, confirmed in every_cut(scenario):
        machine.rest()
        if confirmed.verbs:
            deleted += 1
            assert copies(machine, LATE) == 0
        elif machine.outside.accepted and copies(machine, LATE) == 0:
            # The note was on disk already, and whoever asked was not told.
            assert machine.outside.tries[1, LATE] == 1
        if machine.outside.accepted and scenario is delete_one_of_two:
            assert copies(machine, b"late-too@here") >= 1
        assert not any(b"failure notice" in text for text in everything(machine))
        check_empty(machine)
    assert deleted > 5


def everything(machine: Machine) -> list[bytes]:
    found = look(machine.disks, machine.outside)
    return [text for texts in found.texts.values() for text in texts]


def test_what_is_undone_is_delivered_once() -> None:
    undone = 0
    for machine, confirmed in every_cut(undo):
        before = copies(machine, LATE)
        machine.rest()
        if "undo" in confirmed.verbs:
            undone += 1
            assert copies(machine, LATE) >= 1
            assert copies(machine, LATE) <= 1 + before
        check_empty(machine)
    assert undone > 5


def test_what_is_bounced_is_told_to_the_sender_and_not_delivered() -> None:
    bounced = 0
    for machine, confirmed in every_cut(bounce):
        machine.rest()
        if confirmed.verbs:
            bounced += 1
            assert copies(machine, LATE) == 0
            found = look(machine.disks, machine.outside)
            assert told(ALONE, LATE, found)
        check_empty(machine)
    assert bounced > 10


def test_a_full_disk_keeps_qmail_send_neither_from_starting_nor_from_knowing_what_is_held() -> None:
    machine = Machine(Disks.new(Power()), Outside())
    machine.submit(Mail(1, b"anne@here", (b"late@here",)))
    machine.work()
    steer(machine, Confirmed(), "hold")
    machine.disks.queue.fail_next(write=True)
    again = Machine(machine.disks, machine.outside, 2)
    again.pass_time(1000)
    again.work()
    assert machine.outside.tries == {(1, b"late@here"): 1}
    steer(again, Confirmed(), "release")
    again.rest()
    assert machine.outside.tries == {(1, b"late@here"): 2}
