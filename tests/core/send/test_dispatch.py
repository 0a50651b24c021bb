"""qmail-send's decisions and its log lines (spec/queue.md 7, spec/logging.md 2, bounces.md 1)."""

import pytest
from tests.fakes.send_world import LIFETIME_S, ROUTES, World

from qmail.core.addresses.routing import Routes
from qmail.core.bounce.rules import TOO_LONG
from qmail.core.queue.engine import Act
from qmail.core.send.arrivals import MESSAGES_MAX
from qmail.core.send.sorting import SLICE
from qmail.mail import Channel
from qmail.protocol.doors import Report

GIVEN_UP = TOO_LONG.replace(b" ", b"_").replace(b"\n", b"/")


def status(local: int, remote: int, tail: bytes = b"") -> bytes:
    return b"status: local %d/10 remote %d/20%b" % (local, remote, tail)


# --- one recipient --------------------------------------------------------------------------------


def test_logging_2_the_lines_of_a_delivered_message_are_exact() -> None:
    world = World()
    world.send.start()
    world.arrive(7, b"ann x@here.ex", sender=b"joe%x@a.ex")
    world.report(1, b"Kdid 1+0+0\n")
    world.clean()
    assert world.lines == [
        status(0, 0),
        b"new msg 7",
        b"info msg 7: bytes 239 from <joe_x@a.ex> qp 9 uid 5",
        b"starting delivery 1: msg 7 to local ann_x@here.ex",
        status(1, 0),
        b"delivery 1: success: did_1+0+0/",
        status(0, 0),
        b"end msg 7",
    ]


def test_a_single_success_at_the_first_try_writes_nothing_but_the_order_to_remove_it() -> None:
    world = World()
    world.arrive(7, b"ann@far.ex")
    world.report(1, b"K")
    assert world.lines[-3:] == [b"delivery 1: success: ", status(0, 0), b"end msg 7"]
    assert world.engine.log == []
    assert world.orders == [b"done/7"]
    world.clean()
    assert world.send.is_idle


def test_delivery_10_the_job_names_the_body_and_the_sender_of_one_recipient() -> None:
    world = World()
    world.arrive(7, b"bob@far.ex", sender=b"list-@l.ex-@[]")
    (channel, job) = world.jobs[1]
    assert channel is Channel.REMOTE
    assert (job.body, job.recipient) == (b"0/7", b"bob@far.ex")
    assert job.sender == b"list-bob=far.ex@l.ex"


def test_logging_2_a_deferral_is_kept_and_tried_again_by_the_schedule() -> None:
    world = World()
    world.arrive(7, b"ann@far.ex", age_s=100)
    world.report(1, b"Zbusy\n")
    assert world.lines[-2:] == [b"delivery 1: deferral: busy/", status(0, 0)]
    assert world.engine.log == ["keep 7", "commit"]
    assert world.orders == [b"todo/7"]
    world.clean()
    assert world.engine.log[-1] == "renew 7 remote 800"
    assert world.pass_time(799) == []
    world.pass_time(1)
    assert world.running == [(2, b"ann@far.ex")]
    world.report(2, b"Kok\n")
    assert world.lines[-1] == b"end msg 7"
    world.clean()
    assert world.engine.kept == {}


def test_logging_2_a_failure_is_bounced() -> None:
    """The observed sequence of spec/logging.md 2."""
    world = World()
    world.arrive(7, b"nosuch@v.ex", sender=b"sender@else.ex")
    world.report(1, b"DSorry, no mailbox here by that name. (#5.1.1)\n")
    world.clean()
    (bounce,) = world.bounces
    assert bounce.envelope.pack() == b"F\0Tsender@else.ex\0\0"
    assert bounce.body == b"0/7"
    assert (
        b"\n<nosuch@v.ex>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n---"
        in world.text_of(bounce)
    )
    world.send.ending.bounced(bounce.message, 7817)
    world.turn()
    assert world.lines == [
        b"new msg 7",
        b"info msg 7: bytes 239 from <sender@else.ex> qp 9 uid 5",
        b"starting delivery 1: msg 7 to local joe-v-nosuch@v.ex",
        status(1, 0),
        b"delivery 1: failure: Sorry,_no_mailbox_here_by_that_name._(#5.1.1)/",
        status(0, 0),
        b"bounce msg 7 qp 7817",
        b"end msg 7",
    ]
    assert world.orders == [b"foop/7"]
    world.clean()
    assert world.send.is_idle
    assert (world.engine.kept, world.engine.told) == ({}, {})


