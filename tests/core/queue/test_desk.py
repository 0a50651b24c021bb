"""qmail-queue's desk: frames in, receipts and notices out."""

import errno
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fakes.queue_world import LAYOUT, START, FailingFs, FakeClock, files_of

from qmail.core.queue import desk as queue_desk
from qmail.core.queue.desk import Caller, Desk, Manners, message_id_of
from qmail.core.queue.seal import trace_id_of
from qmail.core.queue.write import QueueWriter
from qmail.mail import Envelope
from qmail.protocol.doors import NOTICE_ENVELOPE_MAX, Receipt, Submission
from qmail.protocol.exits import QueueExit
from qmail.protocol.log_tail import split_line
from qmail.protocol.netstring import FrameError, FrameReader
from qmail.protocol.trace_id import id_of_message, is_trace_id

ENVELOPE = Envelope(b"joe@a.ex", (b"ann@b.ex",)).pack()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


MANNERS = Manners(lambda uid: b"by uid %d" % uid, {7}.__contains__, is_detailed=True)


@pytest.fixture
def desk(fs: FailingFs, clock: FakeClock) -> Desk:
    writer = QueueWriter(fs, clock, LAYOUT)
    return Desk(writer, clock, MANNERS, first_qp=1000)


@pytest.fixture
def caller() -> Caller:
    return Caller(uid=5, pid=77)


def give(desk: Desk, caller: Caller, *frames: Submission) -> None:
    for payload in FrameReader(1 << 20).feed(b"".join(frame.pack() for frame in frames)):
        desk.take(caller, payload)


def answers(caller: Caller) -> list[tuple[int, int]]:
    payloads = FrameReader(4096).feed(b"".join(caller.answers))
    caller.answers.clear()
    return [(receipt.tag, receipt.code) for receipt in map(Receipt.unpack, payloads)]


def test_a_message_in_one_frame_is_answered_after_its_commit_and_told_of(
    desk: Desk, caller: Caller
) -> None:
    give(desk, caller, Submission(b"M", 3, ENVELOPE, b"text\n"))
    assert answers(caller) == []
    (notice,) = desk.commit()
    assert answers(caller) == [(3, 0)]
    assert (notice.uid, notice.qp, notice.birth) == (5, 77, int(START))
    assert notice.envelope == ENVELOPE
    assert not desk.has_work


def test_a_long_message_comes_in_parts(desk: Desk, caller: Caller, tmp_path: Path) -> None:
    give(desk, caller, Submission(b"O", 1), Submission(b"C", 1, data=b"a\n"))
    give(desk, caller, Submission(b"C", 1, data=b"b\n"), Submission(b"E", 1, envelope=ENVELOPE))
    (notice,) = desk.commit()
    assert answers(caller) == [(1, 0)]
    mess = (tmp_path / LAYOUT.mess(notice.message)).read_bytes()
    assert mess.partition(b"\n")[2] == b"a\nb\n"
    assert notice.size == len(mess)


def test_messages_of_one_caller_may_interleave(desk: Desk, caller: Caller, tmp_path: Path) -> None:
    give(desk, caller, Submission(b"O", 1), Submission(b"O", 2))
    give(desk, caller, Submission(b"C", 2, data=b"two"), Submission(b"C", 1, data=b"one"))
    give(desk, caller, Submission(b"E", 2, ENVELOPE), Submission(b"E", 1, ENVELOPE))
    texts = [(tmp_path / LAYOUT.mess(n.message)).read_bytes()[-3:] for n in desk.commit()]
    assert texts == [b"two", b"one"]
    assert answers(caller) == [(2, 0), (1, 0)]


def test_a_message_that_is_given_up_leaves_nothing_and_gets_no_answer(
    desk: Desk, caller: Caller, tmp_path: Path
) -> None:
    give(desk, caller, Submission(b"O", 1), Submission(b"C", 1, data=b"x"), Submission(b"X", 1))
    assert files_of(tmp_path) == set()
    assert answers(caller) == []
    assert not desk.has_work


def test_what_a_caller_that_hangs_up_did_not_finish_is_not_queued(
    desk: Desk, caller: Caller, tmp_path: Path
) -> None:
    give(desk, caller, Submission(b"O", 1), Submission(b"M", 2, ENVELOPE, b"whole\n"))
    desk.leave(caller)
    assert len(desk.commit()) == 1
    assert len(files_of(tmp_path)) == 2


