"""From a maildir to an mbox file: the lines, and that no power cut loses a message."""

import contextlib
import errno
from collections.abc import Iterator

import pytest
from tests.sim.power import Choice, Power, PowerCut, Torn
from tests.sim.simfs import SimFs

from qmail.core.local.mbox_filling import Mailbox, fill, sender_of

OLD = b"From a@b Thu Jan 01 00:00:00 1970\n\nold\n\n"
MESSAGES = {
    "new/1": (200.0, b"Return-Path: <joe@far.ex>\nDelivered-To: x@y\n\nFrom here\n>From there"),
    "new/2": (100.0, b"Return-Path: <>\n\nbounce\n"),
    "cur/3:2,S": (300.0, b"Subject: x\n\nno sender\n"),
}
FILLED = (
    b"From MAILER-DAEMON Thu Jan 01 00:01:40 1970\nReturn-Path: <>\n\nbounce\n\n"
    b"From joe@far.ex Thu Jan 01 00:03:20 1970\nReturn-Path: <joe@far.ex>\nDelivered-To: x@y\n\n"
    b">From here\n>>From there\n\n"
    b"From " + b"X" * 3 + b" Thu Jan 01 00:05:00 1970\nSubject: x\n\nno sender\n\n"
)


class World:
    """A mailbox and a maildir, each on a disk of its own, with one plug."""

    def __init__(self, old: bytes | None = OLD) -> None:
        self.power = Power()
        self.home = SimFs(self.power)
        self.maildir = SimFs(self.power)
        for folder in ("tmp", "new", "cur"):
            self.maildir.make_folder(folder)
        for path, (when, text) in MESSAGES.items():
            put(self.maildir, path, text)
            self.maildir.set_mtime(path, when)
        if old is not None:
            put(self.home, "box", old)
        self.home.sync()
        self.maildir.sync()

    def fill(self) -> list[str]:
        return fill(Mailbox(self.home, "box", "box.new"), self.maildir, lambda _fd: None)

    @property
    def box(self) -> bytes | None:
        return self.home.files().get("box")


def put(fs: SimFs, path: str, text: bytes) -> None:
    fd = fs.create(path)
    fs.write(fd, text)
    fs.close(fd)


def choices(disk: SimFs) -> Iterator[Choice]:
    for names in range(disk.waiting + 1):
        for torn in Torn:
            yield Choice(names, torn)


def operations(old: bytes | None) -> range:
    world = World(old)
    start = world.power.count
    world.fill()
    return range(world.power.count - start + 1)


# --- what is written ----------------------------------------------------------------------------


def test_messages_go_to_the_end_of_the_mailbox_the_oldest_first() -> None:
    world = World()
    assert world.fill() == []
    assert world.home.files() == {"box": OLD + FILLED}
    assert world.maildir.files() == {}
    assert world.home.is_clean


def test_a_mailbox_that_is_not_there_is_made() -> None:
    world = World(None)
    world.fill()
    assert world.home.files() == {"box": FILLED}


def test_a_mailbox_that_ends_inside_a_line_gets_the_end_of_that_line() -> None:
    world = World(b"From x\n\ncut o")
    world.fill()
    assert world.box == b"From x\n\ncut o\n\n" + FILLED


def test_an_empty_maildir_leaves_the_mailbox_alone() -> None:
    world = World()
    for path in MESSAGES:
        world.maildir.unlink(path)
    before = world.power.count
    assert world.fill() == []
    assert world.power.count == before


def test_what_a_crash_has_left_is_replaced() -> None:
    world = World()
    put(world.home, "box.new", b"half of some")
    world.fill()
    assert world.home.files() == {"box": OLD + FILLED}


@pytest.mark.parametrize(
    ("first", "sender"),
    [
        (b"Return-Path: <a@b>\nX: y\n", b"a@b"),
        (b"Return-Path: <>\n", b""),
        (b'Return-Path: <"a b"@c>', b'"a b"@c'),
        (b"Return-Path: a@b\n", b"X" * 3),
        (b"Return-Path: <a@b> \n", b"X" * 3),
        (b"return-path: <a@b>\n", b"X" * 3),
        (b"X: y\nReturn-Path: <a@b>\n", b"X" * 3),
        (b"", b"X" * 3),
    ],
)
def test_the_first_line_names_the_sender_or_nobody_does(first: bytes, sender: bytes) -> None:
    assert sender_of(first) == sender


# --- readers and trouble ------------------------------------------------------------------------


def test_a_message_that_a_reader_moves_meanwhile_is_left_for_the_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    parts = world.maildir.parts

    def moving(path: str) -> Iterator[bytes]:
        if path == "new/1":
            world.maildir.rename(path, "cur/1:2,S")
        return parts(path)

    monkeypatch.setattr(world.maildir, "parts", moving)
    assert world.fill() == []
    assert sorted(world.maildir.files()) == ["cur/1:2,S"]
    monkeypatch.undo()
    assert world.fill() == []
    assert world.box is not None
    assert world.box.count(b"\nReturn-Path: <joe@far.ex>\n") == 1


