"""The classic qmail-smtpd: one conversation on descriptors 0 and 1, as tcpserver starts it."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.fakes.queue_door import QueueDoor
from tests.programs.resident import environment
from tests.programs.smtpd_world import PROGRAM, codes, converse, make_home

OPENING = b"EHLO laptop\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<joe@ours.example>\r\nDATA\r\n"
MESSAGE = b"Subject: x\r\n\r\n..hi\r\n.\r\n"


def test_smtp_a1_exit_0_after_quit_and_the_message_is_queued(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    variables = {
        "TCPREMOTEIP": "192.0.2.9", "TCPREMOTEHOST": "client.example", "TCPREMOTEINFO": "joe",
        "TCPLOCALHOST": "mx.local.example", "TCPLOCALIP": "192.0.2.1",
    }  # fmt: skip
    with QueueDoor(home) as queue:
        code, said, errors = converse(home, OPENING + MESSAGE + b"QUIT\r\n", variables)
    assert code == 0
    assert codes(said) == [220, 250, 250, 250, 354, 250, 221]
    assert b" qp 1001\r\n" in said
    assert errors == b""
    (message,) = queue.messages
    assert message.envelope == (b"a@b.example", (b"joe@ours.example",))
    assert message.data.startswith(
        b"Received: from client.example (HELO laptop) (joe@192.0.2.9)\n"
        b"  by mx.local.example with ESMTP id "
    )
    assert message.data.endswith(b" -0000\nSubject: x\n\n.hi\n")


def test_smtp_a1_exit_1_without_quit(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    code, said, _ = converse(home, b"NOOP\r\n")
    assert (code, codes(said)) == (1, [220, 250])
    code, said, _ = converse(home, OPENING + b"half")
    assert (code, codes(said)) == (1, [220, 250, 250, 250, 354])


def test_several_messages_and_pipelined_commands(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    long = b"line of a long message\r\n" * 20000
    script = OPENING + MESSAGE + OPENING + long + b".\r\nRSET\r\nQUIT\r\n"
    with QueueDoor(home) as queue:
        code, said, _ = converse(home, script)
    assert code == 0
    assert codes(said) == [220, 250, 250, 250, 354, 250, 250, 250, 250, 354, 250, 250, 221]
    assert queue.messages[1].data.partition(b"-0000\n")[2] == long.replace(b"\r\n", b"\n")


def test_relayclient_of_the_environment_opens_and_is_appended(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    script = b"MAIL FROM:<a@b>\r\nRCPT TO:<x@other.example>\r\nDATA\r\n.\r\nQUIT\r\n"
    assert codes(converse(home, script)[1]) == [220, 250, 553, 554, 502, 221]
    with QueueDoor(home) as queue:
        said = converse(home, script, {"RELAYCLIENT": "@fixme.example"})[1]
        assert codes(said) == [220, 250, 250, 354, 250, 221]
    envelope = queue.messages[0].envelope
    assert envelope is not None
    assert envelope.recipients == (b"x@other.example@fixme.example",)


def test_relayclients_are_looked_up_by_tcpremoteip(tmp_path: Path) -> None:
    home = make_home(tmp_path, relayclients="192.0.2.0/24\n")
    script = b"MAIL FROM:<a@b>\r\nRCPT TO:<x@other.example>\r\nQUIT\r\n"
    assert codes(converse(home, script, {"TCPREMOTEIP": "192.0.2.9"})[1]) == [220, 250, 250, 221]
    assert codes(converse(home, script, {"TCPREMOTEIP": "192.0.3.9"})[1]) == [220, 250, 553, 221]


def test_databytes_of_the_environment_wins(tmp_path: Path) -> None:
    home = make_home(tmp_path, databytes="1\n")
    with QueueDoor(home) as queue:
        script = OPENING + b"1234567\r\n.\r\n" + OPENING + b"12345678\r\n.\r\nQUIT\r\n"
        said = converse(home, script, {"DATABYTES": "8"})[1]
        assert codes(said) == [220, 250, 250, 250, 354, 250, 250, 250, 250, 354, 552, 221]
    assert len(queue.messages) == 1


def test_a_large_message_over_databytes_is_read_to_its_end(tmp_path: Path) -> None:
    home = make_home(tmp_path, databytes="1000\n")
    with QueueDoor(home) as queue:
        script = OPENING + b"text\r\n" * 100000 + b".\r\nNOOP\r\nQUIT\r\n"
        code, said, errors = converse(home, script)
    assert (code, codes(said)) == (0, [220, 250, 250, 250, 354, 552, 250, 221])
    assert b"smtpd: refuse unknown <a@b.example>: 552 5.3.4 message too big" in errors
    assert queue.messages == []


@pytest.mark.parametrize("text", [b"a\n.\r\n", b"a\r\n.\nMAIL", b"a\rb", b"\r.\r"])
def test_a_bare_line_end_is_521_and_exit_1(tmp_path: Path, text: bytes) -> None:
    home = make_home(tmp_path)
    with QueueDoor(home) as queue:
        code, said, _ = converse(home, OPENING + text + b"\r\n.\r\nQUIT\r\n")
    assert (code, codes(said)) == (1, [220, 250, 250, 250, 354, 521])
    assert queue.messages == []


def test_smtp_a2_a_client_that_says_nothing_is_451_and_exit_1(tmp_path: Path) -> None:
    home = make_home(tmp_path, timeoutsmtpd="1\n")
    code, said, _ = converse(home, b"NO", ends=False)
    assert (code, codes(said)) == (1, [220, 451])
    assert b"451 4.4.2 " in said
    with QueueDoor(home):
        code, said, _ = converse(home, OPENING + b"half", ends=False)
    assert (code, codes(said)) == (1, [220, 250, 250, 250, 354, 451])


def test_without_the_queue_a_message_is_451_after_its_end(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    code, said, errors = converse(home, OPENING + MESSAGE + b"NOOP\r\nQUIT\r\n")
    assert (code, codes(said)) == (0, [220, 250, 250, 250, 354, 451, 250, 221])
    assert b"451 4.3.0 " in errors


def test_qmailqueue_is_run_in_place_of_the_queue(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    program = home / "filter"
    program.write_text('#!/bin/sh\necho "$QMAIL_ID" >id; cat >message; cat <&1 >envelope\n')
    program.chmod(0o755)
    code, said, _ = converse(home, OPENING + MESSAGE + b"QUIT\r\n", {"QMAILQUEUE": str(program)})
    assert (code, codes(said)) == (0, [220, 250, 250, 250, 354, 250, 221])
    message = (home / "message").read_bytes()
    assert message.endswith(b"\n\n.hi\n")
    assert b" with ESMTP id %b; " % (home / "id").read_bytes().strip() in message
    assert (home / "envelope").read_bytes() == b"Fa@b.example\0Tjoe@ours.example\0\0"


@pytest.mark.parametrize("controls", [{"rcpthosts": "not fine\n"}, {"me": "\n"}])
def test_smtp_a1_bad_controls_are_421_and_exit_1(tmp_path: Path, controls: dict[str, str]) -> None:
    home = make_home(tmp_path, **controls)
    (name,) = controls
    code, said, errors = converse(home, b"")
    assert (code, codes(said)) == (1, [421])
    assert said.startswith(b"421 4.3.0 ")
    assert b"control/%b:1: " % name.encode() in errors


def test_a_home_that_does_not_exist_is_421_and_exit_1(tmp_path: Path) -> None:
    code, said, errors = converse(tmp_path / "nowhere", b"")
    assert (code, codes(said)) == (1, [421])
    assert b"nowhere" in errors


def test_it_works_on_pipes_too(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=b"NOOP\r\nQUIT\r\n",
        env=environment(home),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, codes(ended.stdout)) == (0, [220, 250, 221])


def test_one_conversation_imports_neither_asyncio_nor_email(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    program = PROGRAM.replace("sys.exit(", "code = (") + (
        "; loaded = {'asyncio', 'email', 'uvloop'} & set(sys.modules)"
        "; sys.exit(5 if loaded else code)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        input=b"QUIT\r\n",
        env=environment(home),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0
