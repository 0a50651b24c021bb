"""Acts on messages that wait, that run, that are new, that wait for their domain."""

from tests.core.send.test_operator import LATER, ask, deferred
from tests.fakes.send_world import World

from qmail.core.send.operator_acts import PAUSE, UNDO_S
from qmail.core.settings.host_limits import HostLimit, HostLimits
from qmail.protocol.control_door import Question, Row
from qmail.protocol.queue_filter import Filter

ALL = Filter()
DAY_S = 90000


def act(world: World, verb: str, chosen: Filter = ALL, text: bytes = b"") -> tuple[int, ...]:
    """Have something done. Returns: operation, messages, recipients, busy."""
    last = None
    question = Question(tag=1, verb=verb, filter=chosen, text=text)
    for last in world.send.operator.answer(question):
        if last is PAUSE:
            world.turn()
    assert last is not None
    assert last.kind == "done", last
    return tuple(int(field) for field in last.fields)


def states(world: World) -> list[str]:
    return [row.state for row in ask(world, "list") if isinstance(row, Row)]


def test_held_messages_are_not_tried_until_released() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex")
    assert act(world, "hold")[1:] == (1, 1, 0)
    world.pass_time(DAY_S)
    assert world.running == []
    assert states(world) == ["held"]
    assert act(world, "hold")[1] == 0
    assert act(world, "release")[1:] == (1, 1, 0)
    world.turn()
    assert [who for _, who in world.running] == [b"x@b.ex"]


def test_one_recipient_is_held_and_the_other_goes_on() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex", b"y@c.ex")
    act(world, "hold", Filter(recipient=b"*@b.ex"))
    world.pass_time(1000)
    ((delivery, who),) = world.running
    assert who == b"y@c.ex"
    world.report(delivery, b"K")
    world.clean()
    world.pass_time(DAY_S)
    assert world.running == []
    act(world, "release", Filter(recipient=b"x@*"))
    world.turn()
    ((delivery, who),) = world.running
    assert who == b"x@b.ex"
    world.report(delivery, b"K")
    assert world.orders == [b"foop/5"]


def test_what_is_released_while_the_other_channel_is_tried_is_tried_as_well() -> None:
    world = World()
    deferred(world, 5, b"me@here.ex", b"y@c.ex")
    act(world, "hold", Filter(recipient=b"me@*"))
    world.pass_time(1000)
    assert [who for _, who in world.running] == [b"y@c.ex"]
    act(world, "release")
    world.turn()
    assert sorted(who for _, who in world.running) == [b"me@here.ex", b"y@c.ex"]


def test_what_is_released_while_the_other_channel_waits_for_its_domain_is_tried() -> None:
    world = World(hosts=HostLimits(HostLimit(1)))
    deferred(world, 5, b"me@here.ex", b"y@c.ex")
    world.arrive(6, b"first@c.ex")
    act(world, "hold", Filter(recipient=b"me@*"))
    world.pass_time(1000)
    assert [who for _, who in world.running] == [b"first@c.ex"]
    act(world, "release")
    world.turn()
    assert sorted(who for _, who in world.running) == [b"first@c.ex", b"me@here.ex"]


def test_what_is_held_while_it_is_tried_can_be_released_before_that_ends() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex")
    world.pass_time(1000)
    ((delivery, _),) = world.running
    act(world, "hold")
    assert act(world, "release")[1:] == (1, 1, 0)
    world.report(delivery, LATER)
    world.turn()
    assert [who for _, who in world.running] == [b"x@b.ex"]


def test_what_is_set_aside_while_it_is_tried_is_not_taken_again() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex")
    world.pass_time(1000)
    assert world.running
    act(world, "delete")
    assert act(world, "hold")[1] == 0
    assert states(world) == ["deleted"]


def test_retry_makes_due_once() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex")
    assert act(world, "retry")[1] == 1
    world.turn()
    ((delivery, _),) = world.running
    assert act(world, "retry")[1] == 0
    world.report(delivery, LATER)
    world.turn()
    assert world.running == []
    world.pass_time(DAY_S)
    assert len(world.running) == 1


