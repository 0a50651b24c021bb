"""serialqmtp under tcpclient, against a server that follows spec/smtp.md C."""

from pathlib import Path

import pytest
from tests.fakes.qmtp_server import FakeQmtpServer
from tests.utilities.serial_world import Serial


@pytest.fixture
def world(tmp_path: Path) -> Serial:
    return Serial(tmp_path)


def test_messages_go_as_they_are_stored_and_nothing_is_waited_for(world: Serial) -> None:
    bodies = [b"Subject: x\n\n.\r\nno end", b"", b"y" * 300_000]
    for number, body in enumerate(bodies):
        world.deliver(number, body)
    # The server answers when it has all three: one that waits for each answer would hang.
    with FakeQmtpServer(waits_for=3) as server:
        ended = world.qmtp(server.port)
    assert (ended.code, world.left, server.connections) == (0, [], 1)
    assert server.taken == [
        (b"\n" + body, b"joe@a.ex", [b"ann%d@b.ex" % number]) for number, body in enumerate(bodies)
    ]
    assert ended.err.splitlines()[0] == (
        b"maildirserial: info: new/0.x succeeded: 127.0.0.1 said: ok"
    )


def test_each_message_has_its_own_answer(world: Serial) -> None:
    for number in (1, 2, 3):
        world.deliver(number)
    answers: list[bytes | None] = [b"9:Znot\0 now,", b"2:D\n,", b"2501:K" + b"y" * 2500 + b","]
    with FakeQmtpServer(answers) as server:
        ended = world.qmtp(server.port, "-b")
    assert (ended.code, world.left) == (111, ["1.x"])
    said = [line.partition(b"new/")[2] for line in ended.err.splitlines()]
    assert said[0] == b"1.x failed temporarily: 127.0.0.1 said: not? now"
    assert said[1] == b"2.x bounced: 127.0.0.1 said: "
    assert said[3] == b"3.x succeeded: 127.0.0.1 said: " + b"y" * (2000 - 16)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", b"network read error: end of file"),
        (b"3:Qok,", b"remote protocol violation: an answer that is neither K, Z nor D"),
        (b"0:,", b"remote protocol violation: an answer that is neither K, Z nor D"),
        (b"3:Kok;", b"remote protocol violation: no comma"),
        (b"x:", b"remote protocol violation: "),
        (b"999999:", b"remote protocol violation: longer than 65536 bytes"),
    ],
)
def test_a_server_that_breaks_the_rules_is_left(world: Serial, answer: bytes, said: bytes) -> None:
    world.deliver(1)
    with FakeQmtpServer([answer] * 3) as server:
        ended = world.qmtp(server.port)
    assert server.connections == 3
    assert (ended.code, world.left) == (111, ["1.x"])
    assert b"serialqmtp: fatal: " + said in ended.err


def test_a_connection_that_breaks_is_made_again(world: Serial) -> None:
    for number in (1, 2, 3):
        world.deliver(number)
    with FakeQmtpServer([b"2:K1,", b"", b"2:K2,", b"2:K3,"]) as server:
        ended = world.qmtp(server.port)
    assert (ended.code, world.left) == (0, [])
    assert server.connections >= 2


def test_more_messages_than_may_be_unanswered_all_arrive(world: Serial) -> None:
    for number in range(1100):
        world.deliver(number, b"x\n")
    with FakeQmtpServer() as server:
        ended = world.qmtp(server.port)
    assert (ended.code, world.left, len(server.taken)) == (0, [], 1100)


@pytest.mark.parametrize("words", [[], ["far-", "x"]])
def test_wrong_usage_is_told(world: Serial, words: list[str]) -> None:
    ended = world.run(["serialqmtp", *words])
    assert (ended.code, ended.err) == (100, b"serialqmtp: usage: serialqmtp prefix\n")