def test_a_message_that_can_not_be_removed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    unlink = world.maildir.unlink

    def refuse(path: str) -> None:
        if path == "new/2":
            raise PermissionError(errno.EPERM, "not permitted", path)
        unlink(path)

    monkeypatch.setattr(world.maildir, "unlink", refuse)
    assert world.fill() == ["new/2"]
    assert sorted(world.maildir.files()) == ["new/2"]
    assert world.box == OLD + FILLED


def test_another_mover_at_work_before_us_has_left_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()

    def first_the_other(_fd: int) -> None:
        if world.maildir.files():
            world.fill()

    fill(Mailbox(world.home, "box", "box.new"), world.maildir, first_the_other)
    assert world.home.files() == {"box": OLD + FILLED}


def test_the_new_file_is_locked_before_it_has_the_name() -> None:
    world = World()
    locked: list[bool] = []

    def lock(fd: int) -> None:
        inode = world.home.info("box")
        assert inode is not None
        locked.append(world.home.info_of(fd).inode == inode.inode)

    fill(Mailbox(world.home, "box", "box.new"), world.maildir, lock)
    assert locked == [True, False]


@pytest.mark.parametrize("failing", [1, 2])
def test_without_a_lock_nothing_changes(failing: int) -> None:
    world = World()
    locks = 0

    def lock(_fd: int) -> None:
        nonlocal locks
        locks += 1
        if locks == failing:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        fill(Mailbox(world.home, "box", "box.new"), world.maildir, lock)
    assert world.home.files() == {"box": OLD}
    assert world.maildir.files().keys() == MESSAGES.keys()


@pytest.mark.parametrize("number", range(6))
def test_a_full_disk_changes_nothing(number: int) -> None:
    world = World()
    world.home.fail_write = world.home.writes + number
    with pytest.raises(OSError, match="No space left"):
        world.fill()
    assert world.home.files() == {"box": OLD}
    assert world.maildir.files().keys() == MESSAGES.keys()


@pytest.mark.parametrize("number", [0, 1])
def test_a_failed_sync_keeps_the_messages_where_they_are(number: int) -> None:
    world = World()
    world.home.fail_sync = world.home.syncs + number
    with pytest.raises(OSError, match="Input/output"):
        world.fill()
    assert "box.new" not in world.home.files()
    assert world.maildir.files().keys() == MESSAGES.keys()


# --- power --------------------------------------------------------------------------------------


def survey(old: bytes | None) -> int:
    """Cut the power everywhere, look at all that may be left. Returns how often it was cut."""
    cuts = 0
    for step in operations(old):
        world = World(old)
        world.power.cut_at = world.power.count + step
        try:
            world.fill()
        except PowerCut:
            cuts += 1
        for home_choice in choices(world.home):
            home = world.home.after_power_cut(home_choice)
            for names in range(world.maildir.waiting + 1):
                maildir = world.maildir.after_power_cut(Choice(names))
                check(home.files().get("box"), maildir.files(), old)
    return cuts


def check(box: bytes | None, stored: dict[str, bytes], old: bytes | None) -> None:
    """Every message is in the mailbox or still in the maildir, and what was there is there."""
    if box == (old or b"") + FILLED:
        return
    assert box in ((None, b"") if old is None else (old,))
    assert stored == {path: text for path, (_, text) in MESSAGES.items()}


@pytest.mark.parametrize("old", [OLD, None])
def test_a_power_cut_at_any_operation_loses_no_message(old: bytes | None) -> None:
    assert survey(old) > 10


@pytest.mark.parametrize("call", ["sync", "fsync"])
def test_the_survey_sees_what_a_missing_sync_would_lose(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = getattr(SimFs, call)

    def skip(fs: SimFs, *fd: int) -> None:
        if fs.files().get("box", b"").endswith(FILLED) or fd:
            return
        real(fs)

    monkeypatch.setattr(SimFs, call, skip)
    with pytest.raises(AssertionError):
        survey(OLD)


@pytest.mark.parametrize("old", [OLD, None])
def test_after_a_power_cut_it_can_be_done_again(old: bytes | None) -> None:
    for step in operations(old):
        world = World(old)
        world.power.cut_at = world.power.count + step
        with contextlib.suppress(PowerCut):
            world.fill()
        again = World(old)
        again.home = world.home.after_power_cut(Choice(world.home.waiting, Torn.HALF))
        again.maildir = world.maildir.after_power_cut(Choice())
        assert again.fill() == []
        assert again.maildir.files() == {}
        assert "box.new" not in again.home.files()
        assert again.box in ((old or b"") + FILLED, (old or b"") + FILLED * 2)
