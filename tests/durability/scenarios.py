"""Ways of messages through the queue, each to be cut anywhere."""

from tests.sim.simworld import Machine, Mail
from tests.sim.survey import Scenario

ANNE, BERT, CARL = b"anne@here", b"bert@here", b"carl@here"
FAR, LATE, NOBODY = b"dora@far", b"late@here", b"nobody@here"


def enqueue_one(machine: Machine) -> None:
    machine.submit(Mail(1, ANNE, (BERT,)))
    machine.accept_all()


def enqueue_several(machine: Machine) -> None:
    machine.submit(Mail(1, ANNE, (BERT,)), Mail(2, ANNE, (BERT, CARL)))
    machine.queue_turn()
    machine.submit(Mail(3, ANNE, (CARL,)))
    machine.accept_all()


def one_local(machine: Machine) -> None:
    machine.submit(Mail(1, ANNE, (BERT,)))
    machine.work()


def two_local(machine: Machine) -> None:
    machine.submit(Mail(1, ANNE, (BERT, CARL)))
    machine.work()


def three_local(machine: Machine) -> None:
    machine.submit(Mail(1, ANNE, (ANNE, BERT, CARL)))
    machine.work()


def list_of_five(machine: Machine) -> None:
    members = tuple(b"%d@here" % number for number in range(5))
    machine.submit(Mail(1, ANNE, members))
    machine.work()


def local_and_remote(machine: Machine) -> None:
    machine.submit(Mail(1, ANNE, (BERT, FAR)))
    machine.work()


def deferred_then_delivered(machine: Machine) -> None:
    machine.submit(Mail(1, ANNE, (LATE,)))
    machine.work()
    machine.rest()


def one_of_two_deferred(machine: Machine) -> None:
    machine.submit(Mail(1, ANNE, (LATE, BERT, FAR)))
    machine.work()
    machine.rest()


def bounced(machine: Machine) -> None:
    machine.submit(Mail(1, ANNE, (NOBODY,)))
    machine.work()


def one_of_two_bounced(machine: Machine) -> None:
    machine.submit(Mail(1, ANNE, (BERT, NOBODY)))
    machine.work()


def double_bounced(machine: Machine) -> None:
    machine.submit(Mail(1, b"noone@here", (NOBODY,)))
    machine.work()


def number_reused(machine: Machine) -> None:
    for number, recipients in enumerate(((BERT,), (CARL, FAR), (NOBODY,), (CARL,), (BERT,)), 1):
        machine.submit(Mail(number, ANNE, recipients))
        machine.work()


def crowd(machine: Machine) -> None:
    """New messages arrive while others are being delivered and removed: files change hands."""
    for number in range(1, 6):
        machine.submit(Mail(number, ANNE, (BERT if number % 2 else CARL,)))
        if number % 3:
            machine.submit(Mail(number + 100, ANNE, (ANNE,)))
        machine.turn()
    machine.work()


def spares_cross(machine: Machine) -> None:
    """A message ends while a spare is being written, and its own files become one."""
    spares = machine.queue.spares
    machine.submit(Mail(1, ANNE, (BERT,)), Mail(2, ANNE, (BERT,)))
    machine.work()
    for number in range(3, 13):
        if len(spares._ready) >= 2:
            break
        machine.submit(Mail(number, ANNE, (BERT, CARL)))
        machine.work()
    machine.submit(Mail(100, ANNE, (ANNE,)))
    machine.accept_all()
    for _ in range(20):
        if machine.send.dispatcher.ending.orders.new:
            break
        machine.turn()
    machine.submit(Mail(101, ANNE, (CARL,)))
    machine.orders += machine.send.take_orders()
    machine.clean_turn()
    machine.accept_all()


SCENARIOS: tuple[Scenario, ...] = (
    enqueue_one,
    enqueue_several,
    one_local,
    two_local,
    three_local,
    list_of_five,
    local_and_remote,
    deferred_then_delivered,
    one_of_two_deferred,
    bounced,
    one_of_two_bounced,
    double_bounced,
    number_reused,
    crowd,
    spares_cross,
)