def test_logging_2_a_mangled_report_is_a_deferral() -> None:
    world = World()
    world.arrive(7, b"ann@far.ex")
    world.report(1, b"what?")
    assert world.lines[-2:] == [b"delivery 1: report mangled, will defer", status(0, 0)]
    world.clean()
    assert world.engine.log[-1] == "renew 7 remote 400"


def test_queue_4_a_message_without_recipients_is_logged_and_removed() -> None:
    world = World()
    world.arrive(7)
    assert world.lines == [
        b"new msg 7",
        b"info msg 7: bytes 239 from <joe@a.ex> qp 9 uid 5",
        b"end msg 7",
    ]
    assert world.orders == [b"done/7"]


# --- several recipients ---------------------------------------------------------------------------


def test_queue_7_3_several_recipients_are_written_and_synced_before_anything_is_delivered() -> None:
    world = World()
    world.arrive(7, b"a@here.ex", b"b@far.ex", b"c@here.ex")
    assert world.engine.log == ["keep 7", "commit"]
    assert world.running == []
    assert world.orders == [b"todo/7"]
    world.clean()
    assert world.running == [(1, b"a@here.ex"), (2, b"c@here.ex"), (3, b"b@far.ex")]


def test_queue_7_5_a_success_is_marked_unless_it_is_the_last_of_its_channel() -> None:
    world = World()
    world.arrive(7, b"a@here.ex", b"b@here.ex")
    world.clean()
    world.report(2, b"K")
    assert world.engine.log[-2:] == ["settle 7 local 11", "commit"]
    world.report(1, b"K")
    assert world.engine.log[-2:] == ["close 7 local", "forget 7"]
    assert world.lines[-1] == b"end msg 7"


def test_queue_7_4_the_message_ends_when_both_channels_have() -> None:
    world = World()
    world.arrive(7, b"a@here.ex", b"b@far.ex")
    world.clean()
    world.report(1, b"K")
    assert world.lines[-1] == status(0, 1)
    assert world.engine.log[-2:] == ["close 7 local", "commit"]
    world.report(2, b"K")
    assert world.lines[-1] == b"end msg 7"
    assert world.orders == [b"foop/7"]


def test_queue_7_5_the_bounce_text_is_on_disk_before_the_mark() -> None:
    world = World()
    world.arrive(7, b"a@here.ex", b"b@here.ex")
    world.clean()
    world.engine.log.clear()
    world.report(1, b"Dno\n")
    assert world.engine.log == ["blame 7", "commit", "settle 7 local 0", "commit"]


def test_bounces_1_one_bounce_covers_all_failures_however_far_apart() -> None:
    world = World()
    world.arrive(7, b"a@here.ex", b"b@far.ex")
    world.clean()
    world.report(1, b"Dno a\n")
    world.report(2, b"Zbusy\n")
    assert world.bounces == []
    world.pass_time(400)
    world.report(3, b"Dno b\n")
    (bounce,) = world.bounces
    assert b"<a@here.ex>:\nno a\n\n<b@far.ex>:\nno b\n\n" in world.text_of(bounce)


def test_queue_7_4_done_recipients_are_skipped_in_the_next_pass() -> None:
    world = World()
    world.arrive(7, b"a@here.ex", b"b@here.ex", b"c@here.ex")
    world.clean()
    world.report(1, b"K")
    world.report(2, b"Zlater\n")
    world.report(3, b"K")
    world.pass_time(100)
    assert world.running == [(4, b"b@here.ex")]


def test_50000_recipients_are_delivered_within_the_limits() -> None:
    world = World(local=50)
    many = [b"user%d@here.ex" % number for number in range(50000)]
    world.notice(world.queued(7, *many), is_long=True)
    turns = 0
    while world.send.wait_s() == 0:
        assert (world.orders, world.engine.log) == ([], [])
        world.turn()
        turns += 1
    assert turns == 50000 // SLICE
    world.clean()
    assert len(world.running) == 50
    for delivery in range(1, 201):
        world.report(delivery, b"K")
    assert len(world.running) == 50
    assert world.running[0] == (201, b"user200@here.ex")


