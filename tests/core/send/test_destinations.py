"""One remote domain: its limits, and how it slows us down (spec/oddities.md 4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.core.send.destinations import (
    AT_ONCE_MAX,
    PAUSE_S_MAX,
    PAUSE_S_MIN,
    Destination,
    Push,
    push_of,
)
from qmail.core.send.values import Job, Message, Stage
from qmail.core.settings.host_limits import HostLimit
from qmail.mail import Channel, Result, deferred, delivered, failed

SAID = b"Connected to 1.2.3.4 but greeting failed.\nRemote host said: "


def job(number: int = 1) -> Job:
    return Job(Message(number, b"", None, Stage.KEPT), Channel.REMOTE, b"", 0, 0.0)


@pytest.mark.parametrize(
    ("result", "push"),
    [
        (deferred(SAID + b"421 too busy\n"), Push.AWAY),
        (deferred(SAID + b"421-too busy\n421 bye\n"), Push.AWAY),
        (deferred(SAID + b"450 4.7.0 slow down\n"), Push.AWAY),
        (deferred(SAID + b"451-4.7.650 throttled\n"), Push.AWAY),
        (deferred(b"1.2.3.4 does not like recipient.\nRemote host said: 450 4.7.1 Greylisted\n"),
         Push.SLOWER),
        (deferred(b"1.2.3.4 does not like recipient.\nRemote host said: 421 4.7.0 bye\n"),
         Push.AWAY),
        (deferred(b"1.2.3.4 does not like recipient.\nRemote host said: 452 4.2.2 full\n"),
         Push.NONE),
        (deferred(SAID + b"450 no code\n"), Push.NONE),
        (failed(SAID + b"550 5.7.1 no\n"), Push.NONE),
        (delivered(SAID + b"421 odd\n"), Push.NONE),
        (None, Push.NONE),
    ],
)  # fmt: skip
def test_421_and_4_7_x_ask_for_less_mail(result: Result | None, push: Push) -> None:
    assert push_of(result) is push


@given(st.binary(max_size=300))
def test_any_text_has_an_answer(text: bytes) -> None:
    assert push_of(deferred(text)) in Push


def test_a_domain_is_full_at_its_limit() -> None:
    place = Destination(b"a.ex", HostLimit(2))
    place.started(0)
    assert not place.is_full(0)
    place.started(0)
    assert place.is_full(0)
    place.used -= 1
    assert not place.is_full(0)


def test_without_a_limit_it_is_never_full() -> None:
    place = Destination(b"a.ex", HostLimit())
    for _ in range(1000):
        place.started(0)
    assert not place.is_full(0)


@pytest.mark.parametrize("rate", [1, 7, 60, 600])
def test_in_no_minute_are_more_started_than_the_rate(rate: int) -> None:
    place = Destination(b"a.ex", HostLimit(0, rate))
    starts = []
    for tick in range(1800):
        now = tick / 10
        if not place.is_full(now):
            place.started(now)
            starts.append(now)
    for first in starts:
        assert sum(first <= each < first + 60 for each in starts) <= rate
    assert len(starts) >= rate * 3 * 0.9


def test_the_pause_doubles_up_to_an_hour_and_the_deliveries_are_halved_down_to_one() -> None:
    place = Destination(b"a.ex", HostLimit(20))
    pauses, shares = [], []
    now = 0.0
    for delivery in range(1, 10):
        place.used = min(20, place.at_once)
        assert place.pushed(Push.AWAY, delivery, delivery, now)
        pauses.append(place.closed_until - now)
        shares.append(place.at_once)
        assert place.is_full(now)
        now = place.closed_until
        place.used = 0
        assert not place.is_full(now)
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert (pauses[0], pauses[-1]) == (PAUSE_S_MIN, PAUSE_S_MAX)
    assert shares == [10, 5, 2, 1, 1, 1, 1, 1, 1]


def test_what_was_under_way_says_the_same_once_more_and_counts_once() -> None:
    place = Destination(b"a.ex", HostLimit(20))
    place.used = 20
    assert place.pushed(Push.AWAY, 3, 25, 0)
    for delivery in range(4, 26):
        assert not place.pushed(Push.AWAY, delivery, 25, 1)
    assert (place.level, place.at_once, place.closed_until) == (1, 10, 60)
    assert place.pushed(Push.AWAY, 26, 26, 60)
    assert place.closed_until == 180


def test_greylisting_never_makes_the_pause_longer() -> None:
    place = Destination(b"a.ex", HostLimit(20))
    for delivery in range(1, 10):
        now = delivery * 1000.0
        place.pushed(Push.SLOWER, delivery, delivery, now)
        assert place.closed_until - now == PAUSE_S_MIN


def test_each_success_takes_one_step_back() -> None:
    place = Destination(b"a.ex", HostLimit(20))
    for delivery in range(1, 6):
        place.used = 20
        place.pushed(Push.AWAY, delivery, delivery, 0)
    steps = 0
    while not (place.at_once == 20 and place.level == 0):
        place.succeeded()
        steps += 1
        assert steps < 100
    assert place.at_once == 20
    place.succeeded()
    assert place.at_once == 20


def test_a_domain_without_limit_gets_one_for_as_long_as_it_asks() -> None:
    place = Destination(b"a.ex", HostLimit())
    place.used = 60
    place.pushed(Push.AWAY, 1, 1, 0)
    assert place.at_once == 30
    for _ in range(AT_ONCE_MAX):
        place.succeeded()
    assert place.at_once == 0


def test_jobs_that_wait_take_turns() -> None:
    place = Destination(b"a.ex", HostLimit(1))
    first, second = job(1), job(2)
    for offset in (0, 10, 20):
        place.park(first, offset)
    place.park(second, 5)
    assert (first.parked, second.parked) == (3, 1)
    order = [place.unpark() for _ in range(4)]
    assert order == [(first, 0), (second, 5), (first, 10), (first, 20)]
    assert not place.is_wanted
    assert (first.parked, second.parked) == (0, 0)


def test_a_domain_of_which_nothing_is_known_can_be_forgotten() -> None:
    place = Destination(b"a.ex", HostLimit(2, 60))
    assert place.is_spent(0)
    place.started(0)
    assert not place.is_spent(0)
    place.used = 0
    assert not place.is_spent(0.5)
    assert place.is_spent(1)
    place.pushed(Push.SLOWER, 1, 1, 1)
    assert not place.is_spent(1000)
    place.limit_to(HostLimit(2, 60))
    assert place.is_spent(1000)
    place.room.append(7)
    assert not place.is_spent(1000)