def test_a_caller_is_known_by_its_pid_for_its_first_message_and_by_numbers_then(
    desk: Desk, caller: Caller
) -> None:
    give(desk, caller, *(Submission(b"M", tag, ENVELOPE, b"") for tag in range(3)))
    assert [notice.qp for notice in desk.commit()] == [77, 1001, 1002]


def test_a_long_envelope_is_not_repeated_in_the_notice(desk: Desk, caller: Caller) -> None:
    many = Envelope(b"", tuple(b"user%d@far.ex" % n for n in range(1000))).pack()
    assert len(many) > NOTICE_ENVELOPE_MAX
    give(desk, caller, Submission(b"M", 1, many, b""))
    assert [notice.envelope for notice in desk.commit()] == [b""]


@pytest.mark.parametrize(
    ("envelope", "code"),
    [(b"F" + b"x" * 1003 + b"\0\0", QueueExit.ADDRESS_TOO_LONG), (b"?", QueueExit.BAD_ENVELOPE)],
)
@pytest.mark.parametrize("in_parts", [False, True])
def test_a_refused_envelope_is_answered_at_once(
    desk: Desk, caller: Caller, tmp_path: Path, envelope: bytes, code: QueueExit, in_parts: bool
) -> None:
    if in_parts:
        give(desk, caller, Submission(b"O", 1), Submission(b"E", 1, envelope))
    else:
        give(desk, caller, Submission(b"M", 1, envelope, b""))
    assert answers(caller) == [(1, code)]
    assert files_of(tmp_path) == set()
    assert caller.open == {}


def test_after_a_refusal_the_rest_of_the_message_is_ignored(
    desk: Desk, caller: Caller, fs: FailingFs
) -> None:
    give(desk, caller, Submission(b"O", 1))
    fs.refuse("write", errno.ENOSPC)
    give(desk, caller, Submission(b"C", 1, data=b"x"))
    fs.allow("write")
    give(desk, caller, Submission(b"C", 1, data=b"y"), Submission(b"E", 1, ENVELOPE))
    assert answers(caller) == [(1, QueueExit.WRITE_ERROR)]
    assert not desk.has_work
    give(desk, caller, Submission(b"M", 1, ENVELOPE, b"the tag is free again"))
    assert desk.has_work


def test_a_full_disk_is_answered_and_the_next_message_is_taken(
    desk: Desk, caller: Caller, fs: FailingFs
) -> None:
    fs.refuse("create_unnamed", errno.ENOSPC)
    give(desk, caller, Submission(b"M", 1, ENVELOPE, b""))
    fs.allow("create_unnamed")
    give(desk, caller, Submission(b"M", 2, ENVELOPE, b""))
    desk.commit()
    assert answers(caller) == [(1, QueueExit.NO_PID), (2, 0)]


def test_a_commit_that_fails_is_answered_with_its_code(
    desk: Desk, caller: Caller, fs: FailingFs
) -> None:
    give(desk, caller, Submission(b"M", 1, ENVELOPE, b""))
    fs.refuse("sync", errno.EIO)
    assert desk.commit() == []
    assert answers(caller) == [(1, QueueExit.WRITE_ERROR)]


def test_a_tag_in_use_ends_the_connection(desk: Desk, caller: Caller) -> None:
    give(desk, caller, Submission(b"O", 1))
    for kind in (b"O", b"M"):
        with pytest.raises(FrameError):
            give(desk, caller, Submission(kind, 1, ENVELOPE))


def test_one_caller_has_a_limit_of_unfinished_messages(
    desk: Desk, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_desk, "OPEN_MAX", 3)
    give(desk, caller, *(Submission(b"O", tag) for tag in range(4)))
    assert answers(caller) == [(3, QueueExit.DEFERRED)]
    give(desk, caller, Submission(b"X", 0), Submission(b"O", 4))
    assert answers(caller) == []
    desk.leave(caller)


