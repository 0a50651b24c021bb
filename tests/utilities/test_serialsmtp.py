"""serialsmtp under tcpclient, against a strict server (spec/companion.md 3.2; oddities.md 1)."""

from pathlib import Path

import pytest
from tests.fakes.smtp_server import FakeServer
from tests.utilities.serial_world import Serial


@pytest.fixture
def world(tmp_path: Path) -> Serial:
    return Serial(tmp_path)


def test_all_messages_go_over_one_connection(world: Serial) -> None:
    for number in (1, 2, 3):
        world.deliver(number, b"Subject: %d\n\n.dot\n..\n\n" % number)
    with FakeServer() as server:
        ended = world.smtp(server.port)
    assert (ended.code, world.left, server.connections) == (0, [], 1)
    assert ended.err.splitlines() == [
        b"maildirserial: info: new/%d.x succeeded: 127.0.0.1 said: 250 taken" % number
        for number in (1, 2, 3)
    ]
    assert server.commands[0] == b"EHLO me.ex"
    assert server.commands[-1] == b"QUIT"
    first = server.taken[0]
    assert first.mail.startswith(b"MAIL FROM:<joe@a.ex>")
    assert first.rcpts == [b"RCPT TO:<ann1@b.ex>"]
    assert first.data == b"Subject: 1\r\n\r\n..dot\r\n...\r\n\r\n"


def test_the_original_tcpclient_does_as_well(world: Serial) -> None:
    original = Path("/usr/bin/tcpclient")
    if not original.exists():
        pytest.skip("the package ucspi-tcp is not installed: only our own tcpclient is tried")
    world.deliver(1)
    with FakeServer() as server:
        words = ["-RHl0", "--", "127.0.0.1", str(server.port), "serialsmtp", "far-", "me.ex"]
        ended = world.serial(str(original), *words)
    assert (ended.code, world.left, len(server.taken)) == (0, [], 1)


def test_no_stored_byte_can_end_the_data(world: Serial) -> None:
    world.deliver(1, b"a\r.\rb\r\n.\r\nMAIL FROM:<x>\n.\n\r.\n.")
    with FakeServer() as server:
        assert world.smtp(server.port).code == 0
    (taken,) = server.taken
    lines = taken.data.split(b"\r\n")
    assert b"\r" not in b"".join(lines)
    assert b"\n" not in b"".join(lines)
    assert b"." not in lines
    assert lines == [b"a", b"..", b"b", b"..", b"MAIL FROM:<x>", b"..", b"", b"..", b"..", b""]


def test_a_long_message_goes_in_parts_and_without_its_two_top_lines(world: Serial) -> None:
    body = b"Subject: long\n\n" + b".%s\n" % (b"x" * 70) * 5000
    world.deliver(1, body)
    with FakeServer() as server:
        assert world.smtp(server.port).code == 0
    assert server.taken[0].data == body.replace(b"\n.", b"\n..").replace(b"\n", b"\r\n")


def test_addresses_are_quoted_as_smtp_wants_them(world: Serial) -> None:
    top = b'Return-Path: <"a \\"b"@a.ex>\nDelivered-To: far-two words@b.ex\n'
    world.deliver(1, top=top)
    with FakeServer(extensions=()) as server:
        assert world.smtp(server.port).code == 0
    assert server.taken[0].mail == b'MAIL FROM:<"a \\"b"@a.ex>'
    assert server.taken[0].rcpts == [b'RCPT TO:<"two words"@b.ex>']


@pytest.mark.parametrize("extensions", [(b"PIPELINING",), ()])
def test_every_refusal_is_of_its_own_message_only(
    world: Serial, extensions: tuple[bytes, ...]
) -> None:
    for number in range(1, 8):
        world.deliver(number)
    ok = b"250 ok\r\n"
    replies: dict[bytes, bytes | list[bytes] | None] = {
        b"MAIL": [b"451 not now\r\n", ok, b"550-5.7.1 bad\r\n550 5.7.1 sender\r\n"],
        b"DATA": [b"354 go\r\n", b"354 go\r\n", b"354 go\r\n", b"354 go\r\n", b"554 no data\r\n"],
        b".": [b"250 fine\r\n", b"552 too big\r\n", b"452 full\r\n"],
    }
    nobody = frozenset((b"ann4@b.ex",))
    if extensions:
        # What was sent along with a refused MAIL or RCPT is answered as well.
        no, go = b"503 no\r\n", b"354 go\r\n"
        replies[b"DATA"] = [no, go, no, no, go, go, b"554 no data\r\n"]
        replies[b"RCPT"] = [b"503 no\r\n", ok, b"503 no\r\n"]
    else:
        replies[b"DATA"] = [b"354 go\r\n", b"354 go\r\n", b"354 go\r\n", b"554 no data\r\n"]
    with FakeServer(replies=replies, nobody=nobody, extensions=extensions) as server:
        ended = world.smtp(server.port)
    said = [line.partition(b"info: ")[2] for line in ended.err.splitlines()]
    assert said == [
        b"new/1.x failed temporarily: 127.0.0.1 said: 451 not now",
        b"new/2.x succeeded: 127.0.0.1 said: 250 fine",
        b"new/3.x failed: 127.0.0.1 said: 550-5.7.1 bad 550 5.7.1 sender",
        b"new/4.x failed: 127.0.0.1 said: 550 5.1.1 nobody of this name",
        b"new/5.x failed: 127.0.0.1 said: 552 too big",
        b"new/6.x failed temporarily: 127.0.0.1 said: 452 full",
        b"new/7.x failed: 127.0.0.1 said: 554 no data",
    ]
    assert ended.code == 111
    assert server.connections == 1