def test_a_delivery_that_runs_ends_and_is_then_held() -> None:
    world = World()
    world.arrive(5, b"x@b.ex", b"y@b.ex")
    world.clean()
    (first, _), (second, _) = world.running
    assert act(world, "hold")[1:] == (1, 2, 0)
    world.report(first, b"K")
    world.report(second, LATER)
    world.pass_time(DAY_S)
    assert world.running == []
    assert states(world) == ["held"]


def test_recipients_of_an_open_message_that_are_not_begun_are_left_out() -> None:
    world = World(remote=1)
    world.arrive(5, b"x@b.ex", b"y@b.ex", b"z@b.ex")
    world.clean()
    act(world, "hold", Filter(recipient=b"y@*"))
    ((first, _),) = world.running
    world.report(first, b"K")
    ((second, who),) = world.running
    assert who == b"z@b.ex"
    world.report(second, b"K")
    world.pass_time(DAY_S)
    assert world.running == []
    act(world, "release")
    world.turn()
    assert [who for _, who in world.running] == [b"y@b.ex"]


def test_recipients_that_wait_for_their_domain_are_left_out() -> None:
    world = World(hosts=HostLimits(HostLimit(at_once=1)))
    world.arrive(5, b"x@b.ex", b"y@b.ex", b"z@b.ex")
    world.clean()
    act(world, "delete", Filter(recipient=b"[yz]@*"))
    ((first, _),) = world.running
    world.report(first, b"K")
    world.turn()
    assert world.running == []
    world.pass_time(DAY_S)
    world.pass_time(1)
    world.pass_time(1)
    world.turn()
    assert world.orders == [b"foop/5"]


def test_a_new_message_that_waits_for_a_slot_is_written_down_and_held() -> None:
    world = World(remote=1)
    world.arrive(5, b"x@b.ex")
    world.arrive(6, b"y@b.ex")
    assert act(world, "hold", Filter(numbers=(6,)))[1:] == (1, 1, 0)
    ((first, _),) = world.running
    world.report(first, b"K")
    world.clean()
    world.pass_time(DAY_S)
    assert world.running == []
    assert 6 in world.engine.kept
    act(world, "release")
    world.turn()
    assert [who for _, who in world.running] == [b"y@b.ex"]


def test_a_new_message_that_is_given_up_bounces_once() -> None:
    world = World(local=1)
    world.arrive(5, b"me@here.ex")
    world.arrive(6, b"you@here.ex")
    assert act(world, "bounce", Filter(numbers=(6,)))[1:] == (1, 1, 0)
    world.report(1, b"K")
    world.clean()
    for _ in range(10):
        world.pass_time(UNDO_S)
    assert [bounce.message.number for bounce in world.bounces] == [6]


def test_a_first_try_that_runs_is_left_alone() -> None:
    world = World()
    world.arrive(5, b"x@b.ex")
    assert act(world, "delete")[1:] == (0, 0, 1)


def test_what_is_deleted_goes_after_ten_minutes_and_nobody_is_told() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex")
    assert act(world, "delete")[0] == 1
    world.pass_time(UNDO_S - 10)
    assert states(world) == ["deleted"]
    assert world.orders == []
    world.pass_time(20)
    world.pass_time(1)
    world.turn()
    assert world.orders == [b"foop/5"]
    assert world.bounces == []
    assert b"operator: msg 5 deleted to remote x@b.ex" in world.lines


def test_what_is_bounced_is_told_with_the_reason() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex", b"y@c.ex")
    act(world, "bounce", Filter(recipient=b"*@b.ex"), b"Moved away.")
    world.pass_time(UNDO_S + 1)
    world.turn()
    assert world.engine.told[5] == b"<x@b.ex>:\nMoved away.\n\n"
    world.turn()
    ((delivery, who),) = world.running
    assert who == b"y@c.ex"
    world.report(delivery, b"K")
    (bounce,) = world.bounces
    assert b"<x@b.ex>:\nMoved away.\n" in world.text_of(bounce)


