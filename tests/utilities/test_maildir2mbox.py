"""maildir2mbox, the command (spec/programs.md 7); core/local/test_mbox_filling.py has the rest."""

import fcntl
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.utilities.line_tools import Line

from qmail.core.fs import RealFs
from qmail.core.local import mbox
from qmail.core.local.maildir_sweep import STALE_S
from qmail.edge.children.shell import lock_exclusively
from qmail.utilities import maildir2mbox


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A maildir with one message, and the variables."""
    for folder in ("tmp", "new", "cur"):
        (tmp_path / "Maildir" / folder).mkdir(parents=True)
    put(tmp_path, "new/1", b"Return-Path: <joe@far.ex>\n\nhello\n")
    for name, path in (("MAILDIR", "Maildir"), ("MAIL", "box"), ("MAILTMP", "box.new")):
        monkeypatch.setenv(name, str(tmp_path / path))
    mask = os.umask(0o022)
    yield tmp_path
    os.umask(mask)


def put(home: Path, path: str, text: bytes) -> None:
    (home / "Maildir" / path).write_bytes(text)
    os.utime(home / "Maildir" / path, (0, 0))


MOVED = b"From joe@far.ex Thu Jan 01 00:00:00 1970\nReturn-Path: <joe@far.ex>\n\nhello\n\n"


def test_mail_moves_to_the_end_of_the_mailbox(home: Path) -> None:
    (home / "box").write_bytes(b"old\n")
    assert maildir2mbox.main([]) == 0
    assert (home / "box").read_bytes() == b"old\n" + MOVED
    assert (home / "box").stat().st_mode & 0o7777 == 0o600
    assert not (home / "box.new").exists()
    assert list((home / "Maildir/new").iterdir()) == []


def test_nothing_new_makes_no_mailbox(home: Path) -> None:
    (home / "Maildir/new/1").unlink()
    assert maildir2mbox.main([]) == 0
    assert not (home / "box").exists()


def test_old_leftovers_of_deliveries_go(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(home, "tmp/1", b"x")
    assert maildir2mbox.main([]) == 0
    assert (home / "Maildir/tmp/1").exists()
    later = time.time() + STALE_S + 60
    monkeypatch.setattr(time, "time", lambda: later)
    assert maildir2mbox.main([]) == 0
    assert not (home / "Maildir/tmp/1").exists()


def test_the_file_is_replaced_and_not_a_link_to_it(home: Path) -> None:
    (home / "spool").mkdir()
    (home / "spool/joe").write_bytes(b"old\n")
    (home / "box").symlink_to("spool/joe")
    assert maildir2mbox.main([]) == 0
    assert (home / "box").is_symlink()
    assert (home / "spool/joe").read_bytes() == b"old\n" + MOVED


@pytest.mark.parametrize("name", ["MAILDIR", "MAIL", "MAILTMP"])
def test_a_variable_that_is_not_set_ends_with_111(
    home: Path, name: str, *, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(name)
    assert maildir2mbox.main([]) == 111
    assert capsys.readouterr().err == f"maildir2mbox: fatal: {name} not set\n"
    assert (home / "Maildir/new/1").exists()


def test_a_mailbox_that_is_in_use_is_left_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(maildir2mbox, "LOCK_S_MAX", 0.05)
    with open(home / "box", "wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert maildir2mbox.main([]) == 111
    assert "box is locked by another program" in capsys.readouterr().err
    assert (home / "Maildir/new/1").exists()


@pytest.mark.parametrize("target", ["box", "link", "hard"])
def test_the_new_file_must_not_be_the_mailbox(
    home: Path, target: str, *, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "box").write_bytes(b"old\n")
    (home / "link").symlink_to("box")
    (home / "hard").hardlink_to(home / "box")
    monkeypatch.setenv("MAILTMP", str(home / target))
    assert maildir2mbox.main([]) == 111
    assert "the new file is the mailbox itself" in capsys.readouterr().err
    assert (home / "box").read_bytes() == b"old\n"
    assert (home / "Maildir/new/1").exists()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("MAILDIR", "none", "no such file"),
        ("MAIL", "none/box", "no such file"),
        ("MAIL", ".", "is a directory"),
        ("MAIL", "/dev/null", "not a file that could be replaced"),
        ("MAILTMP", "none/box.new", "no such file"),
        ("MAILTMP", "/dev/shm/none/box.new", "no such file"),
    ],
)
def test_trouble_ends_with_111_and_says_where(
    home: Path,
    name: str,
    *,
    value: str,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(name, str(home / value))
    assert maildir2mbox.main([]) == 111
    said = capsys.readouterr().err
    assert said.startswith("maildir2mbox: fatal: unable to move mail from ")
    assert reason in said
    assert (home / "Maildir/new/1").exists()


def test_the_new_file_must_be_on_the_same_file_system(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = f"/dev/shm/qmail-test-{os.getpid()}"
    if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == home.stat().st_dev:
        pytest.skip("no second file system here")
    monkeypatch.setenv("MAILTMP", other)
    assert maildir2mbox.main([]) == 111
    assert "cross-device" in capsys.readouterr().err
    assert not os.path.exists(other)
    assert (home / "Maildir/new/1").exists()


def test_what_stays_behind_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(maildir2mbox, "fill", lambda *_what: ["new/1"])
    assert maildir2mbox.main([]) == 0
    said = capsys.readouterr().err
    assert said.startswith(f"maildir2mbox: warning: {home}/Maildir/new/1 stays: ")


def test_it_takes_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert maildir2mbox.main(["x"]) == 100
    assert "usage" in capsys.readouterr().err


def test_movers_and_deliveries_at_once_lose_nothing_and_repeat_nothing(
    home: Path, line: Line
) -> None:
    for number in range(2, 101):
        put(home, f"new/{number}", b"Subject: moved\n\n")
    environ = line.environ | {key: os.environ[key] for key in ("MAILDIR", "MAIL", "MAILTMP")}
    command = [str(line.home / "bin/maildir2mbox")]
    movers = [subprocess.Popen(command, env=environ) for _ in range(3)]
    mailbox, delivered = RealFs(str(home)), 0
    # Not for ever: who comes back at once could keep others from the lock.
    while delivered < 300 and (any(mover.poll() is None for mover in movers) or not delivered):
        head = b"From a@b Thu Jan 01 00:00:00 1970\n"
        mbox.deliver(mailbox, "box", head=head, parts=[b"delivered\n"], lock=lock)
        delivered += 1
    assert [mover.wait(60) for mover in movers] == [0, 0, 0]
    text = (home / "box").read_bytes()
    assert text.count(b"\nSubject: moved\n") == 99
    assert text.count(b"\ndelivered\n\n") == delivered
    assert len(re.findall(rb"(?m)^From ", text)) == 100 + delivered
    assert list((home / "Maildir/new").iterdir()) == []


def lock(fd: int) -> None:
    lock_exclusively(fd, 30)


# --- elq, pinq, qail ----------------------------------------------------------------------------

READER = '#!/bin/sh\necho "$@"; cat "$MAIL"\n'


@pytest.mark.parametrize(("name", "reader"), [("elq", "elm"), ("pinq", "pine"), ("qail", "Mail")])
def test_a_reader_finds_the_mail_in_the_mailbox(
    home: Path, name: str, reader: str, *, line: Line
) -> None:
    line.environ |= {key: os.environ[key] for key in ("MAILDIR", "MAIL", "MAILTMP")}
    line.add(reader, READER)
    ended = line.run([name, "-f", "a b"])
    assert (ended.code, ended.out, ended.err) == (0, b"-f a b\n" + MOVED, b"")


def test_without_moved_mail_there_is_no_reader(line: Line) -> None:
    line.add("elm", READER)
    ended = line.run(["elq"], MAIL="/nonexistent")
    assert (ended.code, ended.out) == (111, b"")
    assert ended.err == b"maildir2mbox: fatal: MAILDIR not set\n"


def test_a_reader_that_is_missing_ends_with_100(home: Path, line: Line) -> None:
    line.environ |= {key: os.environ[key] for key in ("MAILDIR", "MAIL", "MAILTMP")}
    ended = line.run(["pinq"], PATH=f"{line.home}/bin:{home}")
    assert ended.code == 100
    assert ended.err == b"pinq: fatal: unable to run pine: no such file or directory\n"
