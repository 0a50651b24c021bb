"""Guessing of passwords is slowed by address and by name, and nobody is locked out."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.core.login import guessing as login_guessing
from qmail.core.login.guessing import DELAY_S_MAX, FREE, FREE_OF_NAME, LINE_S_MAX, LoginGuesses

IP = "192.0.2.1"


class Clock:
    """A clock of the test's own."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guesses(clock: Clock) -> LoginGuesses:
    return LoginGuesses(clock)


def delays_of(guesses: LoginGuesses, clock: Clock, count: int) -> list[float | None]:
    """Fail so many times, each with another name, one after the other."""
    found = []
    for number in range(count):
        name = b"name%d" % number
        found.append(guesses.hold(IP, name))
        clock.now += found[-1] or 0.0
        guesses.failed(IP, name)
    return found


def test_the_first_failures_cost_nothing_then_each_waits_twice_as_long(
    guesses: LoginGuesses, clock: Clock
) -> None:
    assert delays_of(guesses, clock, 10) == [0, 0, 0, 0, 0.5, 1, 2, 4, 8, 16]
    assert guesses.hold("192.0.2.2", b"joe") == 0
    assert DELAY_S_MAX == 16


def test_who_calls_many_times_at_once_stands_in_line(guesses: LoginGuesses) -> None:
    for _ in range(FREE + 5):
        guesses.failed(IP, b"joe")
    waits = list(itertools.takewhile(bool, (guesses.hold(IP, b"ann") for _ in range(100))))
    assert waits == [8, 16, 24, 32, 40]
    assert guesses.hold(IP, b"ann") is None
    assert LINE_S_MAX == 40


def test_hanging_up_and_calling_again_gains_nothing(guesses: LoginGuesses, clock: Clock) -> None:
    for _ in range(FREE + 5):
        guesses.failed(IP, b"joe")
    assert guesses.hold(IP, b"joe") == 8
    clock.now += 1
    assert guesses.hold(IP, b"joe") == 15


def test_a_client_is_forgotten_bit_by_bit(guesses: LoginGuesses, clock: Clock) -> None:
    for _ in range(FREE + 3):
        guesses.failed(IP, b"joe")
    clock.now += login_guessing.FORGET_S * 3
    assert guesses.hold(IP, b"joe") == 0


def test_one_network_of_ipv6_is_one_client(guesses: LoginGuesses) -> None:
    for number in range(FREE + 1):
        guesses.failed(f"2001:db8:1:2::{number:x}", b"joe")
    assert guesses.hold("2001:db8:1:2:ffff::1", b"ann") == 0.5
    assert guesses.hold("2001:db8:1:3::1", b"ann") == 0


def test_this_host_itself_is_no_client_but_its_names_count(guesses: LoginGuesses) -> None:
    for _ in range(100):
        guesses.failed("127.0.0.1", b"joe")
        guesses.failed("::1", b"joe")
    assert guesses.hold("127.0.0.1", b"ann") == 0
    assert guesses.hold("127.0.0.1", b"joe") == 4


def test_a_name_that_many_addresses_try_is_slowed_but_never_locked(guesses: LoginGuesses) -> None:
    for number in range(FREE_OF_NAME):
        guesses.failed(f"198.51.100.{number}", b"joe")
    assert guesses.hold(IP, b"joe") == 0
    for number in range(200):
        guesses.failed(f"203.0.113.{number}", b"joe")
    assert guesses.hold(IP, b"joe") == 4
    assert [guesses.hold(f"192.0.2.{number}", b"joe") for number in range(2, 100)] == [4] * 98
    assert guesses.hold(IP, b"ann") == 0


def test_who_has_logged_in_from_there_before_is_not_slowed_for_what_others_do(
    guesses: LoginGuesses,
) -> None:
    guesses.succeeded(IP, b"joe")
    guesses.succeeded("127.0.0.1", b"joe")
    for number in range(200):
        guesses.failed(f"203.0.113.{number}", b"joe")
    assert guesses.hold(IP, b"joe") == 0
    assert guesses.hold("127.0.0.1", b"joe") == 0
    assert guesses.hold("192.0.2.2", b"joe") == 4


def test_a_success_does_not_take_an_address_back_that_guesses(guesses: LoginGuesses) -> None:
    for _ in range(FREE + 5):
        guesses.failed(IP, b"ann")
    guesses.succeeded(IP, b"mallory")
    assert guesses.hold(IP, b"ann") == 8


def test_what_is_remembered_is_bounded(
    guesses: LoginGuesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_guessing, "KEPT_MAX", 10)
    for number in range(100):
        for _ in range(5):
            guesses.failed(f"192.0.2.{number}", b"name%d" % number)
        guesses.hold(f"192.0.2.{number}", b"x" * 100000)
        guesses.succeeded(f"192.0.2.{number}", b"name%d" % number)
    assert len(guesses._clients._counts) == len(guesses._names._counts) == 10
    assert len(guesses._next) == len(guesses._known) == 10
    assert all(len(name) <= login_guessing.NAME_BYTES_MAX for name in guesses._names._counts)


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0, 500)), max_size=60))
def test_no_wait_is_longer_than_the_line_and_all_is_forgiven_in_the_end(
    steps: list[tuple[bool, float]],
) -> None:
    clock = Clock()
    guesses = LoginGuesses(clock)
    for is_failure, pause_s in steps:
        wait = guesses.hold(IP, b"joe")
        assert wait is None or 0 <= wait <= LINE_S_MAX
        if is_failure:
            guesses.failed(IP, b"joe")
        clock.now += pause_s
    clock.now += login_guessing.COUNT_MAX * login_guessing.FORGET_S
    assert guesses.hold(IP, b"joe") == 0
