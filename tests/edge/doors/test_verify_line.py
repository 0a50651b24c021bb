"""Unknown recipients at the resident SMTP server, and its line to qmail-verify; no processes."""

import asyncio
import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.serve_world import CONTROLS
from tests.fakes.verify_world import (
    INSIDE,
    LATER,
    NO,
    OK,
    OUTSIDE,
    UNKNOWN,
    VerifyWorld,
    rcpt,
    run_in_loop,
)

from qmail.core.smtp.policy import read_policy
from qmail.edge.doors import verify_line
from qmail.edge.doors.station import listen_door
from qmail.edge.doors.verify_line import (
    KNOWN_LIVES_S,
    QUESTION_S_MAX,
    UNKNOWN_LIVES_S,
    Answers,
    VerifyLine,
)
from qmail.edge.smtp.connection import PENDING_BYTES_MAX
from qmail.protocol.doors import Report
from qmail.protocol.netstring import FrameReader
from qmail.protocol.verify_door import QUESTION_FRAME_MAX, Question, Verdict

# --- what the client hears ------------------------------------------------------------------------


def test_each_recipient_waits_for_its_verdict_and_its_client_alone() -> None:
    async def test(world: VerifyWorld) -> None:
        one, two = world.client(), world.client()
        one.say(rcpt("joe"), rcpt("nobody"), "DATA")
        two.say("NOOP", "RCPT TO:<x@elsewhere.example>")
        assert one.heard() == []
        assert two.heard() == ["250 2.0.0", "553 5.7.1"]
        assert world.answer(b"K") == [b"joe@ours.example"]
        assert one.heard() == [OK]
        assert world.answer(NO) == [b"nobody@ours.example"]
        # No queue here: that DATA came to its turn is what matters.
        assert one.heard() == [UNKNOWN, LATER]

    run_in_loop(test)


def test_client_is_told_no_detail() -> None:
    async def test(world: VerifyWorld) -> None:
        client = world.client()
        client.say(rcpt("nobody"))
        world.answer(b"DThe home /home/nobody is empty. (#5.1.1)\n")
        assert client.transport.written == b"550 5.1.1 no mailbox of this name here\r\n"

    run_in_loop(test)


@pytest.mark.parametrize(
    ("word", "ip", "reply"),
    [
        (b"", OUTSIDE, LATER),
        (b"defer\n", OUTSIDE, LATER),
        (b"defer\n", INSIDE, OK),
        (b"accept\n", OUTSIDE, OK),
    ],
)
def test_no_telling_is_what_the_control_file_says_and_relay_clients_are_taken(
    word: bytes, ip: str, reply: str
) -> None:
    async def test(world: VerifyWorld) -> None:
        client = world.client(ip)
        client.say(rcpt("joe"))
        world.answer(b"ZNot now. (#4.3.0)\n")
        assert client.heard() == [reply]
        # Trouble is not kept: the next one is asked for again.
        client.say(rcpt("joe"))
        assert world.answer(b"K") == [b"joe@ours.example"]
        assert client.heard() == [OK]

    run_in_loop(test, **({"verifyrcpt": word} if word else {}))


def test_relay_client_is_told_of_an_unknown_recipient() -> None:
    async def test(world: VerifyWorld) -> None:
        client = world.client(INSIDE)
        client.say(rcpt("nobody"))
        world.answer(NO)
        assert client.heard() == [UNKNOWN]

    run_in_loop(test)


def test_off_asks_nobody() -> None:
    async def test(world: VerifyWorld) -> None:
        client = world.client()
        client.say(rcpt("nobody"))
        assert client.heard() == [OK]
        assert world.questions() == []

    run_in_loop(test, verifyrcpt=b"off\n")


def test_off_at_hup_takes_those_who_wait_as_their_verdict_says() -> None:
    async def test(world: VerifyWorld) -> None:
        client = world.client()
        client.say(rcpt("joe"))
        world.server.policy = read_policy((CONTROLS | {"verifyrcpt": b"off\n"}).get, {}, frozenset)
        world.answer(b"K")
        client.say(rcpt("nobody"))
        assert client.heard() == [OK, OK]

    run_in_loop(test)


# --- waiting --------------------------------------------------------------------------------------


