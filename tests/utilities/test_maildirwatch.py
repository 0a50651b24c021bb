"""maildirwatch (spec/programs.md 7)."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qmail.core.fs import RealFs
from qmail.core.local.maildir_sweep import STALE_S
from qmail.utilities import maildirwatch

CLEAR = b"\033[;H\033[;J"
FIRST = (
    b"Return-Path: <joe@far.ex>\nDelivered-To: ann@dh.ex\nDelivered-To: ann-list@dh.ex\n"
    b"Subject: lunch\n\nAt noon?\nThere?\n"
)
SHOWN = b"\033[1mFROM <joe@far.ex> TO <ann@dh.ex>\033[0m\nlunch/At noon?/There?/\n\n"


class LookedAwayError(Exception):
    """Nobody looks any more."""


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    for folder in ("tmp", "new", "cur"):
        (tmp_path / folder).mkdir()
    return tmp_path


def screens(maildir: Path, *between: tuple[str, bytes]) -> list[bytes]:
    """Watch; during each pause one message more arrives. Returns what was shown."""
    shown: list[bytes] = []
    arriving = iter(between)

    def pause() -> None:
        arrived = next(arriving, None)
        if arrived is None:
            raise LookedAwayError
        put(maildir, *arrived)

    with pytest.raises(LookedAwayError):
        maildirwatch.watch(RealFs(str(maildir)), shown.append, pause)
    return shown


def put(maildir: Path, path: str, text: bytes, when: float = 0) -> None:
    (maildir / path).write_bytes(text)
    os.utime(maildir / path, (when, when))


def test_each_look_shows_what_is_new_then(maildir: Path) -> None:
    assert screens(maildir, ("new/1", FIRST)) == [CLEAR, CLEAR + SHOWN]


def test_what_was_seen_is_not_shown(maildir: Path) -> None:
    put(maildir, "cur/1:2,S", FIRST)
    assert screens(maildir) == [CLEAR]


def test_the_oldest_comes_first(maildir: Path) -> None:
    for name, when in (("b", 1.0), ("a", 2.0)):
        put(maildir, f"new/{name}", b"Subject: " + name.encode() + b"\n\n", when)
    (screen,) = screens(maildir)
    assert screen.index(b"\nb/") < screen.index(b"\na/")


def test_nothing_in_a_message_moves_the_cursor_or_fills_the_screen(maildir: Path) -> None:
    put(
        maildir,
        "new/1",
        b"Return-Path: <\033[2J\xff>\nDelivered-To: \a\nSubject: \033]0;\a\n\n" + b"x\n" * 1000,
    )
    (screen,) = screens(maildir)
    head, text, *rest = screen.removeprefix(CLEAR).split(b"\n")
    assert head == b"\033[1mFROM <_[2J_> TO <_>\033[0m"
    assert text == (b"/]0;//" + b"x/" * 1000)[:158]
    assert rest == [b"", b""]


def test_a_message_that_a_reader_takes_meanwhile_is_left_out(
    maildir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(maildir, "new/1", FIRST)
    put(maildir, "new/2", FIRST, 1)

    def gone(fs: RealFs, path: str) -> Iterator[bytes]:
        if path == "new/2":
            (maildir / path).unlink()
        return parts(fs, path)

    parts = RealFs.parts
    monkeypatch.setattr(RealFs, "parts", gone)
    assert screens(maildir) == [CLEAR + SHOWN]


def test_old_leftovers_of_deliveries_go(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(maildir, "tmp/1", b"x")
    later = time.time() + STALE_S + 60
    monkeypatch.setattr(time, "time", lambda: later)
    screens(maildir)
    assert not (maildir / "tmp/1").exists()


# --- the command --------------------------------------------------------------------------------


def test_it_looks_again_after_half_a_minute_until_interrupted(
    maildir: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    put(maildir, "new/1", FIRST)
    pauses: list[float] = []

    def interrupt(pause_s: float) -> None:
        pauses.append(pause_s)
        if len(pauses) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    monkeypatch.setenv("MAILDIR", str(maildir))
    assert maildirwatch.main([]) == 0
    assert pauses == [30, 30]
    assert capfdbinary.readouterr().out == (CLEAR + SHOWN) * 2


def test_no_maildir_ends_with_111(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MAILDIR", raising=False)
    assert maildirwatch.main([]) == 111
    assert capsys.readouterr().err == "maildirwatch: fatal: MAILDIR not set\n"
    for folder in ("none", "."):
        monkeypatch.setenv("MAILDIR", str(tmp_path / folder))
        assert maildirwatch.main([]) == 111
        assert "no such file or directory" in capsys.readouterr().err


def test_it_takes_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert maildirwatch.main(["x"]) == 100
    assert "usage" in capsys.readouterr().err
