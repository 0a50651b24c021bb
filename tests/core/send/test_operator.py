"""What operators see of the queue: messages that wait, that run, that are new, that are put by."""

import pytest
from tests.fakes.send_world import World

from qmail.core.send import operator_acts
from qmail.core.send.operator import Answers
from qmail.protocol.control_door import Question, RecipientRow, Row
from qmail.protocol.queue_filter import Filter

LATER = b"Zlater (#4.4.1)"
ALL = Filter()


def ask(world: World, verb: str, chosen: Filter = ALL, **more: object) -> list[object]:
    """Return the answers: rows as such, others as kind and fields."""
    question = Question(tag=1, verb=verb, filter=chosen, **more)  # type: ignore[arg-type]
    answers: Answers = world.send.operator.answer(question)
    shape = {"row": Row.of, "recipient": RecipientRow.of}
    return [
        shape[answer.kind](answer) if answer.kind in shape else (answer.kind, *answer.fields)
        for answer in answers
        if answer is not None
    ]


def deferred(world: World, number: int, *recipients: bytes, sender: bytes = b"joe@a.ex") -> None:
    world.arrive(number, *recipients, sender=sender)
    world.clean()
    for delivery, _ in world.running:
        world.report(delivery, LATER)
    world.clean()


def test_messages_are_listed_in_the_order_of_their_numbers() -> None:
    world = World()
    for number in (30, 7, 12):
        deferred(world, number, b"x@b.ex")
    world.arrive(9, b"y@c.ex")
    rows = ask(world, "list")
    assert [row.number for row in rows[:-1] if isinstance(row, Row)] == [7, 9, 12, 30]
    assert rows[-1] == ("done", b"4", b"4")
    by_number = {row.number: row for row in rows if isinstance(row, Row)}
    assert by_number[9].state == "trying"
    assert by_number[9].due_s is None
    assert by_number[7].state == "waiting"
    assert by_number[7].due_s == 400
    assert by_number[7].reason == LATER[1:]


def test_a_limit_ends_the_list() -> None:
    world = World()
    for number in range(1, 6):
        deferred(world, number, b"x@b.ex")
    assert len(ask(world, "list", limit=2)) == 3


def test_numbers_choose_messages() -> None:
    world = World()
    for number in range(1, 6):
        deferred(world, number, b"x@b.ex")
    rows = ask(world, "list", Filter(numbers=(4, 2, 99)))
    assert [row.number for row in rows if isinstance(row, Row)] == [2, 4]


def test_a_new_message_that_waits_for_a_slot_is_seen_from_its_envelope() -> None:
    world = World(remote=1)
    world.arrive(5, b"x@b.ex")
    world.arrive(6, b"joe@v.ex", sender=b"anne@z.ex")
    world.arrive(8, b"x@c.ex", sender=b"anne@z.ex")
    rows = ask(world, "show", Filter(sender=b"anne@*"))
    assert [row.number for row in rows if isinstance(row, Row)] == [6, 8]
    people = [row for row in rows if isinstance(row, RecipientRow)]
    assert [(row.channel, row.address, row.state) for row in people] == [
        ("local", b"joe-v-joe@v.ex", "trying"),
        ("remote", b"x@c.ex", "new"),
    ]


def test_a_filter_of_recipients_counts_those_only() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex", b"y@c.ex", b"z@b.ex")
    (row, done) = ask(world, "list", Filter(recipient=b"*@b.ex"))
    assert isinstance(row, Row)
    assert (row.recipients, row.recipient) == (2, b"x@b.ex")
    assert done == ("done", b"1", b"2")


def test_a_recipient_that_is_done_is_not_seen() -> None:
    world = World()
    world.arrive(5, b"x@b.ex", b"y@c.ex")
    world.clean()
    (first, _), (second, _) = world.running
    world.report(first, b"K")
    world.report(second, LATER)
    (row, _) = ask(world, "list")
    assert isinstance(row, Row)
    assert (row.recipients, row.recipient) == (1, b"y@c.ex")


def test_counts_by_everything() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex", b"y@C.ex")
    deferred(world, 6, b"z@b.ex", sender=b"")
    assert ask(world, "count", text=b"domain") == [
        ("tally", b"b.ex", b"2", b"2"),
        ("tally", b"c.ex", b"1", b"1"),
        ("done", b"2", b"3"),
    ]
    assert ask(world, "count", text=b"reason") == [
        ("tally", b"4.4.1", b"2", b"3"),
        ("done", b"2", b"3"),
    ]
    assert ask(world, "count", text=b"sender")[:2] == [
        ("tally", b"joe@a.ex", b"1", b"2"),
        ("tally", b"<>", b"1", b"1"),
    ]
    assert ask(world, "count", text=b"age")[0] == ("tally", b"under 5 minutes", b"2", b"3")
    assert ask(world, "count", text=b"domain", limit=1)[1:] == [("done", b"2", b"3")]


def test_after_a_start_the_reason_is_unknown() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex")
    world.send.operator._run.reasons.drop(5, 1, 0)
    assert ask(world, "count", text=b"reason")[0] == (
        "tally",
        b"unknown until tried",
        b"1",
        b"1",
    )


def test_every_message_that_is_looked_at_is_a_place_to_stop() -> None:
    world = World()
    for number in range(1, 6):
        deferred(world, number, b"x@b.ex")
    question = Question(tag=1, verb="list", filter=Filter(recipient=b"nobody@*"))
    answers = list(world.send.operator.answer(question))
    assert answers[:-1] == [None] * 5


def test_a_message_that_ends_meanwhile_is_passed_over() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex")
    deferred(world, 6, b"x@b.ex")
    answers = world.send.operator.answer(Question(tag=1, verb="list"))
    world.engine.kept.clear()
    assert [answer for answer in answers if answer is not None][-1].fields == (b"0", b"0")


def test_a_look_at_very_many_says_now_and_then_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(operator_acts, "PROGRESS_EVERY", 2)
    world = World()
    for number in range(1, 6):
        deferred(world, number, b"x@b.ex", b"y@here.ex")
    world.arrive(9, b"z@c.ex")
    none = Filter(recipient=b"nobody@*")
    far = [("progress", b"%d" % place, b"6") for place in (2, 4, 6)]
    assert ask(world, "list", none) == [*far, ("done", b"0", b"0")]
    assert ask(world, "count", none, text=b"domain") == [*far, ("done", b"0", b"0")]
    assert ask(world, "hold", none)[:4] == [*far, ("found", b"0", b"0")]


def test_a_user_sees_own_messages_and_no_others() -> None:
    world = World()
    for number in (3, 4, 5):
        deferred(world, number, b"x@b.ex", b"y@c.ex")
    world.engine.owners.update({3: 1000, 4: 1001})
    question = Question(tag=7, verb="show")
    found = [answer for answer in world.send.operator.own(question, 1000) if answer is not None]
    assert [answer.kind for answer in found] == ["row", "recipient", "recipient", "done"]
    assert Row.of(found[0]).number == 3
    assert found[-1].fields == (b"1", b"2")
    # What is not preprocessed says itself who queued it.
    world.engine.owners.clear()
    world.queued(9, b"z@d.ex")
    nobody = [one.kind for one in world.send.operator.own(question, 1000) if one is not None]
    assert nobody == ["done"]