def test_no_answer_in_time_is_no_telling_and_others_go_on() -> None:
    async def test(world: VerifyWorld) -> None:
        waiting, other = world.client(), world.client()
        waiting.say(rcpt("joe"))
        asked = world.questions()
        world.time_s += QUESTION_S_MAX - 0.1
        world.verify.sweep()
        assert waiting.heard() == []
        other.say("NOOP")
        assert other.heard() == ["250 2.0.0"]
        world.time_s += 0.2
        world.verify.sweep()
        assert waiting.heard() == [LATER]
        # What comes too late is nobody's.
        world.verify.data_received(Report(asked[0].tag, NO).pack())
        assert waiting.heard() == []

    run_in_loop(test)


def test_questions_of_a_broken_line_are_asked_again_when_it_is_up() -> None:
    async def test(world: VerifyWorld) -> None:
        client = world.client()
        client.say(rcpt("joe"))
        assert len(world.questions()) == 1
        world.verify.connection_lost(None)
        client.say(rcpt("never read before the first is answered"))
        assert client.heard() == []
        world.verify_up()
        assert world.answer(b"K") == [b"joe@ours.example"]
        assert client.heard()[0] == OK

    run_in_loop(test)


def test_question_asked_while_the_line_is_down_waits_for_it() -> None:
    async def test(world: VerifyWorld) -> None:
        world.verify.connection_lost(None)
        client = world.client()
        client.say(rcpt("joe"))
        assert client.heard() == []
        world.verify_up()
        assert world.answer(b"K") == [b"joe@ours.example"]
        assert client.heard() == [OK]

    run_in_loop(test)


def test_two_clients_share_one_question() -> None:
    async def test(world: VerifyWorld) -> None:
        clients = [world.client(), world.client()]
        for client in clients:
            client.say(rcpt("joe"))
        assert world.answer(b"K") == [b"joe@ours.example"]
        assert [client.heard() for client in clients] == [[OK], [OK]]

    run_in_loop(test)


def test_line_that_is_full_is_no_telling_at_once() -> None:
    async def test(world: VerifyWorld) -> None:
        world.verify.pause_writing()
        client = world.client()
        client.say(rcpt("joe"))
        assert client.heard() == [LATER]
        world.verify.resume_writing()
        client.say(rcpt("joe"))
        assert world.answer(b"K") == [b"joe@ours.example"]

    run_in_loop(test)


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES])
def test_where_there_is_no_door_for_us_nothing_is_asked(number: int) -> None:
    async def test(world: VerifyWorld) -> None:
        world.verify.connection_lost(None)
        first, second = world.client(), world.client()
        first.say(rcpt("joe"))
        world.verify.on_refused(OSError(number, "no"))
        second.say(rcpt("joe"))
        assert [first.heard(), second.heard()] == [[OK], [OK]]
        # Once it is there it is used.
        world.verify_up()
        second.say(rcpt("nobody"))
        assert world.answer(NO) == [b"nobody@ours.example"]

    run_in_loop(test)


def test_door_that_nobody_answers_at_is_waited_for() -> None:
    async def test(world: VerifyWorld) -> None:
        world.verify.connection_lost(None)
        client = world.client()
        client.say(rcpt("joe"))
        world.verify.on_refused(ConnectionRefusedError(errno.ECONNREFUSED, "no"))
        assert client.heard() == []

    run_in_loop(test)


def test_peer_that_breaks_the_framing_is_hung_up_on() -> None:
    async def test(world: VerifyWorld) -> None:
        world.verify.data_received(b"nonsense")
        assert world.verify_door.ended == "aborted"

    run_in_loop(test)


def test_client_that_leaves_while_it_waits_is_forgotten() -> None:
    async def test(world: VerifyWorld) -> None:
        client = world.client()
        client.say(rcpt("joe"))
        client.connection.connection_lost(None)
        assert world.answer(b"K") == [b"joe@ours.example"]
        assert client.heard() == []

    run_in_loop(test)


def test_client_that_ends_its_side_while_it_waits_still_gets_its_answer() -> None:
    async def test(world: VerifyWorld) -> None:
        client = world.client()
        client.say(rcpt("joe"))
        assert client.connection.eof_received()
        assert client.transport.ended == ""
        world.answer(b"K")
        assert client.heard() == [OK]
        assert client.transport.ended == "closed"

    run_in_loop(test)