def test_queue_12_what_takes_longer_than_a_day_is_given_up(
    desk: Desk, caller: Caller, clock: FakeClock, tmp_path: Path
) -> None:
    give(desk, caller, Submission(b"O", 1))
    clock.time += 86000
    give(desk, caller, Submission(b"O", 2))
    clock.time += 401
    desk.expire(iter([caller]))
    assert answers(caller) == [(1, QueueExit.TIMEOUT)]
    assert list(caller.open) == [2]
    desk.leave(caller)
    assert files_of(tmp_path) == set()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    frames=st.lists(
        st.one_of(
            st.binary(max_size=20),
            st.builds(
                lambda kind, tag, envelope: Submission(kind, tag, envelope, b"x").pack()[:-1],
                st.sampled_from([b"M", b"O", b"C", b"E", b"X"]),
                st.integers(0, 2),
                st.sampled_from([ENVELOPE, b"", b"Fx\0\0"]),
            ).map(lambda frame: frame.partition(b":")[2]),
        ),
        max_size=8,
    )
)
def test_no_frame_raises_anything_but_frame_error_and_nothing_is_left_behind(
    desk: Desk, tmp_path: Path, frames: list[bytes]
) -> None:
    caller = Caller(5, 77)
    for frame in frames:
        try:
            desk.take(caller, frame)
        except FrameError:
            break
    desk.leave(caller)
    while desk.has_work:
        for notice in desk.commit():
            (tmp_path / LAYOUT.todo(notice.message)).unlink()
            (tmp_path / LAYOUT.mess(notice.message)).unlink()
    assert files_of(tmp_path) == set()


# --- ids ----------------------------------------------------------------------------------------


def head_of(folder: Path, number: int) -> bytes:
    return (folder / LAYOUT.mess(number)).read_bytes()


def test_logs_a_message_without_an_id_gets_one_behind_the_date(
    desk: Desk, caller: Caller, tmp_path: Path
) -> None:
    give(desk, caller, Submission(b"M", 1, ENVELOPE, b"Message-ID: <a@b>\n\nx\n"))
    (notice,) = desk.commit()
    head = head_of(tmp_path, notice.message)
    assert re.match(
        rb"Received: \(qmail 77 invoked by uid 5\); \d+ \w+ \d+ [\d:]+ -0000 \(id ", head
    )
    assert id_of_message(head) == notice.trace_id != b""
    assert trace_id_of((tmp_path / LAYOUT.todo(notice.message)).read_bytes().split(b"\0")[1]) == (
        notice.trace_id
    )
    _, fields = split_line(desk.log[0])
    assert fields["event"] == b"queued"
    assert (fields["id"], fields["message_id"]) == (notice.trace_id, b"<a@b>")


def test_logs_only_some_callers_may_name_a_message(desk: Desk, tmp_path: Path) -> None:
    for uid, kind in ((7, b"M"), (7, b"O"), (5, b"M"), (5, b"O")):
        caller = Caller(uid, 70)
        give(desk, caller, Submission(kind, 1, ENVELOPE, b"x\n", b"chosen1"))
        if kind == b"O":
            give(desk, caller, Submission(b"E", 1, ENVELOPE))
        (notice,) = desk.commit()
        assert (notice.trace_id == b"chosen1") is (uid == 7)
        assert (b"(id " in head_of(tmp_path, notice.message)) is (uid == 5)
        assert Receipt.unpack(FrameReader(4096).feed(caller.answers[0])[0]).trace_id == (
            notice.trace_id
        )


@pytest.mark.parametrize("wrong", [b"", b"UPPER", b"a b", b"x\n", b"a" * 21, b"\xff"])
def test_logs_what_is_no_id_is_replaced(desk: Desk, wrong: bytes) -> None:
    give(desk, Caller(7, 70), Submission(b"M", 1, ENVELOPE, b"x\n", wrong))
    (notice,) = desk.commit()
    assert notice.trace_id != wrong
    assert is_trace_id(notice.trace_id)


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"Message-ID: <1@x>\n\n", b"<1@x>"),
        (b"A: b\nmessage-id:<1@x>\nC: d\n\n", b"<1@x>"),
        (b"Message-Id:\n <1@x>\n\n", b"<1@x>"),
        (b"A: b\n\nMessage-ID: <body@x>\n", b""),
        (b"X-Message-ID: <1@x>\n\n", b""),
        (b"Message-ID: " + b"a" * 999 + b"\n\n", b"a" * 250),
        (b"", b""),
    ],
)
def test_logs_message_id_comes_from_the_header_and_is_bounded(head: bytes, found: bytes) -> None:
    assert message_id_of(head) == found
