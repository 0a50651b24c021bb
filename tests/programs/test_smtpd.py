"""The resident qmail-smtpd: the real program, real sockets, a queue of the test's own."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.fakes.door import WAIT_S_MAX, wait_until
from tests.fakes.queue_door import QueueDoor
from tests.programs.resident import environment
from tests.programs.smtpd_world import PROGRAM, Resident, codes, make_home, takes_data

OPENING = b"EHLO laptop\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<joe@ours.example>\r\nDATA\r\n"
ENVELOPE = (b"a@b.example", (b"joe@ours.example",))


@pytest.mark.parametrize("without_uvloop", [False, True])
def test_a_whole_session_reaches_the_queue(tmp_path: Path, without_uvloop: bool) -> None:
    home = make_home(tmp_path)
    with QueueDoor(home) as queue, Resident(home, without_uvloop=without_uvloop) as server:
        with server.ready_client() as client:
            queue.messages.clear()
            client.send(OPENING + b"Subject: x\r\n\r\n..hi\r\n.\r\nQUIT\r\n")
            said = client.rest()
        assert codes(said) == [250, 250, 250, 354, 250, 221]
        assert re.search(rb"\r\n250 2\.0\.0 ok \d+ qp %d\r\n" % queue.qp, said)
        (message,) = queue.messages
        assert message.kinds == b"M"
        assert message.envelope == ENVELOPE
        assert re.fullmatch(
            rb"Received: from unknown \(HELO laptop\) \(127\.0\.0\.1\)\n"
            rb"  by mx\.example with ESMTP id [0-9a-f]{18}; "
            rb"\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d -0000\n"
            rb"Subject: x\n\n\.hi\n",
            message.data,
        )
        accepted = server.wait_for_log(f"qp {queue.qp} bytes ")
        assert accepted.endswith(f"accept 127.0.0.1 qp {queue.qp} bytes {len(message.data)}")
        server.wait_for_log("smtpd: connect 127.0.0.1")
        server.wait_for_log("smtpd: close 127.0.0.1")
        assert server.stop() == 0
        assert server.errors == ""


def test_smtp_a7_helo_says_smtp(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    with QueueDoor(home) as queue, Resident(home) as server, server.ready_client() as client:
        client.send(b"HELO laptop\r\n" + OPENING.partition(b"\r\n")[2] + b".\r\n")
        for _ in range(5):
            client.reply()
        assert b"  by mx.example with SMTP id " in queue.messages[-1].data


@pytest.mark.parametrize("without_uvloop", [False, True])
def test_a_long_message_is_streamed_and_nothing_is_lost(
    tmp_path: Path, without_uvloop: bool
) -> None:
    home = make_home(tmp_path)
    body = b"".join(b"line %d of many\r\n" % number for number in range(40000))
    with QueueDoor(home) as queue, Resident(home, without_uvloop=without_uvloop) as server:
        with server.ready_client() as client:
            client.send(OPENING + body + b".\r\nQUIT\r\n")
            assert codes(client.rest()) == [250, 250, 250, 354, 250, 221]
        message = queue.messages[-1]
        assert re.fullmatch(rb"OC+E", message.kinds)
        assert message.data.partition(b"-0000\n")[2] == body.replace(b"\r\n", b"\n")


def test_many_clients_at_once(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    with QueueDoor(home) as queue, Resident(home) as server:
        server.ready_client().sock.close()
        queue.messages.clear()
        clients = [server.connect() for _ in range(60)]
        for number, client in enumerate(clients):
            client.send(OPENING + b"message %d\r\n.\r\nQUIT\r\n" % number)
        for client in clients:
            assert codes(client.rest()) == [220, 250, 250, 250, 354, 250, 221]
            client.sock.close()
        bodies = {message.data.rpartition(b"-0000\n")[2] for message in queue.messages}
        assert bodies == {b"message %d\n" % number for number in range(60)}


# --- the queue ----------------------------------------------------------------------------------


def test_without_the_queue_data_is_451_until_it_comes(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    with Resident(home) as server, server.client() as client:
        ask = (b"MAIL FROM:<a@b>", b"RCPT TO:<joe@ours.example>", b"DATA")
        assert client.ask(*ask) == [250, 250, 451]
        assert b"451 4.3.0 " in client.said
        server.wait_for_log("smtpd: refuse 127.0.0.1 <a@b>: 451 4.3.0")
        with QueueDoor(home):
            server.ready_client().sock.close()
            assert client.ask(*ask, b".") == [250, 250, 354, 250]


def test_when_the_queue_dies_messages_in_flight_are_451(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    with QueueDoor(home) as queue, Resident(home) as server, server.ready_client() as client:
        queue.is_silent = True
        clients = [client, server.client()]
        for one in clients:
            one.send(OPENING + b".\r\n")
        queue.wait(lambda door: door.unanswered == 2)
        queue.hang_up()
        for one in clients:
            assert [int(one.reply()[:3]) for _ in range(5)] == [250, 250, 250, 354, 451]
        queue.is_silent = False
        wait_until(lambda: takes_data(client))
        assert queue.calls == 2


@pytest.mark.parametrize(
    ("code", "text", "reply"),
    [
        (53, b"", b"451 4.3.0 qq write error or disk full\r\n"),
        (11, b"", b"554 5.1.3 envelope address too long for qq\r\n"),
        (82, b"Dgo away (#5.7.1)", b"554 5.7.1 go away\r\n"),
        (99, b"", b"451 4.3.0 qq temporary problem\r\n"),
    ],
)
def test_smtp_a6_what_the_queue_says_is_passed_on(
    tmp_path: Path, code: int, text: bytes, reply: bytes
) -> None:
    home = make_home(tmp_path)
    with QueueDoor(home) as queue, Resident(home) as server, server.ready_client() as client:
        queue.code, queue.text = code, text
        client.send(OPENING + b".\r\n")
        replies = [client.reply() for _ in range(5)]
        assert replies[-1] == reply
        refused = server.wait_for_log("smtpd: refuse 127.0.0.1 <a@b.example>: ")
        assert refused.encode().endswith(reply.strip())


@pytest.mark.root
@pytest.mark.skipif(os.getuid() != 0, reason="needs root to be two users")
def test_a_stranger_at_the_queues_door_gets_nothing(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    stranger = subprocess.Popen(
        [sys.executable, "-c", _STRANGER, str(home / "run/queue")], stdout=subprocess.PIPE
    )
    assert stranger.stdout is not None
    try:
        assert stranger.stdout.read(1) == b"."
        with Resident(home) as server, server.client() as client:
            assert stranger.stdout.read(1) == b"c"
            ask = (b"MAIL FROM:<a@b>", b"RCPT TO:<joe@ours.example>", b"DATA")
            assert client.ask(*ask) == [250, 250, 451]
    finally:
        stranger.kill()
        stranger.wait()
        stranger.stdout.close()


_STRANGER = """
import os, socket, sys
sock = socket.socket(socket.AF_UNIX)
sock.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o777)
os.setresuid(12345, 12345, 12345)
sock.listen(5)
os.write(1, b".")
while True:
    sock.accept()
    os.write(1, b"c")
