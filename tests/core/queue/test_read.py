"""The queue on disk as qmail-send uses it (spec/queue.md 2, 3, 7)."""

import errno
import os
from pathlib import Path

import pytest
from tests.fakes.queue_world import (
    ENTRY,
    INFO,
    LAYOUT,
    LOCAL,
    LOCAL_FILE,
    RECORDS,
    REMOTE,
    REMOTE_FILE,
    START,
    FailingFs,
    FakeClock,
    arrive,
    files_of,
    keep,
    put,
)

from qmail.core.queue.engine import Act, Arrival, DamagedError, EngineError
from qmail.core.queue.read import DiskQueue
from qmail.mail import Channel

# --- todo -----------------------------------------------------------------------------------------


def test_queue_2_a_todo_entry_is_read_whole(queue: DiskQueue, tmp_path: Path) -> None:
    arrive(tmp_path)
    assert queue.arrival(7) == Arrival(
        7, 7, 5, 77, int(START) - 50, b"joe@a.ex", (b"ann@b.ex", b"bob@c.ex")
    )


def test_an_entry_or_a_message_that_is_gone_is_no_arrival(queue: DiskQueue, tmp_path: Path) -> None:
    assert queue.arrival(7) is None
    put(tmp_path, "todo/7", ENTRY)
    assert queue.arrival(7) is None
    assert queue.notes == []


@pytest.mark.parametrize(
    "records",
    [b"", b"\0", b"u5\0", b"u5\0p7\0", ENTRY[:-1], b"p77\0u5\0Fx\0", ENTRY + b"Xa\0", ENTRY + b"\0",
     b"ux\0p7\0Fa\0", b"u\0p\0Fa\0", b"u1\0p7\0Ta\0"],
)  # fmt: skip
def test_oddities_6_a_malformed_entry_is_told_of_once_and_to_be_parked(
    queue: DiskQueue, tmp_path: Path, records: bytes
) -> None:
    arrive(tmp_path, todo=records)
    for _ in range(3):
        assert list(queue.arrivals()) == []
    (note,) = queue.notes
    assert note == "warning: unknown record type in todo/7"
    assert queue.unreadable() == [7]
    assert "todo/7" in files_of(tmp_path)


def test_oddities_6_arrivals_come_oldest_first_without_those_that_are_known(
    queue: DiskQueue, tmp_path: Path
) -> None:
    for number, age_s in ((12, 50), (3, 70), (7, 100), (100, 20)):
        arrive(tmp_path, number)
        os.utime(tmp_path / LAYOUT.todo(number), (START - age_s, START - age_s))
    (tmp_path / "todo/x1").write_bytes(b"not a message")
    (tmp_path / "todo/007").write_bytes(b"not a message")
    assert [arrival.message for arrival in queue.arrivals({7})] == [3, 12, 100]


@pytest.mark.parametrize("count", [100, 101, 5000])
def test_a_message_to_many_stays_packed(queue: DiskQueue, tmp_path: Path, count: int) -> None:
    addresses = [b"u%d@b.ex" % number for number in range(count)]
    arrive(tmp_path, 7, b"u5\0p9\0Fjoe@a.ex\0" + b"".join(b"T%b\0" % each for each in addresses))
    found = queue.arrival(7)
    assert found is not None
    assert (len(found.recipients), list(found.recipients)) == (count, addresses)
    assert isinstance(found.recipients, tuple) == (count <= 100)
    assert b"u7@b.ex" in found.recipients
    assert b"u7@b.e" not in found.recipients


@pytest.mark.parametrize("broken", [b"Ta@b.ex\0X", b"Ta@b.ex\0\0", b"a@b.ex\0", b"\0"])
def test_queue_7_3_a_record_that_is_no_recipient_makes_the_entry_malformed(
    queue: DiskQueue, tmp_path: Path, broken: bytes
) -> None:
    many = b"".join(b"Tu%d@b.ex\0" % number for number in range(200))
    for recipients in (broken + many, many + broken):
        arrive(tmp_path, 7, b"u5\0p9\0Fjoe@a.ex\0" + recipients)
        assert queue.arrival(7) is None
    assert queue.notes == ["warning: unknown record type in todo/7"]


def test_logging_3_an_entry_that_cannot_be_read_is_a_warning(
    queue: DiskQueue, fs: FailingFs, tmp_path: Path
) -> None:
    arrive(tmp_path)
    fs.refuse("read", errno.EIO, "todo/")
    assert queue.arrival(7) is None
    assert queue.notes[0] == "warning: unable to open todo/7"


# --- keep, claim, settle, close -------------------------------------------------------------------


