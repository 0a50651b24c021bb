"""qbiff (spec/programs.md 6)."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.utilities.line_tools import MESSAGE, Line

from qmail.utilities import qbiff

ASKS = 0o720
"""The mode of a terminal whose user wants to hear of mail: `biff y` sets the x bit."""
END = b"no more"


class Terminal(NamedTuple):
    """Both ends of a terminal, and its name below /dev."""

    screen: int
    name: str

    def shown(self) -> bytes:
        """Return what has been written to it."""
        # It may come in pieces; this comes behind it.
        Path(f"/dev/{self.name}").write_bytes(END)
        shown = b""
        while not shown.endswith(END):
            shown += os.read(self.screen, 4096)
        return shown.removesuffix(END)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    screen, slave = os.openpty()
    path = os.ttyname(slave)
    os.chmod(path, ASKS)
    yield Terminal(screen, path.removeprefix("/dev/"))
    os.close(slave)
    os.close(screen)


@pytest.fixture
def logged_in(
    tmp_path: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Ann is logged in at the terminal, and a message for her is on descriptor 0."""
    utmp = tmp_path / "utmp"
    utmp.write_bytes(record(terminal.name))
    monkeypatch.setattr(qbiff, "UTMP", str(utmp))
    for name, value in (("USER", "ann"), ("LOCAL", "ann-x"), ("SENDER", "joe@\033[2Jfar.ex")):
        monkeypatch.setenv(name, value)
    (tmp_path / "message").write_bytes(MESSAGE)
    saved = os.dup(0)
    fd = os.open(tmp_path / "message", os.O_RDONLY)
    os.dup2(fd, 0)
    os.close(fd)
    yield utmp
    os.dup2(saved, 0)
    os.close(saved)


def record(line: str, *, user: str = "ann", kind: int = 7) -> bytes:
    start = struct.pack("@hi32s4s32s", kind, 1, line.encode(), b"", user.encode())
    return start + bytes(qbiff.RECORD_BYTES - len(start))


@pytest.mark.usefixtures("logged_in")
def test_a_user_who_wants_it_is_told(terminal: Terminal) -> None:
    assert qbiff.main([]) == 0
    # The terminal itself makes CR LF of the LF in CR LF.
    shown = terminal.shown().replace(b"\r\r\n", b"\r\n")
    assert shown == b"\r\n\a*** TO <ann-x> FROM <joe@_[2Jfar.ex>\r\n    lunch/At noon?/\r\n"


@pytest.mark.usefixtures("logged_in")
def test_a_terminal_without_the_execute_bit_stays_quiet(terminal: Terminal) -> None:
    os.chmod(f"/dev/{terminal.name}", 0o620)
    assert qbiff.main([]) == 0
    assert terminal.shown() == b""


@pytest.mark.usefixtures("logged_in")
def test_the_terminal_of_somebody_else_stays_quiet(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    assert qbiff.main([]) == 0
    assert terminal.shown() == b""


def test_only_a_terminal_is_written_to(tmp_path: Path, logged_in: Path) -> None:
    (tmp_path / "file").touch(mode=0o700)
    logged_in.write_bytes(record(f"../{tmp_path}/file"[:32]) + record("no/such/line"))
    qbiff.write_to(str(tmp_path / "file"), b"x")
    assert qbiff.main([]) == 0
    assert (tmp_path / "file").read_bytes() == b""


def test_nobody_is_logged_in(line: Line) -> None:
    ended = line.on_file(["qbiff"])
    assert ended == (0, b"", b"")


@pytest.mark.usefixtures("logged_in")
@pytest.mark.parametrize("name", ["USER", "LOCAL", "SENDER"])
def test_it_never_fails_for_want_of_a_variable(
    terminal: Terminal, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(name)
    assert qbiff.main([]) == 0
    assert terminal.shown() == b""


def test_it_never_fails_for_want_of_a_list_of_logins(
    logged_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged_in.unlink()
    assert qbiff.main([]) == 0
    monkeypatch.setattr(qbiff, "UTMP", str(tmp_path))
    assert qbiff.main([]) == 0


def test_only_logins_of_the_user_count() -> None:
    records = (
        record("tty1", user="bob")
        + record("pts/1")
        + record("pts/2", kind=8)
        + record("pts/3", user="anna")
        + record("tty2")
        + b"half a record"
    )
    assert list(qbiff.terminals(records, b"ann")) == ["pts/1", "tty2"]
    assert list(qbiff.terminals(record("tty1", user=""), b"")) == []


@given(st.binary(max_size=1000))
def test_any_bytes_are_a_list_of_logins(records: bytes) -> None:
    assert len(list(qbiff.terminals(records, b"ann"))) <= 2


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (b"", b"    "),
        (b"Subject:   hi  \n\nyou\nthere\n", b"    hi/you/there/"),
        (b"From: x\n\nyou\n", b"    you/"),
        (b"no header", b"    no header/"),
        (b"Subject: " + b"s" * 100 + b"\n\nyou\n", b"    " + b"s" * 74),
        (b"Subject: \xff\x1b[1m\n\n\t\0", b"    //[1m///"),
    ],
)
def test_the_text_is_78_printable_bytes_at_most(message: bytes, text: bytes) -> None:
    assert qbiff.summary(iter([message])) == text