def test_undo_brings_back_the_last_or_a_named_one() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex")
    deferred(world, 6, b"y@b.ex")
    first = act(world, "delete", Filter(numbers=(5,)))[0]
    second = act(world, "bounce", Filter(numbers=(6,)))[0]
    assert act(world, "undo", text=b"%d" % first)[:3] == (first, 1, 1)
    assert act(world, "undo")[:3] == (second, 1, 1)
    assert act(world, "undo") == (0, 0, 0, 0)
    world.turn()
    assert {who for _, who in world.running} == {b"x@b.ex", b"y@b.ex"}


def test_what_is_final_can_not_be_undone() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex")
    act(world, "delete")
    world.pass_time(UNDO_S + 1)
    assert act(world, "undo") == (0, 0, 0, 0)


def test_what_is_set_aside_is_not_taken_again() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex")
    act(world, "delete")
    for verb in ("hold", "release", "retry", "delete", "bounce"):
        assert act(world, verb)[1] == 0


def test_a_held_message_can_be_deleted_and_an_undo_leaves_it_held() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex")
    act(world, "hold")
    act(world, "delete")
    act(world, "undo")
    assert states(world) == ["held"]
    world.pass_time(DAY_S)
    assert world.running == []


def test_a_full_disk_is_told_and_nothing_is_held() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex")
    store = world.engine.notes._store
    store.is_broken = True  # type: ignore[attr-defined]
    answers = list(world.send.operator.answer(Question(tag=1, verb="hold")))
    assert answers[-1] is not None
    assert answers[-1].kind == "error"
    store.is_broken = False  # type: ignore[attr-defined]
    assert states(world) == ["waiting"]
    world.pass_time(DAY_S)
    assert len(world.running) == 1


def test_a_failed_sync_is_told_and_nothing_is_held() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex")
    world.engine.broken.add("commit")
    last = None
    for last in world.send.operator.answer(Question(tag=1, verb="hold")):
        if last is PAUSE:
            world.send.settle_turn()
    assert last is not None
    assert last.kind == "error"
    world.engine.broken.clear()
    world.pass_time(DAY_S)
    assert len(world.running) == 1


def test_many_messages_are_taken_in_slices_with_one_commit_each() -> None:
    world = World()
    for number in range(1, 601):
        deferred(world, number, b"x@b.ex")
    world.engine.log.clear()
    assert act(world, "hold")[1] == 600
    assert world.engine.log.count("commit") == 3
    assert act(world, "delete")[1] == 600
    world.pass_time(UNDO_S + 1)
    for _ in range(20):
        world.pass_time(1)
        world.clean()
    assert not world.engine.kept
    assert not len(world.engine.notes)


def test_operations_that_can_be_undone_are_listed() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex")
    act(world, "hold")
    act(world, "delete")
    assert ask(world, "operations") == [
        ("operation", b"2", b"deleted", b"1", b"600"),
        ("done", b"1", b"0"),
    ]


def test_a_message_that_is_gone_by_the_time_it_is_due_is_not_asked_for_again() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex")
    act(world, "retry")
    del world.engine.kept[5]
    world.engine.broken.add("claim")
    world.turn()
    assert world.engine.schedule == []


# --- retry of some recipients ---------------------------------------------------------------------

B = Filter(recipient=b"*@b.ex")


def tried(world: World) -> list[bytes]:
    return sorted(who for _, who in world.running)


def report_all(world: World, text: bytes = LATER) -> None:
    for delivery, _ in world.running:
        world.report(delivery, text)
    world.clean()
    world.turn()


def test_retry_tries_exactly_those_who_are_meant_and_the_others_when_they_were_due() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex", b"y@c.ex", b"z@b.ex")
    world.pass_time(100)
    assert act(world, "retry", B)[1:] == (1, 2, 0)
    world.turn()
    assert tried(world) == [b"x@b.ex", b"z@b.ex"]
    report_all(world)
    assert tried(world) == []
    world.pass_time(299)
    assert tried(world) == []
    world.pass_time(2)
    assert tried(world) == [b"x@b.ex", b"y@c.ex", b"z@b.ex"]


