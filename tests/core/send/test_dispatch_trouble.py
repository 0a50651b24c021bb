"""qmail-send when the disk, a spawner or qmail-clean fails, and when tidings cross."""

import pytest
from tests.fakes.send_world import SLOTS, World

from qmail.core.queue.schedule import SYSTEM_FAILURE_S
from qmail.core.send.dispatch import RESCAN_S
from qmail.mail import Channel
from qmail.protocol.doors import Notice, Report


def starts(world: World) -> list[bytes]:
    return [line for line in world.lines if line.startswith(b"starting delivery")]


# --- a notice, a scan, or both --------------------------------------------------------------------


def test_a_message_that_is_scanned_and_then_noticed_is_delivered_once() -> None:
    world = World()
    arrival = world.queued(7, b"a@here.ex")
    world.send.rescan()
    world.turn()
    world.notice(arrival)
    world.turn()
    assert len(starts(world)) == 1


def test_a_notice_that_comes_when_the_scanned_message_is_gone_brings_it_not_back() -> None:
    world = World()
    arrival = world.queued(7, b"a@here.ex")
    world.send.rescan()
    world.turn()
    world.send.rescan()
    world.report(1, b"K")
    world.clean()
    world.notice(arrival)
    world.turn()
    assert len(starts(world)) == 1
    assert world.send.is_idle


def test_a_notice_of_what_was_found_at_the_start_brings_it_not_back() -> None:
    world = World()
    arrival = world.queued(7, b"a@here.ex")
    world.send.start()
    world.turn()
    world.report(1, b"K")
    world.clean()
    world.notice(arrival)
    world.turn()
    assert len(starts(world)) == 1


def test_a_late_notice_does_not_put_an_old_recipient_on_a_new_message_of_that_number() -> None:
    world = World()
    old = world.queued(7, b"old@here.ex", qp=1)
    world.send.start()
    world.turn()
    world.report(1, b"K")
    world.clean()
    new = world.queued(7, b"new@here.ex", qp=2)
    world.send.rescan()
    world.turn()
    world.report(2, b"K")
    world.clean()
    newest = world.queued(7, b"newest@here.ex", qp=3)
    for arrival in (old, new, newest):
        world.notice(arrival)
    world.turn()
    assert [line.rpartition(b" ")[2] for line in starts(world)] == [
        b"old@here.ex",
        b"new@here.ex",
        b"newest@here.ex",
    ]


def test_a_message_that_is_noticed_and_then_scanned_is_delivered_once() -> None:
    world = World()
    world.arrive(7, b"a@here.ex")
    world.arrive(8, b"a@here.ex", b"b@here.ex")
    world.send.rescan()
    world.turn()
    assert world.engine.read == []
    assert len(starts(world)) == 1
    assert [line for line in world.lines if line.startswith(b"new msg")] == [
        b"new msg 7",
        b"new msg 8",
    ]


def test_a_scan_does_not_bring_back_what_qmail_clean_is_removing() -> None:
    world = World()
    world.arrive(7, b"a@here.ex")
    world.report(1, b"K")
    world.send.rescan()
    world.turn()
    assert len(starts(world)) == 1


@pytest.mark.parametrize("is_noticed", [True, False])
def test_a_number_may_come_back_before_qmail_cleans_answer_does(is_noticed: bool) -> None:
    world = World()
    world.arrive(7, b"old@here.ex", qp=1)
    world.report(1, b"K")
    orders, world.orders = world.orders, []
    new = world.queued(7, b"new@here.ex", qp=2)
    if is_noticed:
        world.notice(new)
    else:
        world.send.rescan()
    world.turn()
    assert world.send.ending.orders.answered(b"+" * len(orders))
    world.turn()
    assert world.running == [(2, b"new@here.ex")]
    world.report(2, b"K")
    assert world.orders == [b"done/7"]
    world.clean()
    assert world.send.is_idle


def test_a_long_envelope_is_read_from_the_queue() -> None:
    world = World()
    world.notice(world.queued(7, b"a@here.ex"), is_long=True)
    world.turn()
    assert world.running == [(1, b"a@here.ex")]


def test_a_notice_of_a_message_that_is_not_there_is_nothing() -> None:
    world = World()
    world.send.noticed(Notice(7, 1, 2, 3, 4, b""))
    assert world.turn() == []


