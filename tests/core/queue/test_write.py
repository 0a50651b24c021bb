"""New messages: steps, exit codes, cleaning up (spec/queue.md 3 to 5)."""

import errno
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.queue_world import LAYOUT, START, FailingFs, FakeClock, files_of

from qmail.core.queue.write import (
    DraftState,
    QueueError,
    QueueWriter,
    check_envelope,
    write_all,
)
from qmail.mail import BadEnvelopeError, Envelope
from qmail.protocol.exits import QueueExit

ENVELOPE = Envelope(b"joe@a.ex", (b"ann@b.ex", b"bob@c.ex")).pack()
RECEIVED = b"Received: (qmail 77 invoked by uid 5); 14 Nov 2023 22:13:20 -0000\n"


@pytest.fixture
def writer(fs: FailingFs) -> QueueWriter:
    return QueueWriter(fs, FakeClock(), LAYOUT)


def put(writer: QueueWriter, text: bytes = b"Subject: x\n\nbody\n") -> int:
    draft = writer.begin(5, 77, b"by uid 5")
    writer.write(draft, text)
    writer.finish(draft, ENVELOPE)
    return draft.number


def refused(code: QueueExit, writer: QueueWriter) -> None:
    with pytest.raises(QueueError) as caught:
        put(writer)
    assert caught.value.code is code


def test_queue_2_mess_and_todo_hold_what_qmails_tools_read(
    writer: QueueWriter, tmp_path: Path
) -> None:
    number = put(writer)
    writer.commit()
    mess, todo = tmp_path / LAYOUT.mess(number), tmp_path / LAYOUT.todo(number)
    assert mess.read_bytes() == RECEIVED + b"Subject: x\n\nbody\n"
    uid, record, envelope = todo.read_bytes().split(b"\0", 2)
    assert uid == b"u5"
    assert re.fullmatch(rb"p77/%d/[0-9a-f]{8}" % mess.stat().st_size, record)
    assert envelope == b"Fjoe@a.ex\0Tann@b.ex\0Tbob@c.ex\0"
    assert files_of(tmp_path) == {LAYOUT.mess(number), LAYOUT.todo(number)}


def test_queue_3_a_messages_number_is_its_inode(writer: QueueWriter, tmp_path: Path) -> None:
    number = put(writer)
    assert (tmp_path / LAYOUT.mess(number)).stat().st_ino == number


def test_design_a_message_is_accepted_after_one_sync_of_everything(
    writer: QueueWriter, tmp_path: Path
) -> None:
    number = put(writer)
    assert writer.has_work
    assert (tmp_path / LAYOUT.todo(number)).exists()
    accepted = writer.commit().accepted
    assert [draft.number for draft in accepted] == [number]
    assert not writer.has_work


def test_queue_5_every_step_is_in_its_order(writer: QueueWriter, fs: FailingFs) -> None:
    number = put(writer)
    writer.commit()
    assert [line for line in fs.log if not line.startswith("write")] == [
        "create_unnamed pid",
        f"unlink pid/spare.{number}.todo",
        f"name {LAYOUT.mess(number)}",
        "create_unnamed pid",
        f"name {LAYOUT.todo(number)}",
        "sync",
    ]


def test_design_messages_that_wait_share_one_sync(writer: QueueWriter, fs: FailingFs) -> None:
    numbers = [put(writer), put(writer), put(writer)]
    assert [draft.number for draft in writer.commit().accepted] == numbers
    assert fs.log.count("sync") == 1


def test_logging_2_the_size_counts_the_received_line(writer: QueueWriter) -> None:
    put(writer, b"x" * 10)
    assert writer.commit().accepted[0].size == len(RECEIVED) + 10


def test_a_message_without_a_byte_still_has_its_received_line(
    writer: QueueWriter, tmp_path: Path
) -> None:
    draft = writer.begin(5, 77, b"by uid 5")
    writer.finish(draft, ENVELOPE)
    assert (tmp_path / LAYOUT.mess(draft.number)).read_bytes() == RECEIVED


def test_queue_4_no_recipient_is_allowed(writer: QueueWriter, tmp_path: Path) -> None:
    draft = writer.begin(5, 77, b"from network")
    writer.finish(draft, b"Fjoe@a.ex\0\0")
    writer.commit()
    assert (tmp_path / LAYOUT.todo(draft.number)).read_bytes().endswith(b"\0Fjoe@a.ex\0")


# --- exit codes and cleaning up (spec/queue.md 4, spec/oddities.md 6) -----------------------------


@pytest.mark.parametrize(
    ("call", "prefix", "code"),
    [
        ("create_unnamed", "pid", QueueExit.NO_PID),
        ("name", "mess/", QueueExit.NO_MESS),
        ("write", "", QueueExit.WRITE_ERROR),
        ("name", "todo/", QueueExit.NO_TODO),
    ],
)
def test_queue_4_each_step_has_its_exit_code_and_leaves_nothing(
    writer: QueueWriter, fs: FailingFs, tmp_path: Path, call: str, prefix: str, code: QueueExit
) -> None:
    fs.refuse(call, errno.ENOSPC, prefix)
    refused(code, writer)
    assert not writer.has_work
    assert files_of(tmp_path) == set()