@pytest.fixture
def synced(fs: FailingFs, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What each commit synced: everything, or one file."""
    done: list[str] = []
    reuse = fs.reuse

    def named(path: str) -> int:
        done.append(path)
        return reuse(path)

    monkeypatch.setattr(fs, "reuse", named)
    monkeypatch.setattr(fs, "sync", lambda: done.append("everything"))
    return done


def test_more_marks_sync_their_file_alone_and_first_ones_everything(
    queue: DiskQueue, tmp_path: Path, synced: list[str]
) -> None:
    keep(queue, tmp_path)
    queue.commit()
    for offset in (0, 10):
        queue.settle(REMOTE, offset)
        queue.commit()
    assert synced == ["everything", "everything", REMOTE_FILE]


def test_marks_beside_any_other_change_sync_everything(
    queue: DiskQueue, tmp_path: Path, synced: list[str]
) -> None:
    keep(queue, tmp_path)
    queue.settle(REMOTE, 0)
    queue.commit()
    queue.settle(REMOTE, 10)
    queue.blame(7, b"<ann@b.ex>:\nno\n\n")
    queue.commit()
    queue.settle(REMOTE, 10)
    queue.close(LOCAL)
    queue.commit()
    assert synced == ["everything"] * 3


def refuse_to_sync(_fd: int) -> None:
    raise OSError(errno.EIO, "input/output error")


def test_failed_sync_of_marks_is_told_and_the_next_commit_syncs_everything(
    queue: DiskQueue, tmp_path: Path, synced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(queue, tmp_path)
    for offset in (0, 10):
        queue.settle(REMOTE, offset)
        if offset:
            monkeypatch.setattr(queue._fs, "fsync", refuse_to_sync)
            with pytest.raises(EngineError):
                queue.commit()
        else:
            queue.commit()
    queue.settle(REMOTE, 10)
    queue.commit()
    assert synced == ["everything", REMOTE_FILE, "everything"]


def test_queue_7_3_info_and_the_channels_are_written_as_qmail_does(
    queue: DiskQueue, tmp_path: Path
) -> None:
    keep(queue, tmp_path)
    assert (tmp_path / INFO).read_bytes() == b"Fjoe@a.ex\0"
    assert (tmp_path / LOCAL_FILE).read_bytes() == b"Tann@b.ex\0"
    assert (tmp_path / REMOTE_FILE).read_bytes() == b"Tbob@c.ex\0Tcyd@d.ex\0"
    assert {(tmp_path / path).stat().st_mode & 0o777 for path in (INFO, LOCAL_FILE)} == {0o600}
    assert (tmp_path / INFO).stat().st_mtime == START - 50


def test_queue_7_3_what_a_crash_left_is_written_anew(queue: DiskQueue, tmp_path: Path) -> None:
    for path in (INFO, LOCAL_FILE, REMOTE_FILE, "bounce/7"):
        put(tmp_path, path, b"old and longer than anything that is written now" * 9)
    arrive(tmp_path)
    found = queue.arrival(7)
    assert found is not None
    queue.keep(found, {Channel.LOCAL: b"Tann@b.ex\0"})
    assert files_of(tmp_path) == {INFO, LOCAL_FILE, "mess/1/7", "todo/7"}
    assert (tmp_path / LOCAL_FILE).read_bytes() == b"Tann@b.ex\0"


@pytest.mark.parametrize("path", ["info/", "local/", "remote/"])
def test_a_message_that_cannot_be_written_down_is_an_engine_error(
    queue: DiskQueue, fs: FailingFs, tmp_path: Path, path: str
) -> None:
    arrive(tmp_path)
    found = queue.arrival(7)
    assert found is not None
    fs.refuse("create", errno.ENOSPC, path)
    with pytest.raises(EngineError):
        queue.keep(found, RECORDS)
    queue.start_over(7)
    assert files_of(tmp_path) == {"mess/1/7", "todo/7"}


def test_queue_7_4_a_pass_reads_sender_records_and_age(
    queue: DiskQueue, clock: FakeClock, tmp_path: Path
) -> None:
    keep(queue, tmp_path)
    clock.time += 100
    claim = queue.claim(REMOTE)
    assert (claim.sender, claim.age_s) == (b"joe@a.ex", 150)
    assert claim.records == b"Tbob@c.ex\0Tcyd@d.ex\0"


def test_queue_7_3_a_message_from_the_future_has_age_0(queue: DiskQueue, tmp_path: Path) -> None:
    keep(queue, tmp_path)
    os.utime(tmp_path / INFO, (START + 999, START + 999))
    assert queue.claim(LOCAL).age_s == 0


def test_queue_2_a_mark_is_one_byte_in_place_and_keeps_the_time(
    queue: DiskQueue, tmp_path: Path
) -> None:
    keep(queue, tmp_path)
    os.utime(tmp_path / REMOTE_FILE, (START + 9, START + 9))
    queue.settle(REMOTE, 10)
    assert (tmp_path / REMOTE_FILE).read_bytes() == b"Tbob@c.ex\0Dcyd@d.ex\0"
    assert (tmp_path / REMOTE_FILE).stat().st_mtime == START + 9


def test_logging_3_a_mark_that_fails_says_what_follows(
    queue: DiskQueue, fs: FailingFs, tmp_path: Path
) -> None:
    keep(queue, tmp_path)
    fs.refuse("overwrite", errno.EIO)
    with pytest.raises(EngineError) as caught:
        queue.settle(REMOTE, 0)
    expected = f"trouble marking {REMOTE_FILE}; message will be delivered twice!"
    assert str(caught.value).startswith(expected)


def test_queue_7_4_closing_tells_whether_the_other_channel_is_done(
    queue: DiskQueue, tmp_path: Path
) -> None:
    keep(queue, tmp_path)
    assert not queue.close(LOCAL)
    assert LOCAL_FILE not in files_of(tmp_path)
    assert not queue.close(LOCAL)
    assert queue.close(REMOTE)
    assert files_of(tmp_path) == {INFO, "mess/1/7"}


def test_logging_3_a_file_that_stays_is_tried_again(
    queue: DiskQueue, fs: FailingFs, tmp_path: Path
) -> None:
    keep(queue, tmp_path)
    fs.refuse("unlink", errno.EACCES)
    for work in (lambda: queue.close(LOCAL), lambda: queue.forget(7)):
        with pytest.raises(EngineError, match=r"^unable to unlink .*; will try again later"):
            work()


@pytest.mark.parametrize("info", [b"", b"F", b"joe@a.ex\0", b"Fjoe@a.ex"])
def test_oddities_6_a_damaged_sender_is_no_claim(
    queue: DiskQueue, tmp_path: Path, info: bytes
) -> None:
    keep(queue, tmp_path)
    put(tmp_path, INFO, info)
    with pytest.raises(DamagedError):
        queue.claim(LOCAL)


def test_oddities_6_cut_records_are_no_claim(queue: DiskQueue, tmp_path: Path) -> None:
    keep(queue, tmp_path)
    put(tmp_path, LOCAL_FILE, b"Tann@b")
    with pytest.raises(DamagedError):
        queue.claim(LOCAL)


def test_logging_3_a_missing_sender_is_tried_again(queue: DiskQueue, tmp_path: Path) -> None:
    keep(queue, tmp_path)
    (tmp_path / INFO).unlink()
    with pytest.raises(EngineError, match=r"^trouble opening .*; will try again later"):
        queue.claim(LOCAL)


# --- the schedule ---------------------------------------------------------------------------------


def test_queue_7_9_a_retry_time_survives_as_the_files_mtime(
    queue: DiskQueue, fs: FailingFs, clock: FakeClock, tmp_path: Path
) -> None:
    keep(queue, tmp_path)
    queue.renew(LOCAL, 400)
    queue.renew(REMOTE, 900)
    assert (tmp_path / LOCAL_FILE).stat().st_mtime == START + 400
    after = DiskQueue(fs, clock, LAYOUT)
    assert list(after.scan()) == []
    assert (after.wait(Channel.LOCAL), after.wait(Channel.REMOTE)) == (400, 900)
    assert after.due(Channel.LOCAL) is None
    clock.time += 400
    assert after.due(Channel.LOCAL) == LOCAL
    assert after.due(Channel.LOCAL) is None
    assert after.wait(Channel.LOCAL) is None


def test_logging_3_a_retry_time_that_cannot_be_kept_is_a_warning(
    queue: DiskQueue, fs: FailingFs, tmp_path: Path
) -> None:
    keep(queue, tmp_path)
    fs.refuse("set_mtime", errno.EPERM)
    queue.renew(LOCAL, 400)
    assert queue.notes == [
        f"warning: unable to utime {LOCAL_FILE}; message will be retried too soon"
    ]
    assert queue.wait(Channel.LOCAL) == 400


def test_queue_7_8_alrm_makes_both_channels_due(queue: DiskQueue, tmp_path: Path) -> None:
    keep(queue, tmp_path)
    queue.renew(LOCAL, 400)
    queue.renew(REMOTE, 900)
    queue.act(Act.RETRY_NOW)
    assert (queue.due(Channel.LOCAL), queue.due(Channel.REMOTE)) == (LOCAL, REMOTE)


# --- the end --------------------------------------------------------------------------------------


def test_a_sync_that_fails_is_an_engine_error(queue: DiskQueue, fs: FailingFs) -> None:
    fs.refuse("sync", errno.EIO)
    with pytest.raises(EngineError):
        queue.commit()


def test_delivery_10_the_body_is_named_by_its_path_below_mess(queue: DiskQueue) -> None:
    assert queue.body(7) == b"1/7"