"""


# --- bad input ----------------------------------------------------------------------------------


def test_a_bare_line_end_is_521_and_the_end(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    with QueueDoor(home) as queue, Resident(home) as server, server.ready_client() as client:
        queue.messages.clear()
        client.send(OPENING + b"a\r\n.\nMAIL FROM:<evil@x>\r\nRCPT TO:<joe@ours.example>\r\n")
        assert codes(client.rest()) == [250, 250, 250, 354, 521]
        server.wait_for_log("smtpd: refuse 127.0.0.1 <a@b.example>: 521 5.5.2 bare LF or CR")
        assert queue.messages == []


def test_a_long_message_that_is_not_finished_is_given_up(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    with QueueDoor(home) as queue, Resident(home) as server:
        with server.ready_client() as client:
            client.send(OPENING + b"x" * 300000)
            for _ in range(4):
                client.reply()
        queue.wait(lambda door: door.given_up == 1)
        with server.client() as client:
            client.send(OPENING + b"x" * 300000 + b"\n")
            assert codes(client.rest())[-1] == 521
        queue.wait(lambda door: door.given_up == 2)


def test_a_message_over_databytes_is_552_and_given_up(tmp_path: Path) -> None:
    home = make_home(tmp_path, databytes="100000\n")
    with QueueDoor(home) as queue, Resident(home) as server, server.ready_client() as client:
        count = len(queue.messages)
        client.send(OPENING + b"x" * 300000 + b"\r\n.\r\nQUIT\r\n")
        assert codes(client.rest()) == [250, 250, 250, 354, 552, 221]
        queue.wait(lambda door: door.given_up == 1)
        assert len(queue.messages) == count


def test_bad_commands_are_answered_and_logged(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    with Resident(home) as server, server.client() as client:
        client.send(b"x" * 100000 + b"\r\nNO\0OP\r\n\xff\xfe\r\nRCPT a@b\r\n")
        assert [int(client.reply()[:3]) for _ in range(4)] == [500, 500, 502, 503]
        server.wait_for_log("smtpd: refuse 127.0.0.1 <>: 500 5.5.2 command line too long")
        server.wait_for_log("smtpd: refuse 127.0.0.1 <>: 500 5.5.2 NUL")


def test_logging_1_what_a_client_says_can_not_forge_log_lines(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    with Resident(home) as server, server.client() as client:
        client.ask(b'MAIL FROM:<"a %smtpd: accept"@b>', b'RCPT TO:<"x y"@other.example>')
        line = server.wait_for_log("553 5.7.1")
        assert line.startswith("smtpd: refuse 127.0.0.1 <a__smtpd:_accept@b> <x_y@other.example>: ")


def test_ten_thousand_recipients_in_one_message(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    script = b"".join(b"RCPT TO:<u%d@ours.example>\r\n" % number for number in range(10000))
    with QueueDoor(home) as queue, Resident(home) as server, server.ready_client() as client:
        client.send(b"MAIL FROM:<a@b>\r\n" + script + b"DATA\r\n.\r\nQUIT\r\n")
        assert set(codes(client.rest())) == {250, 354, 221}
        envelope = queue.messages[-1].envelope
        assert envelope is not None
        assert len(envelope.recipients) == 10000


def test_a_header_of_10_mb(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    with QueueDoor(home) as queue, Resident(home) as server, server.ready_client() as client:
        client.send(OPENING + (b"X-Long: " + b"x" * 1000 + b"\r\n") * 10000 + b"\r\n.\r\nQUIT\r\n")
        assert codes(client.rest()) == [250, 250, 250, 354, 250, 221]
        assert len(queue.messages[-1].data) > 10_000_000


# --- slow clients -------------------------------------------------------------------------------


def test_a_client_that_says_nothing_is_timed_out(tmp_path: Path) -> None:
    home = make_home(tmp_path, timeoutsmtpd="1\n")
    with Resident(home) as server, server.client() as client:
        assert client.rest().startswith(b"451 4.4.2 ")
        server.wait_for_log("451 4.4.2")


def test_a_client_that_sends_byte_by_byte_has_one_timeout_for_the_line(tmp_path: Path) -> None:
    home = make_home(tmp_path, timeoutsmtpd="1\n")
    with Resident(home) as server, server.client() as client:
        client.sock.settimeout(0.1)
        end = time.monotonic() + WAIT_S_MAX
        said = b""
        while not said and time.monotonic() < end:
            client.send(b"x")
            try:
                said = client.sock.recv(100)
            except TimeoutError:
                continue
        assert said.startswith(b"451 4.4.2 ")


def test_a_client_that_never_reads_its_replies_is_dropped(tmp_path: Path) -> None:
    home = make_home(tmp_path, timeoutsmtpd="1\n")
    with Resident(home) as server, server.client() as client:
        client.sock.settimeout(WAIT_S_MAX)
        # The server stops reading, so that this blocks, and then hangs up.
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            client.send(b"HELP\r\n" * 10_000_000)
        server.wait_for_log("smtpd: close 127.0.0.1")


def test_a_client_that_ends_its_side_still_gets_its_replies(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    with QueueDoor(home) as queue, Resident(home) as server, server.ready_client() as client:
        queue.is_silent = True
        client.send(OPENING + b".\r\nNOOP\r\n")
        client.sock.shutdown(socket.SHUT_WR)
        queue.wait(lambda door: door.unanswered)
        queue.answer()
        assert codes(client.rest()) == [250, 250, 250, 354, 250, 250]


# --- who may --------------------------------------------------------------------------------------


def test_issue_2_relaying_is_for_relayclients_only(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    # Whoever starts the suite with RELAYCLIENT in the environment does not open it to everybody.
    with Resident(home, environ={"RELAYCLIENT": ""}) as server, server.client() as client:
        ask = (b"MAIL FROM:<a@b>", b"RCPT TO:<x@other.example>", b"RCPT TO:<x@ours.example>")
        assert client.ask(*ask) == [250, 553, 250]
        (home / "control/relayclients").write_text("127.0.0.0/8\n")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log("smtpd: controls read")
        with server.client() as other:
            assert other.ask(*ask) == [250, 250, 250]


def test_hup_with_a_bad_file_keeps_the_old_settings(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    with Resident(home) as server, server.client() as client:
        (home / "control/relayclients").write_text("127.0.0.0/8\nnonsense\n")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log("smtpd: controls not read")
        assert "control/relayclients:2: " in server.errors
        with server.client() as other:
            assert other.ask(b"MAIL FROM:<a@b>", b"RCPT TO:<x@other.example>") == [250, 553]
        assert client.ask(b"NOOP") == [250]


# --- start and end ------------------------------------------------------------------------------


def test_a_bad_control_file_stops_the_start_with_file_and_line(tmp_path: Path) -> None:
    home = make_home(tmp_path, rcpthosts="fine.example\nnot fine\n")
    with Resident(home) as server:
        assert server.process.wait(WAIT_S_MAX) == 111
        assert "control/rcpthosts:2: " in server.errors


def test_a_home_that_does_not_exist_is_111(tmp_path: Path) -> None:
    variables = environment(tmp_path / "nowhere", QMAIL_LISTENERS="9")
    command = [sys.executable, "-c", PROGRAM]
    ended = subprocess.run(command, env=variables, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 111
    assert b"nowhere" in ended.stderr


def test_arguments_are_a_mistake(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, "x"]
    ended = subprocess.run(
        command, env=environment(tmp_path), capture_output=True, timeout=60, check=False
    )
    assert ended.returncode == 100


def test_term_lets_the_queue_answer_and_says_goodbye(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    with QueueDoor(home) as queue, Resident(home) as server, server.ready_client() as client:
        idle = server.client()
        queue.is_silent = True
        client.send(OPENING + b".\r\n")
        queue.wait(lambda door: door.unanswered)
        server.process.send_signal(signal.SIGTERM)
        assert idle.rest().startswith(b"421 4.3.2 ")
        idle.sock.close()
        queue.answer()
        assert codes(client.rest()) == [250, 250, 250, 354, 250, 421]
        client.sock.close()
        assert server.process.wait(WAIT_S_MAX) == 0
        assert not any("cut off" in line for line in server.log)


def test_accepted_sockets_have_no_nagle(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    with Resident(home) as server, server.client():
        # The option is the listening socket's, which this test shares with the server.
        assert server.listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# --- a program in place of the queue ------------------------------------------------------------


def add_program(home: Path, text: str) -> dict[str, str]:
    path = home / "filter"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return {"QMAILQUEUE": str(path)}


@pytest.mark.parametrize("without_uvloop", [False, True])
def test_qmailqueue_gets_message_and_envelope(tmp_path: Path, without_uvloop: bool) -> None:
    home = make_home(tmp_path)
    environ = add_program(home, 'echo "$QMAIL_ID" >id; cat >message; cat <&1 >envelope\n')
    body = b"line\r\n" * 50000
    with Resident(home, environ=environ, without_uvloop=without_uvloop) as server:
        with server.client() as client:
            client.send(OPENING + body + b".\r\nQUIT\r\n")
            assert codes(client.rest()) == [250, 250, 250, 354, 250, 221]
        message = (home / "message").read_bytes()
        trace_id = (home / "id").read_bytes().strip()
        assert b" with ESMTP id %b; " % trace_id in message
        assert message.partition(b"-0000\n")[2] == body.replace(b"\r\n", b"\n")
        assert (home / "envelope").read_bytes() == b"Fa@b.example\0Tjoe@ours.example\0\0"


@pytest.mark.parametrize(
    ("program", "reply"),
    [
        ("cat >/dev/null; exit 31", b"554 5.3.0 mail server permanently rejected message\r\n"),
        ("exit 53", b"451 4.3.0 qq write error or disk full\r\n"),
        ("printf 'Dno spam (#5.7.1)' >&6; exit 82", b"554 5.7.1 no spam\r\n"),
        ("kill -9 $$", b"451 4.3.0 qq temporary problem\r\n"),
    ],
)
def test_qmailqueue_may_refuse_at_any_time(tmp_path: Path, program: str, reply: bytes) -> None:
    home = make_home(tmp_path)
    with Resident(home, environ=add_program(home, program)) as server, server.client() as client:
        client.send(OPENING + b"x" * 200000 + b"\r\n.\r\n")
        assert [client.reply() for _ in range(5)][-1] == reply


def test_qmailqueue_that_is_not_there_is_451(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    environ = {"QMAILQUEUE": str(home / "nothing")}
    with Resident(home, environ=environ) as server, server.client() as client:
        client.send(OPENING + b".\r\n")
        assert [client.reply() for _ in range(5)][-1] == b"451 4.3.0 unable to exec qq\r\n"


def test_qmailqueue_sees_a_message_that_is_given_up_end_early(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    program = "cat >message; cat <&1 >envelope; echo $? >done.new; mv done.new done"
    with Resident(home, environ=add_program(home, program)) as server:
        with server.client() as client:
            client.send(OPENING + b"x" * 200000)
            for _ in range(4):
                client.reply()
        wait_until((home / "done").exists)
        assert (home / "envelope").read_bytes() == b""
