"""Guessing addresses at the resident SMTP server: held back, ended, and nobody else is."""

import pytest
from tests.fakes.verify_world import INSIDE, NO, OK, UNKNOWN, Client, VerifyWorld, rcpt, run_in_loop

from qmail.core.smtp.guessing import FREE, SESSION_MAX


def guess(world: VerifyWorld, client: Client, count: int) -> None:
    for number in range(count):
        client.say(rcpt(f"guess{number}"))
        world.answer(NO)


def test_guesser_waits_and_nobody_else_does() -> None:
    async def test(world: VerifyWorld) -> None:
        guesser, other = world.client(), world.client("192.0.2.2")
        guess(world, guesser, FREE)
        assert guesser.heard() == [UNKNOWN] * FREE
        guesser.say(rcpt("onemore"), "NOOP")
        world.answer(NO)
        assert world.held[0][0] > 0
        assert guesser.heard() == []
        other.say(rcpt("nobody"))
        world.answer(NO)
        assert other.heard() == [UNKNOWN]
        world.held[0][1]()
        assert guesser.heard() == [UNKNOWN, "250 2.0.0"]

    run_in_loop(test)


def test_known_recipient_of_a_guesser_is_not_held_back() -> None:
    async def test(world: VerifyWorld) -> None:
        guesser = world.client()
        guess(world, guesser, FREE)
        guesser.say(rcpt("joe"))
        world.answer(b"K")
        assert guesser.heard()[-1] == OK

    run_in_loop(test)


def test_guesser_that_comes_again_is_still_known() -> None:
    async def test(world: VerifyWorld) -> None:
        guess(world, world.client(), FREE)
        again = world.client()
        guess(world, again, 1)
        assert again.heard() == []
        assert len(world.held) == 1

    run_in_loop(test)


@pytest.mark.parametrize("ip", ["127.0.0.1", INSIDE])
def test_loopback_and_relay_clients_are_counted_in_each_session_only(ip: str) -> None:
    async def test(world: VerifyWorld) -> None:
        for _ in range(3):
            client = world.client(ip)
            guess(world, client, FREE)
            assert client.heard() == [UNKNOWN] * FREE
        assert world.held == []

    run_in_loop(test)


def test_session_of_a_guesser_ends_with_421() -> None:
    async def test(world: VerifyWorld) -> None:
        client = world.client("127.0.0.1")
        for number in range(SESSION_MAX):
            client.say(rcpt(f"guess{number}"))
            world.answer(NO)
            if world.held:
                world.held.pop()[1]()
        assert client.heard() == [UNKNOWN] * (SESSION_MAX - 1) + ["421 4.7.0"]
        assert client.transport.ended == "our side"

    run_in_loop(test)


def test_guesser_that_leaves_is_not_answered() -> None:
    async def test(world: VerifyWorld) -> None:
        client = world.client()
        guess(world, client, FREE + 1)
        client.connection.connection_lost(None)
        client.heard()
        world.held[0][1]()
        assert client.heard() == []

    run_in_loop(test)