def test_a_connection_that_breaks_is_made_again(world: Serial) -> None:
    for number in (1, 2, 3):
        world.deliver(number)
    replies: dict[bytes, bytes | list[bytes] | None] = {
        b".": [b"250 one\r\n", b"", b"250 two\r\n", b"421 enough\r\n", b"250 three\r\n"]
    }
    with FakeServer(replies=replies) as server:
        ended = world.smtp(server.port)
    assert (ended.code, world.left, server.connections) == (111, ["3.x"], 2)
    assert b"serialsmtp: fatal: network read error: end of file\n" in ended.err
    assert b"new/3.x failed temporarily: 127.0.0.1 said: 421 enough\n" in ended.err


def test_a_server_that_ends_the_session_after_a_refusal_is_called_again(world: Serial) -> None:
    world.deliver(1)
    world.deliver(2)
    with FakeServer(replies={b"RCPT": [b"421 too many\r\n"]}) as server:
        ended = world.smtp(server.port)
    assert (ended.code, world.left, server.connections) == (111, ["1.x"], 2)
    assert b"fatal: the server has closed the connection\n" in ended.err


@pytest.mark.parametrize(
    ("greeting", "said"),
    [
        (b"554 go away\r\n", b"takes no mail: Connected to 127.0.0.1 but greeting failed."),
        (b"hello\r\n", b"its reply is not SMTP"),
        (b"220-" + b"x" * 5000 + b"\r\n", b"its reply is not SMTP"),
    ],
)
def test_a_server_that_takes_no_mail_is_called_three_times(
    world: Serial, greeting: bytes, said: bytes
) -> None:
    world.deliver(1)
    with FakeServer(greeting=greeting) as server:
        ended = world.smtp(server.port)
    assert (ended.code, world.left, server.connections) == (111, ["1.x"], 3)
    assert said in ended.err
    assert ended.err.endswith(b"maildirserial: fatal: making no progress, giving up\n")


def test_a_reply_that_is_no_reply_is_a_protocol_violation(world: Serial) -> None:
    world.deliver(1)
    with FakeServer(replies={b".": b"25O ok\r\n"}) as server:
        ended = world.smtp(server.port)
    assert (ended.code, world.left, server.connections) == (111, ["1.x"], 3)
    assert ended.err.count(b"serialsmtp: fatal: protocol violation\n") == 3


def test_a_server_without_ehlo_is_told_helo(world: Serial) -> None:
    world.deliver(1)
    with FakeServer(replies={b"EHLO": b"502 what\r\n"}) as server:
        assert world.smtp(server.port).code == 0
    assert server.commands[:2] == [b"EHLO me.ex", b"HELO me.ex"]


@pytest.mark.parametrize(
    "top",
    [
        b"Return-Path: <a\x01b@a.ex>\nDelivered-To: far-ann@b.ex\n",
        b"Return-Path: <joe@a.ex>\nDelivered-To: far-ann@b.ex>\r\n",
    ],
)
def test_an_address_that_would_be_another_command_is_refused(world: Serial, top: bytes) -> None:
    world.deliver(1, top=top)
    with FakeServer() as server:
        ended = world.smtp(server.port)
    assert (ended.code, world.left, server.taken) == (111, ["1.x"], [])
    assert b"new/1.x failed: An address can't be written in SMTP. (#5.1.3)\n" in ended.err or (
        b"said: An address can't be written in SMTP. (#5.1.3)\n" in ended.err
    )


def test_what_has_no_top_lines_and_what_is_gone_is_passed_over(world: Serial) -> None:
    world.deliver(1, top=b"Delivered-To: far-ann@b.ex\nReturn-Path: <>\n")
    (world.maildir / "new/2.x").symlink_to("/nonexistent")
    with FakeServer() as server:
        port = str(server.port)
        words = ["tcpclient", "-RHl0", "127.0.0.1", port, "serialsmtp", "far-", "me.ex"]
        names = b"".join(b"%b/new/%d.x\0" % (bytes(world.maildir), each) for each in (1, 2))
        ended = world.run(words, names + bytes(world.maildir) + b"\0")
    assert (ended.code, ended.out) == (0, b"")
    assert ended.err.count(b"serialsmtp: warning: ") == 3
    assert b"new/2.x: no such file or directory\n" in ended.err


@pytest.mark.parametrize("words", [[], ["far-"], ["far-", "me ex"], ["far-", ""], ["a", "b", "c"]])
def test_wrong_usage_is_told_before_anything_is_read(world: Serial, words: list[str]) -> None:
    ended = world.run(["serialsmtp", *words])
    assert (ended.code, ended.out) == (100, b"")
    assert b"usage: " in ended.err
