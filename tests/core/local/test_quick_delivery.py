"""The quick way: maildirs only, a turn at a time (spec/delivery.md 3 and 9)."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from qmail.core.fs import RealFs
from qmail.core.local.maildir_sweep import STALE_S
from qmail.core.local.quick_delivery import QuickDelivery
from qmail.protocol.local_door import Target, Task

MESSAGE = b"Subject: x\n\nbody\n"
LOOPING = b"Delivered-To: joe-list@example.net\n\nbody\n"
Deliver = Callable[..., bytes | None]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    for part in ("Maildir", "Maildir/tmp", "Maildir/new", "Maildir/cur"):
        (tmp_path / part).mkdir()
    return tmp_path


def packed(home: Path, ext: bytes = b"list") -> bytes:
    return Target(b"joe", os.fsencode(home), b"joe-" + ext, b"-", ext, b"example.net").pack()


@pytest.fixture
def quick() -> QuickDelivery:
    return QuickDelivery(b"./Maildir/")


@pytest.fixture
def deliver(home: Path, quick: QuickDelivery) -> Deliver:
    """Delivers one message; returns its report, None where it has to go the slow way."""

    def run(message: bytes = MESSAGE) -> bytes | None:
        fd = os.memfd_create("message")
        os.write(fd, message)
        reports, slow = quick.begin([(Task(1, b"s@t", packed(home)), fd)])
        while not quick.is_idle:
            reports += quick.step()
        os.close(fd)
        if slow:
            assert not reports
            return None
        ((serial, report),) = reports
        assert serial == 1
        return report

    return run


def write(home: Path, text: str) -> None:
    (home / ".qmail-list").write_text(text)
    (home / ".qmail-list").chmod(0o600)


def mail(home: Path, maildir: str = "Maildir") -> list[bytes]:
    assert list((home / maildir / "tmp").iterdir()) == []
    return [file.read_bytes() for file in (home / maildir / "new").iterdir()]


def test_delivery_9_trace_on_top_and_nothing_else_changed(home: Path, deliver: Deliver) -> None:
    write(home, "./Maildir/")
    message = b"X: y\n\nFrom here\nno end"
    assert deliver(message) == b"Kdid 1+0+0\n"
    trace = b"Return-Path: <s@t>\nDelivered-To: joe-list@example.net\n"
    assert mail(home) == [trace + message]


def test_comment_alone_throws_mail_away(home: Path, deliver: Deliver) -> None:
    write(home, "#\n")
    assert deliver() == b"Kdid 0+0+0\n"
    assert mail(home) == []


@pytest.mark.parametrize(
    "text", ["|x\n", "a@b\n", "./Mailbox\n", "./Maildir/\n|x\n", "\n./Maildir/\n", "./M/\n" * 17]
)
def test_what_is_more_than_maildirs_goes_the_slow_way(
    home: Path, deliver: Deliver, text: str
) -> None:
    write(home, text)
    assert deliver() is None
    assert mail(home) == []


IDLE = "|dot-forward .forward\n./Maildir/\n"


def test_dot_forward_without_its_file_costs_no_program(home: Path, deliver: Deliver) -> None:
    write(home, IDLE)
    assert deliver() == b"Kdid 1+0+1\n"
    assert len(mail(home)) == 1
    (home / ".forward").write_text("a@b\n")
    assert deliver() is None
    (home / ".forward").unlink()
    assert deliver() == b"Kdid 1+0+1\n"


@pytest.mark.parametrize(
    "line",
    [
        "|dot-forward .forward .missing",
        "|dot-forward -n .missing",
        "|dot-forward .missing || exit 100",
        "|dot-forward $FILE",
        "|dot-forward",
        "|dot-forward .forward/x",
        "|other .missing",
    ],
)
def test_what_may_do_something_is_run(home: Path, deliver: Deliver, line: str) -> None:
    (home / ".forward").write_text("")
    write(home, f"{line}\n./Maildir/\n")
    assert deliver() is None


def test_delivery_3_a_loop_is_seen_before_any_file_is_looked_for(
    home: Path, deliver: Deliver
) -> None:
    for text in (None, "./Maildir/\n", "./Missing/\n"):
        if text is not None:
            write(home, text)
        report = deliver(LOOPING)
        assert report is not None
        assert report.startswith(b"D")
        assert b"#5.4.6" in report
    (home / ".qmail-list").chmod(0o602)
    report = deliver(LOOPING)
    assert report is not None
    assert b"#5.4.6" in report


def test_delivery_3_the_home_comes_before_the_loop(home: Path, deliver: Deliver) -> None:
    home.chmod(0o1700)
    report = deliver(LOOPING)
    assert report is not None
    assert report.startswith(b"Z")
    assert b"#4.2.1" in report


def test_delivery_4_no_mailbox_bounces(deliver: Deliver) -> None:
    report = deliver()
    assert report is not None
    assert report.startswith(b"D")
    assert b"#5.1.1" in report


def test_second_maildir_that_fails_takes_the_first_copy_back(home: Path, deliver: Deliver) -> None:
    write(home, "./Maildir/\n./Other/\n")
    (home / "Other").mkdir()
    (home / "Other" / "tmp").mkdir()
    (home / "Other" / "new").mkdir()
    assert deliver() == b"Kdid 2+0+0\n"
    (home / "Other" / "tmp").rmdir()
    report = deliver()
    assert report is not None
    assert report.startswith(b"ZUnable to deliver to ./Other/")
    assert len(mail(home)) == 1


def test_delivery_9_what_crashes_left_goes_when_the_process_ends(
    home: Path, deliver: Deliver, quick: QuickDelivery
) -> None:
    write(home, "./Maildir/\n")
    deliver()
    stale = home / "Maildir" / "tmp" / "1.left.behind"
    stale.touch()
    quick.tidy(stale.stat().st_ctime + STALE_S - 1)
    assert stale.exists()
    quick.tidy(stale.stat().st_ctime + STALE_S + 1)
    assert not stale.exists()


def test_look_says_whether_there_is_a_mailbox(home: Path, quick: QuickDelivery) -> None:
    assert quick.look(packed(home))[:1] == b"D"
    write(home, "|x\n")
    assert quick.look(packed(home)) == b"K"
    home.chmod(0o1700)
    assert quick.look(packed(home))[:1] == b"Z"
    assert quick.look(b"nonsense")[:1] == b"Z"


def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note what is synced from here on."""
    done: list[str] = []

    def fsync(fd: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file")

    monkeypatch.setattr(RealFs, "fsync", staticmethod(fsync))
    monkeypatch.setattr(RealFs, "sync", lambda _fs: done.append("everything"))
    return done


def given(quick: QuickDelivery, home: Path, *serials: int) -> list[tuple[int, bytes]]:
    """Begin deliveries in one turn; return what is reported at once."""
    fd = os.memfd_create("message")
    os.write(fd, MESSAGE)
    write(home, "./Maildir/\n")
    reports, slow = quick.begin([(Task(n, b"s@t", packed(home)), fd) for n in serials])
    os.close(fd)
    assert not slow
    return reports


def test_delivery_without_company_syncs_its_file_and_folder_and_is_done_at_once(
    home: Path, quick: QuickDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = synced(monkeypatch)
    assert given(quick, home, 1) == [(1, b"Kdid 1+0+0\n")]
    assert quick.is_idle
    assert done == ["file", "folder"]
    assert len(list((home / "Maildir/new").iterdir())) == 1


def test_deliveries_of_one_turn_share_their_syncs_and_so_does_who_comes_meanwhile(
    home: Path, quick: QuickDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = synced(monkeypatch)
    assert given(quick, home, 1, 2) == []
    assert given(quick, home, 3) == []
    while not quick.is_idle:
        quick.step()
    assert done == ["everything"] * 2
    assert len(list((home / "Maildir/new").iterdir())) == 3


@pytest.mark.parametrize("failing", ["file", "folder"])
def test_failed_sync_of_a_delivery_without_company_puts_it_off_and_leaves_nothing(
    home: Path, quick: QuickDelivery, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fsync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode) is (failing == "folder"):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(RealFs, "fsync", staticmethod(fsync))
    ((_, report),) = given(quick, home, 1)
    assert report.startswith(b"Z")
    assert b"input/output error" in report
    for part in ("tmp", "new"):
        assert list((home / "Maildir" / part).iterdir()) == []
