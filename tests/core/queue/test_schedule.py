"""When next (spec/delivery.md 12)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.core.queue.schedule import FARTHEST_S, HERD_MAX, Schedule, retry_delay, spread
from qmail.mail import Channel

NOMINAL = [(1, 100, 400), (2, 400, 1600), (3, 900, 3600), (4, 1600, 6400), (5, 2500, 10000),
           (10, 10000, 40000)]  # fmt: skip


def attempts(channel: Channel, count: int) -> list[int]:
    """Ages at which a message is tried, each attempt taking no time."""
    ages = [0]
    for _ in range(count):
        ages.append(ages[-1] + retry_delay(ages[-1], channel))
    return ages


@pytest.mark.parametrize(("attempt", "local", "remote"), NOMINAL)
def test_delivery_12_nominal_attempt_times(attempt: int, local: int, remote: int) -> None:
    assert attempts(Channel.LOCAL, 10)[attempt] == local
    assert attempts(Channel.REMOTE, 10)[attempt] == remote


@pytest.mark.parametrize(("channel", "attempt"), [(Channel.LOCAL, 78), (Channel.REMOTE, 39)])
def test_delivery_12_the_last_attempt_of_a_week(channel: Channel, attempt: int) -> None:
    ages = attempts(channel, attempt)
    assert ages[attempt] == 608400
    assert ages[attempt - 1] <= 604800


def test_delivery_12_a_birth_in_the_future_counts_as_age_0() -> None:
    assert retry_delay(-5000, Channel.LOCAL) == 100
    assert retry_delay(-1, Channel.REMOTE) == 400


@pytest.mark.parametrize(("age_s", "delay_s"), [(99, 262), (101, 299), (2**32, 1310820)])
def test_delivery_12_the_root_rounds_down_and_covers_any_age(age_s: int, delay_s: int) -> None:
    assert retry_delay(age_s, Channel.LOCAL) == delay_s


@given(age_s=st.integers(0, 10**12), channel=st.sampled_from(Channel))
def test_delivery_12_the_next_attempt_is_always_later(age_s: int, channel: Channel) -> None:
    assert retry_delay(age_s, channel) > 0


def test_nothing_comes_before_its_time() -> None:
    schedule = Schedule()
    schedule.add(20.0, 2)
    schedule.add(10.0, 1)
    assert schedule.next_due() == 10.0
    assert schedule.take_due(9.9) is None
    assert [schedule.take_due(20.0), schedule.take_due(20.0), schedule.take_due(20.0)] == [
        1,
        2,
        None,
    ]
    assert schedule.next_due() is None


@settings(max_examples=50)
@given(
    dues=st.lists(st.integers(0, 100), max_size=20),
    later=st.lists(st.integers(0, 100), max_size=10),
)
def test_queue_7_8_after_alrm_everything_is_due_and_what_comes_later_in_order(
    dues: list[int], later: list[int]
) -> None:
    schedule = Schedule()
    for number, due in enumerate(dues):
        schedule.add(due, number)
    assert sorted(schedule.all_due_now(50.0)) == list(range(len(dues)))
    for number, due in enumerate(later, 1000):
        schedule.add(due, number)
    order = []
    while (due_at := schedule.next_due()) is not None:
        order.append(due_at)
        assert schedule.take_due(due_at) is not None
    assert order == sorted([50.0] * len(dues) + [float(due) for due in later])
    assert len(schedule) == 0


@given(
    ages=st.lists(st.integers(-200_000, 200_000), max_size=1200),
)
def test_oddities_6_what_is_found_at_a_start_is_a_heap_in_order_and_complete(
    ages: list[int],
) -> None:
    now = 1_000_000.0
    found = spread([(now + age, number) for number, age in enumerate(ages)], now)
    assert found == sorted(found)
    assert sorted(number for _, number in found) == list(range(len(ages)))
    assert sum(due <= now for due, _ in found) <= HERD_MAX + 1
    assert all(due <= now + FARTHEST_S for due, _ in found)
    for due, number in found:
        if 0 < ages[number] <= FARTHEST_S:
            assert due == now + ages[number]


def test_a_clock_that_is_set_changes_no_wait() -> None:
    schedule = Schedule()
    schedule.add(20.0, 2)
    schedule.add(10.0, 1)
    schedule.shift(1000.0)
    assert schedule.entries() == [(1010.0, 1), (1020.0, 2)]
