"""The lines of qmail-send, to the letter, and their tails (spec/logging.md 2 and 3)."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.fakes.queue_world import LAYOUT, START, FailingFs, FakeClock
from tests.fakes.send_world import World

from qmail.core.queue.engine import EngineError, Ticket
from qmail.core.queue.read import DiskQueue
from qmail.mail import Channel
from qmail.protocol.doors import Report
from qmail.protocol.log_record import record_of
from qmail.protocol.log_tail import split_line

LOCAL = Ticket(7, Channel.LOCAL)
ENTRY = b"u5\0p77\0Fjoe@a.ex\0Tann@b.ex\0"


# --- 2: normal lines ----------------------------------------------------------------------------


def story(world: World) -> list[bytes]:
    """A success, a message that bounces, a double bounce that fails: every normal line."""
    world.send.start()
    world.turn()
    world.arrive(5, b"ann@here.ex", sender=b"a b%\n@far.ex")
    world.report(1, b"Kdid_1+0+0\n")
    world.clean()
    world.arrive(6, b"no@here.ex", b"bob@far.ex")
    for _ in range(2):
        world.clean()
    world.report(2, b"DNo such\nmailbox.\n")
    world.report(3, b"what?")
    world.send.exit_soon()
    world.turn()
    return world.lines


EXPECTED = [
    b"status: local 0/10 remote 0/20",
    b"new msg 5",
    b"info msg 5: bytes 239 from <a_b_/@far.ex> qp 9 uid 5",
    b"starting delivery 1: msg 5 to local ann@here.ex",
    b"status: local 1/10 remote 0/20",
    b"delivery 1: success: did_1+0+0/",
    b"status: local 0/10 remote 0/20",
    b"end msg 5",
    b"new msg 6",
    b"info msg 6: bytes 239 from <joe@a.ex> qp 9 uid 5",
    b"starting delivery 2: msg 6 to local no@here.ex",
    b"status: local 1/10 remote 0/20",
    b"starting delivery 3: msg 6 to remote bob@far.ex",
    b"status: local 1/10 remote 1/20",
    b"delivery 2: failure: No_such/mailbox./",
    b"status: local 0/10 remote 1/20",
    b"delivery 3: report mangled, will defer",
    b"status: local 0/10 remote 0/20",
    b"status: local 0/10 remote 0/20 exitasap",
]


def test_logging_2_the_lines_are_the_originals() -> None:
    assert story(World()) == EXPECTED


def test_logs_with_tails_the_classic_part_is_the_same_and_each_line_has_its_id() -> None:
    world = World()
    world.send.ending.journal.is_detailed = True
    lines = story(world)
    assert [split_line(line)[0] for line in lines] == EXPECTED
    for line in lines:
        record = record_of(line)
        if record["event"] in ("new", "info", "start", "delivery", "end"):
            assert "msg" in record
            # The fake engine's messages from todo have no id; those it looks up have.
            assert record.get("id", f"id{record['msg']}") == f"id{record['msg']}"
    ended = record_of(lines[14])
    assert (ended["result"], ended["channel"], ended["recipient"]) == (
        "failure", "local", "no@here.ex",
    )  # fmt: skip


# --- 3: warnings --------------------------------------------------------------------------------


@pytest.fixture
def queue(fs: FailingFs, tmp_path: Path) -> DiskQueue:
    files = {
        LAYOUT.mess(7): b"message",
        LAYOUT.todo(7): ENTRY,
        LAYOUT.info(7): b"Fjoe@a.ex\0",
        LAYOUT.channel("local", 7): b"Tann@b.ex\0",
        LAYOUT.bounce(7): b"<ann@b.ex>:\nno\n\n",
    }
    for path, data in files.items():
        (tmp_path / path).write_bytes(data)
        os.utime(tmp_path / path, (START, START))
    return DiskQueue(fs, FakeClock(), LAYOUT)


RAISED: dict[str, tuple[str, str, Callable[[DiskQueue], object]]] = {
    f"unable to stat {LAYOUT.channel('remote', 7)}; will try again later": (
        "info", "remote", lambda queue: queue.close(LOCAL),
    ),
    f"unable to unlink {LAYOUT.bounce(7)}; will try again later": (
        "unlink", "bounce", lambda queue: queue.forget(7),
    ),
    f"trouble opening {LAYOUT.channel('local', 7)}; will try again later": (
        "read", "local", lambda queue: queue.claim(LOCAL),
    ),
    f"unable to stat {LAYOUT.bounce(7)}; will try again later": (
        "info", "bounce", lambda queue: queue.reports(7),
    ),
    f"trouble writing to {LAYOUT.bounce(7)}": (
        "open_append", "bounce", lambda queue: queue.blame(7, b"x"),
    ),
    "trouble fsyncing queue": ("sync", "", lambda queue: queue.commit()),
    f"trouble marking {LAYOUT.channel('local', 7)}; message will be delivered twice!": (
        "overwrite", "local", lambda queue: queue.settle(LOCAL, 0),
    ),
}  # fmt: skip
"""Each text of the table that an engine raises: the call that fails, where, and what was done."""


@pytest.mark.parametrize("text", RAISED)
def test_logging_3_a_warning_has_the_originals_text_and_the_reason_a_line_of_its_own(
    queue: DiskQueue, fs: FailingFs, text: str
) -> None:
    call, prefix, work = RAISED[text]
    fs.refuse(call, errno.EIO, prefix)
    with pytest.raises(EngineError) as caught:
        work(queue)
    assert str(caught.value) == text
    assert "Input/output error" in caught.value.why
    world = World()
    world.send.ending.journal.warn(caught.value)
    warning, why = world.turn()
    assert warning == b"warning: " + text.encode()
    assert why.startswith(b"qmail-send: [Errno 5] Input/output error")


def test_logging_3_a_todo_entry_that_cannot_be_read_or_understood(
    queue: DiskQueue, fs: FailingFs, tmp_path: Path
) -> None:
    fs.refuse("read", errno.EIO, "todo")
    assert queue.arrival(7) is None
    assert queue.notes[0] == "warning: unable to open todo/7"
    fs.allow("read")
    queue.notes.clear()
    (tmp_path / "todo/7").write_bytes(b"nonsense\0")
    assert queue.arrival(7) is None
    assert queue.notes[0] == "warning: unknown record type in todo/7"


def test_logging_3_a_time_that_cannot_be_set(queue: DiskQueue, fs: FailingFs) -> None:
    fs.refuse("set_mtime", errno.EIO)
    queue.renew(LOCAL, 400)
    path = LAYOUT.channel("local", 7)
    assert queue.notes == [
        f"warning: unable to utime {path}; message will be retried too soon",
    ]


def test_logging_3_reports_and_orders_that_go_wrong() -> None:
    world = World()
    world.send.reported(Channel.LOCAL, Report(99, b"K"))
    assert world.turn() == [b"warning: internal error: delivery report out of range"]
    world.arrive(7, b"a@here.ex")
    world.report(1, b"K\n")
    assert world.clean(b"!")[-1] == b"warning: qmail-clean unable to clean up done/7"


def test_a_line_feed_in_a_reason_does_not_begin_a_line() -> None:
    world = World()
    world.send.ending.journal.alert("a\nb")
    assert world.turn() == [b"alert: a/b"]