def test_queue_12_todo_is_scanned_at_least_every_1500_seconds() -> None:
    world = World()
    world.send.start()
    world.queued(7, b"a@here.ex")
    world.pass_time(RESCAN_S - 1)
    assert world.running == []
    world.pass_time(1)
    assert world.running == [(1, b"a@here.ex")]


def test_logging_4_a_folder_that_cannot_be_read_is_looked_at_again_after_10_s() -> None:
    world = World()
    world.engine.broken.add("arrivals")
    world.send.rescan()
    alert, why = world.turn()
    assert alert == b"alert: unable to opendir todo, sleeping..."
    assert why == b"qmail-send: todo: [Errno 5] Input/output error"
    world.engine.broken.clear()
    world.queued(7, b"a@here.ex")
    world.pass_time(10)
    assert world.running == [(1, b"a@here.ex")]


def test_a_sweep_that_fails_is_a_warning_and_tried_again() -> None:
    world = World()
    world.engine.broken.add("sweep")
    world.send.start()
    assert world.turn()[-1].startswith(b"warning: unable to sweep the queue: ")
    world.engine.broken.clear()
    world.engine.old = [3]
    world.pass_time(76431)
    assert world.orders == [b"foop/3"]


# --- the disk -------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", ["keep", "commit"])
def test_a_message_that_cannot_be_written_down_is_not_delivered_and_tried_later(
    broken: str,
) -> None:
    world = World()
    world.engine.broken.add(broken)
    world.arrive(7, b"a@here.ex", b"b@here.ex")
    assert (world.running, world.orders) == ([], [])
    assert world.lines[-1].startswith(b"warning: ")
    world.engine.broken.clear()
    world.pass_time(SYSTEM_FAILURE_S)
    world.clean()
    assert len(world.running) == 2


@pytest.mark.parametrize("text", [b"Zlater\n", b"Dno\n"])
@pytest.mark.parametrize("broken", ["keep", "commit"])
def test_a_report_that_cannot_be_written_down_has_the_recipient_tried_again(
    broken: str, text: bytes
) -> None:
    world = World()
    world.engine.broken.add(broken)
    world.arrive(7, b"a@here.ex")
    world.report(1, text)
    world.engine.broken.clear()
    assert world.orders == []
    assert 7 not in world.engine.told
    world.pass_time(SYSTEM_FAILURE_S)
    assert world.running == [(2, b"a@here.ex")]
    world.report(2, b"K")
    world.clean()
    assert world.send.is_idle


def test_many_messages_that_cannot_be_written_cost_one_scan() -> None:
    world = World()
    world.engine.broken.add("keep")
    for number in range(1, 51):
        world.arrive(number, b"a@here.ex", b"b@here.ex")
    world.engine.read.clear()
    world.pass_time(SYSTEM_FAILURE_S)
    assert sorted(world.engine.read) == list(range(1, 51))


@pytest.mark.parametrize("broken", ["blame", "commit"])
def test_a_failure_that_cannot_be_told_is_not_marked(broken: str) -> None:
    world = World()
    world.arrive(7, b"a@here.ex", b"b@here.ex")
    world.clean()
    world.engine.broken.add(broken)
    world.report(1, b"Dno\n")
    world.engine.broken.clear()
    world.report(2, b"K")
    assert world.engine.log[-1] == "commit"
    assert "renew 7 local 100" in world.engine.log
    world.pass_time(100)
    assert world.running == [(3, b"a@here.ex")]


def test_one_recipients_failure_that_cannot_be_told_is_tried_again() -> None:
    world = World()
    world.engine.broken.add("blame")
    world.arrive(7, b"a@here.ex")
    world.report(1, b"Dno\n")
    world.engine.broken.clear()
    world.clean()
    assert world.bounces == []
    world.pass_time(100)
    assert world.running == [(2, b"a@here.ex")]


def test_a_mark_that_fails_is_a_warning() -> None:
    world = World()
    world.arrive(7, b"a@here.ex", b"b@here.ex")
    world.clean()
    world.engine.broken.add("settle")
    assert world.report(1, b"K")[1] == b"warning: settle failed"


def test_a_channel_that_cannot_be_closed_is_closed_later_and_nobody_served_twice() -> None:
    world = World()
    world.arrive(7, b"a@here.ex", b"b@here.ex")
    world.clean()
    world.report(1, b"K")
    world.engine.broken.add("close")
    assert world.report(2, b"K")[-1] == b"warning: close failed"
    world.pass_time(SYSTEM_FAILURE_S)
    world.engine.broken.clear()
    world.pass_time(SYSTEM_FAILURE_S)
    assert world.lines[-1] == b"end msg 7"
    assert len(starts(world)) == 2