def test_while_a_long_message_is_sorted_others_are_delivered() -> None:
    world = World()
    world.notice(world.queued(7, *(b"u%d@here.ex" % each for each in range(3 * SLICE))))
    world.notice(world.queued(8, b"ann@here.ex"))
    world.send.rescan()
    world.turn()
    assert world.running == [(1, b"ann@here.ex")]
    world.send.exit_soon()
    assert world.send.wait_s() > 0


def test_with_very_many_messages_at_work_the_rest_waits_in_the_queue() -> None:
    world = World(local=0)
    for number in range(1, MESSAGES_MAX + 11):
        world.notice(world.queued(number, b"a@here.ex"))
    assert len(world.send.ending.messages) == MESSAGES_MAX
    world.send.rescan()
    assert len(world.send.ending.messages) == MESSAGES_MAX
    world.reread(ROUTES, local=100)
    while world.turn() or world.orders:
        for delivery, _ in world.running:
            channel, _ = world.jobs.pop(delivery)
            world.send.reported(channel, Report(delivery, b"K"))
        world.clean()
    assert world.engine.todo == {}
    assert world.send.is_idle


# --- limits and turns (spec/delivery.md 14, spec/queue.md 7.4) ------------------------------------


def test_delivery_14_no_more_deliveries_run_than_the_limit_of_the_channel() -> None:
    world = World(local=2, remote=1)
    for number in range(1, 5):
        world.arrive(number, b"x@here.ex")
        world.arrive(10 + number, b"x@far.ex")
    assert len(world.running) == 3
    assert [line for line in world.lines if line.startswith(b"status")][-1] == (
        b"status: local 2/2 remote 1/1"
    )
    world.report(world.running[0][0], b"K")
    assert len(world.running) == 3


def test_delivery_14_a_limit_of_0_holds_the_mail() -> None:
    world = World(local=0)
    world.arrive(7, b"x@here.ex")
    assert world.running == []
    assert 7 in world.engine.todo


def test_messages_take_turns_so_that_a_long_list_holds_up_nobody() -> None:
    world = World(local=2)
    world.arrive(7, *(b"u%d@here.ex" % number for number in range(10)))
    world.clean()
    world.arrive(8, b"ann@here.ex")
    assert [recipient for _, recipient in world.running] == [b"u0@here.ex", b"u1@here.ex"]
    world.report(1, b"K")
    world.report(2, b"K")
    assert b"ann@here.ex" in [recipient for _, recipient in world.running]


def test_a_long_queue_is_opened_as_slots_are_free_and_new_mail_waits_for_few() -> None:
    world = World(local=2)
    for number in range(100, 200):
        world.arrive(number, b"old@here.ex")
    while world.jobs:
        world.report(world.running[0][0], b"Zlater\n")
    world.clean()
    world.clean()
    assert len(world.engine.schedule) == 100
    world.engine.log.clear()
    world.pass_time(200)
    assert len([line for line in world.engine.log if line.startswith("claim")]) <= 5
    world.arrive(7, b"new@here.ex")
    for _ in range(3):
        world.report(world.running[0][0], b"Zlater\n")
    assert any(line.endswith(b" new@here.ex") for line in world.lines)
    world.pass_time(10000)
    while world.jobs:
        world.report(world.running[0][0], b"K")
    assert world.engine.schedule == []


def test_a_channel_that_is_held_up_neither_stops_the_other_nor_keeps_the_program_awake() -> None:
    world = World(local=0)
    for number in range(100, 110):
        world.arrive(number, b"a@here.ex", b"b@far.ex")
        world.clean()
    for delivery, recipient in world.running:
        assert recipient == b"b@far.ex"
        world.report(delivery, b"Zlater\n")
    world.pass_time(500)
    assert len(world.running) == 10
    assert world.send.wait_s() > 1


def test_the_program_sleeps_until_the_next_message_is_due() -> None:
    world = World()
    assert world.send.wait_s() == 60
    world.arrive(7, b"x@here.ex")
    world.report(1, b"Zlater\n")
    world.clean()
    world.clock.time += 70
    assert world.send.wait_s() == 30


# --- age (spec/control-files.md 4.9) --------------------------------------------------------------