def test_those_who_are_served_by_a_retry_are_done_and_the_others_wait_on() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex", b"y@c.ex")
    act(world, "retry", B)
    world.turn()
    report_all(world, b"K")
    assert world.engine.kept
    world.pass_time(399)
    assert tried(world) == []
    world.pass_time(2)
    assert tried(world) == [b"y@c.ex"]
    world.report(world.running[0][0], b"K")
    assert world.orders == [b"foop/5"]


def test_a_recipient_who_fails_in_a_retry_is_bounced_with_the_others() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex", b"y@c.ex")
    act(world, "retry", B)
    world.turn()
    report_all(world, b"Dno")
    assert not world.bounces
    world.pass_time(401)
    report_all(world, b"K")
    (bounce,) = world.bounces
    assert b"<x@b.ex>:\nno" in world.text_of(bounce)


def test_retries_of_some_and_then_of_others_are_one_pass() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex", b"y@c.ex", b"z@d.ex")
    act(world, "retry", B)
    act(world, "retry", Filter(recipient=b"*@d.ex"))
    world.turn()
    assert tried(world) == [b"x@b.ex", b"z@d.ex"]
    report_all(world)
    world.pass_time(399)
    assert tried(world) == []
    world.pass_time(2)
    assert len(tried(world)) == 3


def test_a_retry_of_all_takes_in_a_retry_of_some_in_either_order() -> None:
    for first, second in ((B, ALL), (ALL, B), (B, Filter(numbers=(5,)))):
        world = World()
        deferred(world, 5, b"x@b.ex", b"y@c.ex")
        act(world, "retry", first)
        act(world, "retry", second)
        world.turn()
        assert len(tried(world)) == 2


def test_alrm_takes_in_a_retry_of_some() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex", b"y@c.ex")
    act(world, "retry", B)
    world.send.retry_all()
    world.turn()
    assert len(tried(world)) == 2


def test_what_is_being_tried_is_followed_by_those_who_are_meant() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex", b"y@c.ex", b"z@b.ex")
    world.pass_time(401)
    by_address = {who: delivery for delivery, who in world.running}
    world.report(by_address[b"z@b.ex"], LATER)
    # x is being tried, so z alone is meant.
    assert act(world, "retry", B)[1:] == (1, 1, 0)
    world.report(by_address[b"x@b.ex"], LATER)
    assert tried(world) == [b"y@c.ex"]
    world.report(by_address[b"y@c.ex"], LATER)
    world.turn()
    assert tried(world) == [b"z@b.ex"]
    report_all(world)
    world.pass_time(1190)
    assert tried(world) == []
    world.pass_time(20)
    assert len(tried(world)) == 3


def test_a_retry_of_one_channel_leaves_the_other() -> None:
    world = World()
    deferred(world, 5, b"me@here.ex", b"y@c.ex")
    act(world, "retry", Filter(recipient=b"me@*"))
    world.turn()
    assert tried(world) == [b"me@here.ex"]


def test_who_is_held_before_the_retry_begins_is_not_tried() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex", b"y@c.ex")
    act(world, "retry", B)
    act(world, "hold", B)
    world.turn()
    assert tried(world) == []
    world.pass_time(401)
    assert tried(world) == [b"y@c.ex"]


def test_a_pass_that_cannot_begin_is_still_for_those_who_are_meant() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex", b"y@c.ex")
    act(world, "retry", B)
    world.engine.broken.add("claim")
    world.turn()
    world.engine.broken.clear()
    world.pass_time(124)
    assert tried(world) == [b"x@b.ex"]


def test_a_release_tries_everybody_who_is_left() -> None:
    world = World()
    deferred(world, 5, b"x@b.ex", b"y@c.ex", b"z@d.ex")
    act(world, "hold", Filter(recipient=b"z@*"))
    act(world, "retry", B)
    act(world, "release", Filter(recipient=b"z@*"))
    report_all(world)
    assert len(tried(world)) == 3
