"""A new message taken apart: every recipient on its channel, in slices, and in memory once."""

import tracemalloc

from qmail.core.addresses.routing import Routes
from qmail.core.queue.engine import Arrival
from qmail.core.queue.recipients import PackedRecipients
from qmail.core.send.sorting import SLICE, Sorting
from qmail.core.send.values import Message, Stage
from qmail.mail import Channel

ROUTES = Routes(frozenset({b"here.example"}))


def message_to(records: bytes) -> Message:
    recipients = PackedRecipients(records, 0)
    return Message(7, b"", Arrival(7, 1, 0, 1, 1, b"", recipients), Stage.NEW)


def records_to(count: int, host: bytes = b"here.example") -> bytes:
    return b"".join(b"Tuser-%d@%b\0" % (number, host) for number in range(count))


def test_each_recipient_goes_to_its_channel_in_the_order_of_the_envelope() -> None:
    message = message_to(b"Ta@here.example\0Tb@far.example\0Tc@here.example\0")
    assert Sorting(message).go_on(ROUTES)
    assert message.records == {
        Channel.LOCAL: b"Ta@here.example\0Tc@here.example\0",
        Channel.REMOTE: b"Tb@far.example\0",
    }


def test_many_are_sorted_a_slice_at_a_time_and_none_is_lost() -> None:
    records = records_to(2 * SLICE + 1)
    message = message_to(records)
    sorting = Sorting(message)
    assert [sorting.go_on(ROUTES) for _ in range(3)] == [False, False, True]
    assert message.records == {Channel.LOCAL: records}


def test_a_message_to_50_000_is_held_once_more_and_not_twice() -> None:
    records = records_to(50_000)
    message = message_to(records)
    sorting = Sorting(message)
    sorting.go_on(ROUTES)
    tracemalloc.start()
    while not sorting.go_on(ROUTES):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert message.records == {Channel.LOCAL: records}
    assert peak < 1.5 * len(records)