@pytest.mark.parametrize("broken", ["reports", "forget"])
def test_queue_7_6_an_end_that_fails_is_tried_again_after_123_seconds(broken: str) -> None:
    world = World()
    world.arrive(7, b"a@here.ex", b"b@here.ex")
    world.clean()
    world.report(1, b"K")
    world.engine.broken.add(broken)
    world.report(2, b"K")
    assert b"end msg 7" not in world.lines
    world.engine.broken.clear()
    world.pass_time(SYSTEM_FAILURE_S)
    assert world.lines[-1] == b"end msg 7"
    assert world.orders == [b"foop/7"]


def test_bounces_5_a_bounce_that_is_refused_is_tried_again_and_its_text_kept() -> None:
    world = World()
    world.arrive(7, b"a@here.ex")
    world.report(1, b"Dno\n")
    world.clean()
    world.send.ending.bounced(world.bounces.pop().message, None)
    assert world.turn() == [b"warning: trouble injecting bounce message, will try later"]
    world.pass_time(SYSTEM_FAILURE_S)
    assert b"<a@here.ex>:\nno\n\n" in world.text_of(world.bounces[0])


def test_queue_7_4_a_pass_that_cannot_be_opened_is_tried_again_after_123_seconds() -> None:
    world = World()
    world.arrive(7, b"a@here.ex")
    world.report(1, b"Zlater\n")
    world.clean()
    world.engine.broken.add("claim")
    world.pass_time(100)
    world.engine.broken.clear()
    world.pass_time(SYSTEM_FAILURE_S - 1)
    assert world.running == []
    world.pass_time(1)
    assert world.running == [(2, b"a@here.ex")]


def test_oddities_6_a_damaged_message_is_reported_once_and_left_alone() -> None:
    world = World()
    world.arrive(7, b"a@here.ex")
    world.report(1, b"Zlater\n")
    world.clean()
    world.engine.broken.add("damaged")
    assert world.pass_time(100) == [b"warning: unknown record type"]
    assert world.pass_time(10**6) == []


def test_queue_7_4_a_record_of_unknown_type_ends_the_pass_with_a_warning() -> None:
    world = World()
    world.arrive(7, b"a@here.ex", b"b@here.ex")
    world.clean()
    world.report(1, b"Zlater\n")
    world.report(2, b"Zlater\n")
    world.engine.kept[7].records[Channel.LOCAL][11] = ord("?")
    lines = world.pass_time(100)
    assert any(line.startswith(b"warning: unknown record type in ") for line in lines)
    world.report(3, b"K")
    assert world.engine.schedule


# --- qmail-clean ----------------------------------------------------------------------------------


def test_logging_3_a_todo_entry_that_stays_has_the_message_started_over() -> None:
    world = World()
    world.arrive(7, b"a@here.ex", b"b@here.ex")
    assert world.clean(b"!") == [b"warning: qmail-clean unable to clean up todo/7"]
    assert world.running == []
    world.pass_time(SYSTEM_FAILURE_S)
    world.clean()
    assert len(world.running) == 2


@pytest.mark.parametrize("answer", [b"!", b"x"])
def test_a_delivered_message_whose_files_stay_is_not_delivered_again(answer: bytes) -> None:
    world = World()
    world.arrive(7, b"a@here.ex")
    world.report(1, b"K")
    assert world.clean(answer) == [b"warning: qmail-clean unable to clean up done/7"]
    world.send.rescan()
    assert world.turn() == []
    world.pass_time(SYSTEM_FAILURE_S)
    assert world.orders == [b"done/7"]
    world.clean()
    assert world.send.is_idle
    assert len(starts(world)) == 1


def test_a_removal_is_not_asked_for_again_when_the_number_has_a_new_message() -> None:
    world = World()
    world.arrive(7, b"old@here.ex", qp=1)
    world.report(1, b"K")
    world.clean(b"!")
    world.queued(7, b"new@here.ex", qp=2)
    world.pass_time(SYSTEM_FAILURE_S)
    assert world.orders == []
    world.send.rescan()
    world.turn()
    assert world.running == [(2, b"new@here.ex")]


def test_logging_3_a_message_that_stays_after_its_end_is_a_warning() -> None:
    world = World()
    world.arrive(7, b"a@here.ex", b"b@here.ex")
    world.clean()
    world.report(1, b"K")
    world.report(2, b"K")
    assert world.clean(b"!") == [b"warning: qmail-clean unable to clean up foop/7"]
    assert world.send.is_idle