def test_client_that_sends_on_while_it_waits_is_not_read_from() -> None:
    async def test(world: VerifyWorld) -> None:
        client = world.client()
        client.say(rcpt("joe"))
        client.connection.data_received(b"NOOP\r\n" * (PENDING_BYTES_MAX // 6 + 1))
        assert not client.transport.reads
        world.answer(b"K")
        assert client.heard()[:2] == [OK, "250 2.0.0"]
        assert client.transport.reads

    run_in_loop(test)


def test_shutdown_does_not_wait_for_a_verdict() -> None:
    async def test(world: VerifyWorld) -> None:
        client = world.client()
        client.say(rcpt("joe"))
        client.connection.shut_down()
        assert client.heard() == ["421 4.3.2"]
        world.answer(b"K")
        assert client.heard() == []

    run_in_loop(test)


# --- answers that are kept ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("report", "reply", "lives_s"), [(b"K", OK, KNOWN_LIVES_S), (NO, UNKNOWN, UNKNOWN_LIVES_S)]
)
def test_answer_is_used_again_for_seconds(report: bytes, reply: str, lives_s: float) -> None:
    async def test(world: VerifyWorld) -> None:
        client = world.client()
        client.say(rcpt("joe"))
        world.answer(report)
        world.time_s += lives_s - 0.1
        client.say(rcpt("joe"))
        assert world.questions() == []
        world.time_s += 0.2
        client.say(rcpt("joe"))
        assert world.answer(report) == [b"joe@ours.example"]
        assert client.heard() == [reply] * 3

    run_in_loop(test)


def test_new_settings_forget_all_answers() -> None:
    async def test(world: VerifyWorld) -> None:
        client = world.client()
        client.say(rcpt("joe"), rcpt("nobody"))
        world.answer(b"K")
        world.answer(NO)
        world.verify.forget()
        client.say(rcpt("joe"))
        assert world.answer(b"K") == [b"joe@ours.example"]
        client.say(rcpt("nobody"))
        assert world.answer(NO) == [b"nobody@ours.example"]

    run_in_loop(test)


def test_answers_are_bounded_and_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_line, "ANSWERS_MAX", 2)
    answers = Answers(10.0)
    for now, name in enumerate((b"a", b"b", b"a", b"c")):
        answers.add(name, float(now))
    assert [answers.has(name, 5.0) for name in (b"a", b"b", b"c")] == [True, False, True]


@settings(max_examples=100, deadline=None)
@given(
    reports=st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=30)), max_size=5),
    rest=st.binary(max_size=30),
    cut=st.integers(1, 50),
)
def test_whatever_comes_through_the_line_refuses_nobody_without_5_1_1(
    reports: list[tuple[int, bytes]], rest: bytes, cut: int
) -> None:
    async def test(world: VerifyWorld) -> None:
        client = world.client()
        client.say(rcpt("joe"))
        data = b"".join(Report(tag, text).pack() for tag, text in reports) + rest
        for at in range(0, len(data), cut):
            world.verify.data_received(data[at : at + cut])
        heard = client.heard()
        assert heard in ([], [OK], [LATER])

    run_in_loop(test)


# --- calling --------------------------------------------------------------------------------------


def test_line_calls_the_real_door(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()

    async def ask() -> Verdict:
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Verdict] = loop.create_future()

        class Waiting:
            on_verdict = staticmethod(told.set_result)

        uids = frozenset({os.getuid()})

        def on_work() -> None:
            loop.call_soon(line.flush)

        line = VerifyLine(str(tmp_path), uids, on_work, loop.time)
        assert line.verdict(b"joe@ours.example", Waiting()) is None
        task = loop.create_task(line.keep_up())
        with listen_door(str(tmp_path), "verify") as door:
            door.setblocking(False)
            caller, _ = await loop.sock_accept(door)
            caller.setblocking(False)
            (payload,) = FrameReader(QUESTION_FRAME_MAX).feed(await loop.sock_recv(caller, 1000))
            await loop.sock_sendall(caller, Report(Question.unpack(payload).tag, NO).pack())
            verdict = await told
            caller.close()
        task.cancel()
        return verdict

    assert asyncio.run(asyncio.wait_for(ask(), 20)) is Verdict.UNKNOWN