def test_delivery_12_the_last_try_of_an_old_message_turns_a_deferral_into_a_failure() -> None:
    world = World()
    world.arrive(7, b"ann@far.ex", age_s=LIFETIME_S + 1)
    world.report(1, b"Zbusy\n")
    assert world.lines[-2:] == [b"delivery 1: failure: busy/" + GIVEN_UP, status(0, 0)]
    world.clean()
    assert b"<ann@far.ex>:\nbusy\n" + TOO_LONG + b"\n---" in world.text_of(world.bounces[0])


def test_delivery_12_the_next_try_is_counted_from_the_start_of_a_pass() -> None:
    world = World()
    world.arrive(5, b"x@b.ex", b"y@b.ex")
    world.clean()
    world.report(1, b"Znot now\n")
    world.pass_time(300)
    world.report(2, b"Zafter a long wait\n")
    world.pass_time(99)
    assert not world.running
    world.pass_time(1)
    assert len(world.running) == 2


def test_delivery_12_a_pass_that_took_longer_than_the_wait_is_followed_by_another() -> None:
    world = World()
    world.arrive(5, b"x@b.ex")
    world.pass_time(1000)
    world.report(1, b"Zafter a very long wait\n")
    world.clean()
    assert [who for _, who in world.running] == [b"x@b.ex"]


def test_control_files_4_9_at_its_lifetime_exactly_a_message_is_still_tried_again() -> None:
    world = World()
    world.arrive(7, b"ann@far.ex", age_s=LIFETIME_S)
    world.report(1, b"Zbusy\n")
    assert world.lines[-2] == b"delivery 1: deferral: busy/"


def test_the_age_is_looked_at_when_a_pass_begins() -> None:
    world = World()
    world.arrive(7, b"ann@far.ex", age_s=LIFETIME_S - 1)
    world.report(1, b"Zbusy\n")
    world.clean()
    world.pass_time(10**6)
    world.report(2, b"Zbusy")
    assert world.lines[-2] == b"delivery 2: failure: busy/" + GIVEN_UP
    assert len(world.bounces) == 1


def test_logging_2_a_mangled_report_of_an_old_message_is_still_a_deferral() -> None:
    world = World()
    world.arrive(7, b"ann@far.ex", age_s=LIFETIME_S + 1)
    world.report(1, b"")
    assert world.lines[-2] == b"delivery 1: report mangled, will defer"


# --- signals (spec/queue.md 7.8) ------------------------------------------------------------------


def test_queue_7_8_term_starts_nothing_more_and_waits_for_what_runs() -> None:
    world = World(local=1)
    world.arrive(7, b"a@here.ex")
    world.arrive(8, b"b@here.ex")
    world.send.exit_soon()
    world.send.exit_soon()
    assert world.turn() == [b"status: local 1/1 remote 0/20 exitasap"]
    world.arrive(9, b"c@here.ex")
    assert not world.send.is_idle
    world.report(1, b"K")
    assert world.lines[-2:] == [b"status: local 0/1 remote 0/20 exitasap", b"end msg 7"]
    assert world.running == []
    assert not world.send.is_idle
    world.clean()
    assert world.send.is_idle
    assert set(world.engine.todo) == {8, 9}


def test_queue_7_8_alrm_makes_everything_due() -> None:
    world = World()
    world.arrive(7, b"a@here.ex")
    world.report(1, b"Zlater\n")
    world.clean()
    world.engine.act(Act.RETRY_NOW)
    world.turn()
    assert world.running == [(2, b"a@here.ex")]


def test_queue_7_8_after_hup_new_messages_go_by_the_new_routes() -> None:
    world = World()
    world.reread(Routes(frozenset((b"far.ex",)), {}))
    world.arrive(7, b"a@far.ex")
    world.arrive(8, b"b@here.ex")
    assert [channel for channel, _ in world.jobs.values()] == [Channel.LOCAL, Channel.REMOTE]


def test_bounces_2_the_map_in_force_at_bounce_time_is_used() -> None:
    world = World()
    world.arrive(7, b"a@v.ex")
    world.reread(Routes(ROUTES.locals, {}))
    world.report(1, b"Dno\n")
    world.clean()
    assert b"\n<joe-v-a@v.ex>:\n" in world.text_of(world.bounces[0])


@pytest.mark.parametrize("number", [7, 8])
def test_queue_7_7_the_sweep_has_old_unaccepted_messages_removed(number: int) -> None:
    world = World()
    world.engine.old = [number]
    world.send.start()
    world.turn()
    assert world.orders == [b"foop/%d" % number]
    assert world.clean() == []
    assert world.send.is_idle
