"""How guessing addresses is slowed (spec/oddities.md 2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.core.smtp import guessing
from qmail.core.smtp.guessing import (
    CLIENT_MAX,
    DELAY_S_FIRST,
    DELAY_S_MAX,
    FORGET_S,
    FREE,
    SESSION_MAX,
    Guesses,
    hold_s,
)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def count(guesses: Guesses, times: int, ip: str, *, is_trusted: bool = False) -> float | None:
    """Count unknown recipients, each in a session of its own; return what the last one costs."""
    found: float | None = 0.0
    for _ in range(times):
        found = guesses.hold(ip, 1, is_trusted=is_trusted)
    return found


def test_typing_errors_cost_nothing_and_guesses_more_and_more() -> None:
    assert [hold_s(number) for number in range(1, FREE + 1)] == [0.0] * FREE
    first = [hold_s(FREE + number) for number in range(1, 5)]
    assert first == [DELAY_S_FIRST * factor for factor in (1, 2, 4, 8)]
    assert hold_s(SESSION_MAX - 1) == DELAY_S_MAX


def test_session_ends_at_its_bound() -> None:
    assert hold_s(SESSION_MAX) is None
    assert hold_s(SESSION_MAX + 1) is None


def test_client_over_its_bound_gets_one_answer_a_session() -> None:
    guesses = Guesses(Clock())
    assert count(guesses, CLIENT_MAX, "192.0.2.1") == DELAY_S_MAX
    assert guesses.hold("192.0.2.1", 1, is_trusted=False) == DELAY_S_MAX
    assert guesses.hold("192.0.2.1", 2, is_trusted=False) is None
    assert guesses.hold("192.0.2.2", 2, is_trusted=False) == 0.0


def test_new_session_does_not_start_from_nothing() -> None:
    guesses = Guesses(Clock())
    assert count(guesses, FREE + 2, "192.0.2.1") == 2 * DELAY_S_FIRST


def test_client_is_forgotten_bit_by_bit() -> None:
    clock = Clock()
    guesses = Guesses(clock)
    assert count(guesses, FREE + 2, "192.0.2.1") == 2 * DELAY_S_FIRST
    clock.now_s += 2 * FORGET_S
    assert count(guesses, 1, "192.0.2.1") == DELAY_S_FIRST
    clock.now_s += 1000 * FORGET_S
    assert count(guesses, FREE, "192.0.2.1") == 0.0
    assert count(guesses, 1, "192.0.2.1") == DELAY_S_FIRST


def test_client_that_never_stops_is_let_in_again_in_the_end() -> None:
    clock = Clock()
    guesses = Guesses(clock)
    count(guesses, 10 * CLIENT_MAX, "192.0.2.1")
    clock.now_s += 2 * CLIENT_MAX * FORGET_S
    assert count(guesses, 1, "192.0.2.1") == 0.0


@pytest.mark.parametrize("ip", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "unknown"])
def test_this_host_is_exempt_across_sessions(ip: str) -> None:
    guesses = Guesses(Clock())
    assert count(guesses, 10 * CLIENT_MAX, ip) == 0.0
    assert guesses.hold(ip, SESSION_MAX, is_trusted=False) is None


def test_relay_client_is_exempt_across_sessions() -> None:
    guesses = Guesses(Clock())
    assert count(guesses, 10 * CLIENT_MAX, "192.0.2.1", is_trusted=True) == 0.0
    assert guesses.hold("192.0.2.1", SESSION_MAX, is_trusted=True) is None


def test_ipv6_clients_are_their_network_of_64_bits() -> None:
    guesses = Guesses(Clock())
    for number in range(FREE + 1):
        count(guesses, 1, f"2001:db8::{number}")
    assert count(guesses, 1, "2001:db8::ffff:1:2:3") == 2 * DELAY_S_FIRST
    assert count(guesses, 1, "2001:db8:0:1::1") == 0.0


def test_ipv4_in_ipv6_is_the_ipv4_client() -> None:
    guesses = Guesses(Clock())
    count(guesses, FREE, "::ffff:192.0.2.1")
    assert count(guesses, 1, "192.0.2.1") == DELAY_S_FIRST


def test_table_is_bounded_and_forgets_who_was_silent_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guessing, "CLIENTS_MAX", 2)
    guesses = Guesses(Clock())
    for ip in ("192.0.2.1", "192.0.2.2"):
        count(guesses, FREE, ip)
    count(guesses, 1, "192.0.2.1")
    count(guesses, 1, "192.0.2.3")
    assert count(guesses, 1, "192.0.2.1") == 2 * DELAY_S_FIRST
    assert count(guesses, 1, "192.0.2.2") == 0.0


@given(st.integers(1, 10**9), st.integers(0, 10**9))
def test_every_count_has_an_answer_that_is_bounded(in_session: int, of_client: int) -> None:
    found = hold_s(in_session, of_client)
    assert found is None or 0.0 <= found <= DELAY_S_MAX