def test_queue_4_an_envelope_that_cannot_be_made_fails_with_65(
    writer: QueueWriter, fs: FailingFs, tmp_path: Path
) -> None:
    draft = writer.begin(5, 77, b"by uid 5")
    fs.refuse("create_unnamed", errno.ENOSPC, "pid")
    with pytest.raises(QueueError) as caught:
        writer.finish(draft, ENVELOPE)
    assert (caught.value.code, draft.state) == (QueueExit.NO_INTD, DraftState.ENDED)
    assert files_of(tmp_path) == set()
    assert not writer.has_work


@pytest.mark.parametrize(
    ("packed", "code"),
    [
        (b"F" + b"x" * 1003 + b"\0\0", QueueExit.ADDRESS_TOO_LONG),
        (b"F\0T" + b"x" * 1003 + b"\0\0", QueueExit.ADDRESS_TOO_LONG),
        (b"X\0\0", QueueExit.BAD_ENVELOPE),
        (b"Fa\0Ub\0\0", QueueExit.BAD_ENVELOPE),
        (b"Fa\0Tb\0", QueueExit.BAD_ENVELOPE),
        (b"", QueueExit.BAD_ENVELOPE),
    ],
)
def test_oddities_6_exits_11_and_91_clean_up(
    writer: QueueWriter, tmp_path: Path, packed: bytes, code: QueueExit
) -> None:
    draft = writer.begin(5, 77, b"by uid 5")
    writer.write(draft, b"text")
    with pytest.raises(QueueError) as caught:
        writer.finish(draft, packed)
    assert caught.value.code is code
    assert files_of(tmp_path) == set()


def test_a_failed_sync_is_final_for_every_message_that_waited(
    writer: QueueWriter, fs: FailingFs, tmp_path: Path
) -> None:
    first = put(writer)
    second = put(writer)
    fs.refuse("sync", errno.EIO)
    outcome = writer.commit()
    assert outcome.accepted == []
    assert sorted(draft.number for draft in outcome.failed) == sorted((first, second))
    assert {draft.code for draft in outcome.failed} == {QueueExit.WRITE_ERROR}
    assert files_of(tmp_path) == set()
    fs.allow("sync")
    assert writer.commit().accepted == []


def test_a_failed_sync_is_final_for_a_message_that_was_still_coming_in(
    writer: QueueWriter, fs: FailingFs, tmp_path: Path
) -> None:
    """Linux drops what it could not write and reports success the next time."""
    draft = writer.begin(5, 77, b"by uid 5")
    writer.write(draft, b"lost by the sync that fails")
    fs.refuse("sync", errno.EIO)
    writer.commit()
    fs.allow("sync")
    writer.write(draft, b"the rest")
    with pytest.raises(QueueError) as caught:
        writer.finish(draft, ENVELOPE)
    assert caught.value.code is QueueExit.WRITE_ERROR
    assert files_of(tmp_path) == set()
    assert put(writer)


def test_giving_up_twice_does_not_touch_the_next_message_of_that_number(
    writer: QueueWriter, tmp_path: Path
) -> None:
    draft = writer.begin(5, 77, b"by uid 5")
    writer.give_up(draft)
    (tmp_path / LAYOUT.mess(draft.number)).write_bytes(b"another")
    writer.give_up(draft)
    assert files_of(tmp_path) == {LAYOUT.mess(draft.number)}


def test_a_leftover_in_todo_is_replaced(writer: QueueWriter, tmp_path: Path) -> None:
    draft = writer.begin(5, 77, b"by uid 5")
    todo = tmp_path / LAYOUT.todo(draft.number)
    todo.write_bytes(b"of an older message, and longer than ours" * 9)
    writer.finish(draft, ENVELOPE)
    assert todo.read_bytes().startswith(b"u5\0p77/")
    assert todo.stat().st_size < 100


# --- numbers of messages restored from elsewhere (spec/oddities.md 6) -----------------------------


def test_a_number_that_a_restored_message_has_is_not_given_out(
    fs: FailingFs, tmp_path: Path
) -> None:
    restored = 123_456_789
    (tmp_path / LAYOUT.mess(restored)).write_bytes(b"restored")
    writer = QueueWriter(fs, FakeClock(), LAYOUT)
    fs.inodes = [restored, 123_456_790]
    assert put(writer) == 123_456_790
    assert (tmp_path / LAYOUT.mess(restored)).read_bytes() == b"restored"
    assert not any(path.startswith("pid/") for path in files_of(tmp_path))