@pytest.mark.parametrize("is_done", [True, False])
def test_when_qmail_clean_is_lost_the_disk_says_what_it_did(is_done: bool) -> None:
    world = World()
    world.arrive(7, b"a@here.ex")
    world.arrive(8, b"a@here.ex", b"b@here.ex")
    world.report(1, b"K")
    orders, world.orders = world.orders, []
    assert orders == [b"todo/8", b"done/7"]
    if is_done:
        world.engine.todo.clear()
    world.send.ending.clean_lost()
    world.turn()
    assert world.orders == ([] if is_done else orders)
    world.clean()
    assert [recipient for _, recipient in world.running] == [b"a@here.ex", b"b@here.ex"]


@pytest.mark.parametrize("last_order", [b"done/7", b"foop/7"])
def test_when_qmail_clean_is_lost_no_order_hits_a_new_message_of_that_number(
    last_order: bytes,
) -> None:
    world = World()
    old = [b"a@here.ex"] if last_order == b"done/7" else [b"a@here.ex", b"b@here.ex"]
    world.arrive(7, *old, qp=1)
    world.clean()
    for delivery, _ in world.running:
        world.report(delivery, b"K")
    assert world.orders == [last_order]
    world.orders.clear()
    world.notice(world.queued(7, b"new@here.ex", qp=2))
    world.turn()
    world.send.ending.clean_lost()
    world.turn()
    assert world.orders == []
    assert world.running[-1][1] == b"new@here.ex"
    world.report(world.running[-1][0], b"K")
    assert world.orders == [b"done/7"]


def test_more_answers_than_orders_are_told() -> None:
    world = World()
    assert not world.send.ending.orders.answered(b"+")


# --- the spawners ---------------------------------------------------------------------------------


def test_what_ran_at_a_spawner_that_is_lost_is_tried_again_later() -> None:
    world = World()
    world.arrive(7, b"a@here.ex")
    world.arrive(8, b"b@far.ex")
    world.send.disconnected(Channel.LOCAL)
    world.turn()
    assert b"delivery 1: report mangled, will defer" in world.lines
    assert world.lines[-1] == b"status: local 0/10 remote 1/20"
    world.clean()
    world.pass_time(100)
    assert world.running == [(1, b"a@here.ex"), (2, b"b@far.ex")]
    world.jobs.pop(1)
    world.send.connected(Channel.LOCAL, SLOTS)
    world.turn()
    assert world.running == [(2, b"b@far.ex"), (3, b"a@here.ex")]


def test_nothing_is_started_while_a_spawner_is_away() -> None:
    world = World()
    world.send.disconnected(Channel.REMOTE)
    world.arrive(7, b"a@far.ex")
    assert world.running == []
    world.send.connected(Channel.REMOTE, SLOTS)
    world.turn()
    assert world.running == [(1, b"a@far.ex")]


@pytest.mark.parametrize("channel", Channel)
def test_logging_3_a_report_of_no_delivery_is_ignored_with_a_warning(channel: Channel) -> None:
    world = World()
    world.send.reported(channel, Report(99, b"K"))
    assert world.turn() == [b"warning: internal error: delivery report out of range"]


def test_a_delivery_cannot_be_reported_twice_nor_by_the_other_spawner() -> None:
    world = World()
    world.arrive(7, b"a@here.ex")
    world.send.reported(Channel.REMOTE, Report(1, b"K"))
    assert world.turn() == [b"warning: internal error: delivery report out of range"]
    world.report(1, b"K")
    world.send.reported(Channel.LOCAL, Report(1, b"K"))
    assert world.turn() == [b"warning: internal error: delivery report out of range"]
    assert world.orders == [b"done/7"]


def test_a_message_that_is_found_just_after_it_came_is_left_for_its_notice() -> None:
    world = World()
    arrival = world.queued(7, b"a@here.ex", age_s=0)
    world.send.rescan()
    world.turn()
    assert starts(world) == []
    world.notice(arrival)
    world.turn()
    assert len(starts(world)) == 1


def test_a_message_that_nobody_tells_of_is_found_a_little_later() -> None:
    world = World()
    world.queued(7, b"a@here.ex", age_s=0)
    world.send.rescan()
    world.turn()
    world.pass_time(5)
    assert len(starts(world)) == 1
