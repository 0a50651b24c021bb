"""The end of a message whose bounce is itself in trouble (spec/bounces.md 4 and 5)."""

from dataclasses import replace

import pytest
from tests.fakes.send_world import World

from qmail.core.queue.schedule import SYSTEM_FAILURE_S
from qmail.core.settings.programs import BounceFormat

# --- bounces of bounces (spec/bounces.md 4) -------------------------------------------------------


def test_bounces_4_a_bounce_that_fails_goes_to_the_postmaster() -> None:
    world = World()
    world.arrive(7, b"nosuch@here.ex", sender=b"")
    world.report(1, b"Dno\n")
    world.clean()
    assert world.bounces[0].envelope.pack() == b"F#@[]\0Tpostmaster@here.ex\0\0"


def test_bounces_4_one_beyond_that_is_dropped_with_a_line() -> None:
    world = World()
    world.arrive(7, b"postmaster@here.ex", sender=b"#@[]")
    world.report(1, b"Dno\n")
    world.clean()
    assert world.bounces == []
    assert world.lines[-2:] == [b"triple bounce: discarding bounce/7", b"end msg 7"]
    assert world.orders == [b"foop/7"]


@pytest.mark.parametrize(
    ("sender", "degree"), [(b"#@[]", b"triple"), (b"", b"double"), (b"-@[]", b"double")]
)
def test_oddities_2_without_a_doublebounceto_double_bounces_are_dropped_with_a_line(
    sender: bytes, degree: bytes
) -> None:
    world = World()
    dropping = replace(world.policy.bounces, doublebounceto=b"")
    world.send.reread(replace(world.policy, bounces=dropping))
    world.arrive(7, b"nosuch@here.ex", sender=sender)
    world.report(1, b"Dno\n")
    world.clean()
    assert world.bounces == []
    assert world.lines[-2:] == [degree + b" bounce: discarding bounce/7", b"end msg 7"]


def test_bounces_4_the_bounce_of_a_verp_message_goes_to_pre_at_host() -> None:
    world = World()
    world.arrive(7, b"nosuch@here.ex", sender=b"list-return-5-@l.ex-@[]")
    world.report(1, b"Dno\n")
    world.clean()
    (bounce,) = world.bounces
    assert bounce.envelope.pack() == b"F\0Tlist-return-5-@l.ex\0\0"
    assert b"\nReturn-Path: <list-return-5-@l.ex>\noriginal\n" in world.text_of(bounce)


# --- a bounce that is refused for good (spec/bounces.md 5) ----------------------------------------


def failed(world: World, sender: bytes = b"joe@a.ex") -> None:
    world.arrive(7, b"a@here.ex", sender=sender)
    world.report(1, b"Dno\n")
    world.clean()


def test_bounces_5_a_bounce_that_is_refused_for_good_goes_to_the_postmaster_once() -> None:
    world = World()
    failed(world)
    world.send.ending.bounced(world.bounces.pop().message, None, refusal=b"no (#5.3.0)\n")
    assert world.turn() == [b"warning: bounce of msg 7 refused: no_(#5.3.0)/"]
    double = world.bounces.pop()
    assert double.envelope.pack() == b"F#@[]\0Tpostmaster@here.ex\0\0"
    text = world.text_of(double)
    assert b"\n<joe@a.ex>:\nno (#5.3.0)\n\n--- Below this line is the original bounce." in text
    assert b"\n<a@here.ex>:\nno\n\n--- Below this line is a copy of the message." in text
    world.send.ending.bounced(double.message, 12)
    assert world.turn()[-2:] == [b"bounce msg 7 qp 12", b"end msg 7"]


def test_bounces_5_while_that_can_not_be_queued_it_is_tried_again() -> None:
    world = World()
    failed(world)
    world.send.ending.bounced(world.bounces.pop().message, None, refusal=b"no")
    world.turn()
    world.send.ending.bounced(world.bounces.pop().message, None)
    world.turn()
    world.pass_time(SYSTEM_FAILURE_S)
    assert world.bounces[0].envelope.sender == b"#@[]"


@pytest.mark.parametrize("sender", [b"joe@a.ex", b""])
def test_bounces_5_what_the_postmaster_can_not_get_either_is_dropped_with_an_alert(
    sender: bytes,
) -> None:
    world = World()
    failed(world, sender)
    for _ in range(2 if sender else 1):
        world.send.ending.bounced(world.bounces.pop().message, None, refusal=b"no (#5.3.0)\n")
        world.turn()
    assert world.lines[-3:] == [
        b"alert: double bounce of msg 7 refused: no_(#5.3.0)/",
        b"double bounce: discarding bounce/7",
        b"end msg 7",
    ]
    assert world.orders == [b"foop/7"]
    assert world.bounces == []


def test_a_refusal_is_forgotten_with_its_message() -> None:
    world = World()
    failed(world)
    world.send.ending.bounced(world.bounces.pop().message, None, refusal=b"no")
    world.turn()
    world.send.ending.bounced(world.bounces.pop().message, 12)
    world.turn()
    world.clean()
    world.arrive(7, b"a@here.ex")
    world.report(2, b"Dno\n")
    world.clean()
    assert world.bounces[0].envelope.recipients == (b"joe@a.ex",)


# --- the other rows (spec/bounces.md 1 and 5) -----------------------------------------------------


def test_bounces_1_neither_a_success_nor_a_deferral_makes_mail() -> None:
    world = World()
    world.arrive(7, b"a@here.ex", b"b@here.ex")
    world.clean()
    world.report(1, b"K")
    world.report(2, b"Znot now\n")
    assert world.bounces == []


def test_bounces_5_where_bounce_n_cannot_be_unlinked_the_bounce_is_sent_again() -> None:
    world = World()
    failed(world)
    world.engine.broken.add("forget")
    world.send.ending.bounced(world.bounces.pop().message, 12)
    assert world.turn() == [b"bounce msg 7 qp 12", b"warning: forget failed"]
    world.engine.broken.clear()
    world.pass_time(SYSTEM_FAILURE_S)
    (again,) = world.bounces
    assert again.envelope.pack() == b"F\0Tjoe@a.ex\0\0"


def test_bounces_4_a_sender_without_a_host_is_left_to_the_routing() -> None:
    world = World()
    failed(world, b"joe")
    assert world.bounces[0].envelope.pack() == b"F\0Tjoe\0\0"


def test_a_bounce_goes_by_the_settings_of_the_time_when_it_is_due() -> None:
    world = World()
    world.arrive(7, b"a@here.ex")
    short = replace(world.policy.bounces, bytes_max=0, format=BounceFormat.DSN)
    world.send.reread(replace(world.policy, bounces=short))
    world.report(1, b"Dno\n")
    world.clean()
    text = world.text_of(world.bounces[0])
    assert b"report-type=delivery-status" in text
    assert b"Content-Type: text/rfc822-headers\n" in text