def test_with_restored_messages_only_the_caller_is_told_to_come_back(
    fs: FailingFs, tmp_path: Path
) -> None:
    restored = 123_456_789
    (tmp_path / LAYOUT.mess(restored)).write_bytes(b"restored")
    writer = QueueWriter(fs, FakeClock(), LAYOUT)
    fs.inodes = [restored] * 100
    refused(QueueExit.NO_MESS, writer)
    assert files_of(tmp_path) == {LAYOUT.mess(restored)}


# --- recovery -------------------------------------------------------------------------------------


def test_recovery_removes_envelopes_without_a_message_and_nothing_else(
    writer: QueueWriter, tmp_path: Path
) -> None:
    kept = put(writer)
    writer.commit()
    for path in (LAYOUT.todo(7), LAYOUT.intd(7), LAYOUT.intd(8), LAYOUT.mess(9), "todo/note"):
        (tmp_path / path).write_bytes(b"")
    assert sorted(writer.recover()) == [7, 8]
    assert files_of(tmp_path) == {
        LAYOUT.mess(kept),
        LAYOUT.todo(kept),
        LAYOUT.mess(9),
        "todo/note",
    }


def test_recovery_keeps_a_message_that_a_lone_writer_puts_in_meanwhile(
    writer: QueueWriter, fs: FailingFs, tmp_path: Path
) -> None:
    def lone_writer() -> None:
        (tmp_path / LAYOUT.mess(5)).write_bytes(b"")
        (tmp_path / LAYOUT.todo(5)).write_bytes(b"u1\0p2\0F\0")

    fs.before_names["todo"] = lone_writer
    assert writer.recover() == []
    assert LAYOUT.todo(5) in files_of(tmp_path)


def test_recovery_does_not_mind_what_qmail_clean_removes_meanwhile(
    writer: QueueWriter, fs: FailingFs, tmp_path: Path
) -> None:
    (tmp_path / LAYOUT.todo(5)).write_bytes(b"u1\0p2\0F\0")
    fs.refuse("unlink", errno.ENOENT, "todo/")
    assert writer.recover() == []


@pytest.mark.parametrize("torn", ["mess", "todo"])
def test_recovery_sets_aside_what_a_power_cut_tore(
    writer: QueueWriter, tmp_path: Path, torn: str
) -> None:
    number = put(writer)
    writer.commit()
    path = tmp_path / (LAYOUT.mess(number) if torn == "mess" else LAYOUT.todo(number))
    path.write_bytes(path.read_bytes()[:-3] + b"\0\0\0")
    assert writer.recover() == []
    assert files_of(tmp_path) == {LAYOUT.mess(number), LAYOUT.intd(number)}


# --- a lone writer --------------------------------------------------------------------------------


def test_write_all_waits_until_the_message_is_accepted(
    writer: QueueWriter, fs: FailingFs, tmp_path: Path
) -> None:
    draft = writer.begin(0, 77, b"by uid 0")
    write_all(writer, draft, [b"one ", b"two\n"], lambda: ENVELOPE)
    assert draft.state is DraftState.ENDED
    assert fs.log.count("sync") == 1
    assert (tmp_path / LAYOUT.mess(draft.number)).read_bytes().endswith(b"\none two\n")


def test_write_all_asks_for_the_envelope_after_the_message(writer: QueueWriter) -> None:
    asked: list[str] = []

    def parts() -> Iterator[bytes]:
        asked.append("message")
        yield b"text"

    def envelope() -> bytes:
        asked.append("envelope")
        return ENVELOPE

    write_all(writer, writer.begin(0, 77, b"by uid 0"), parts(), envelope)
    assert asked == ["message", "envelope"]


def test_write_all_says_what_failed(writer: QueueWriter, fs: FailingFs, tmp_path: Path) -> None:
    draft = writer.begin(0, 77, b"by uid 0")
    fs.refuse("sync", errno.EIO)
    with pytest.raises(QueueError) as caught:
        write_all(writer, draft, [b"x"], lambda: ENVELOPE)
    assert caught.value.code is QueueExit.WRITE_ERROR
    assert files_of(tmp_path) == set()


def test_the_birth_is_the_time_at_which_the_message_began(writer: QueueWriter) -> None:
    assert writer.begin(5, 77, b"by uid 5").birth == int(START)


@given(
    count=st.integers(1, 900),
    broken=st.sampled_from([b"", b"X", b"\0", b"T\0\0", b"T" + b"a" * 1003]),
    at=st.integers(0, 1 << 20),
)
def test_a_long_envelope_is_checked_like_a_short_one(count: int, broken: bytes, at: int) -> None:
    packed = Envelope(b"joe@a.ex", tuple(b"u%d@far.example" % each for each in range(count))).pack()
    at %= len(packed) + 1
    packed = packed[:at] + broken + packed[at:]
    try:
        Envelope.unpack(packed)
        is_good = True
    except BadEnvelopeError:
        is_good = False
    try:
        check_envelope(packed)
    except BadEnvelopeError:
        assert not is_good
    else:
        assert is_good
