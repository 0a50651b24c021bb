"""Delivery to an mbox file (spec/delivery.md 8)."""

import contextlib
import errno
import os
import re
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.core.fs import RealFs
from qmail.core.local.mbox import deliver, quoted

HEAD = b"From a@b Thu Jan 01 00:00:00 1970\nReturn-Path: <a@b>\nDelivered-To: c@d\n"


def no_lock(_fd: int) -> None:
    return None


def quote(message: bytes) -> bytes:
    return b"".join(quoted([message]))


@pytest.mark.parametrize(
    ("message", "stored"),
    [
        (b"", b"\n"),
        (b"x\n", b"x\n\n"),
        (b"x", b"x\n\n"),
        (b"From me\n", b">From me\n\n"),
        (b"a\nFrom me\n>From\n>>From you\n", b"a\n>From me\n>From\n>>>From you\n\n"),
        (b"a From b\nfrom c\nFrom\n", b"a From b\nfrom c\nFrom\n\n"),
        (b">>", b">>\n\n"),
        (b"Fro", b"Fro\n\n"),
        (b"From: a@b\nFrom a\n\nFrom b\n", b"From: a@b\n>From a\n\n>From b\n\n"),
        (b"a\n\n", b"a\n\n\n"),
        (b"a\r\nFrom b\r\n", b"a\r\n>From b\r\n\n"),
    ],
)
def test_from_lines_are_quoted_and_an_empty_line_ends_it(message: bytes, stored: bytes) -> None:
    assert quote(message) == stored


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from([b"F", b"From ", b"rom ", b">", b"\n", b"x", b" ", b"o"]), max_size=30)
)
def test_cuts_change_nothing_and_the_quoting_can_be_undone(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    stored = b"".join(quoted(parts))
    assert stored == quote(whole)
    assert not re.search(rb"(?m)^From ", stored)
    assert re.sub(rb"(?m)^>(>*From )", rb"\1", stored)[:-1].removesuffix(b"\n") in (
        whole.removesuffix(b"\n"),
        whole,
    )


def test_line_of_nothing_but_marks_is_not_held_for_ever() -> None:
    parts = list(quoted([b">" * 65536] * 4))
    assert sum(map(len, parts)) == 4 * 65536 + 2
    assert len(parts) >= 4


def test_two_deliveries_follow_each_other(tmp_path: Path) -> None:
    fs = RealFs(str(tmp_path))
    for body in (b"one\n", b"From two"):
        deliver(fs, "box", head=HEAD, parts=[body], lock=no_lock)
    assert (tmp_path / "box").read_bytes() == HEAD + b"one\n\n" + HEAD + b">From two\n\n"
    assert (tmp_path / "box").stat().st_mode & 0o7777 == 0o600


def test_trouble_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    def parts() -> Iterator[bytes]:
        yield b"x" * 1000
        raise OSError(errno.EIO, "input/output error")

    (tmp_path / "box").write_bytes(b"old\n")
    with pytest.raises(OSError, match="input/output"):
        deliver(RealFs(str(tmp_path)), "box", head=HEAD, parts=parts(), lock=no_lock)
    assert (tmp_path / "box").read_bytes() == b"old\n"


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond 5000 bytes: the write that crosses it is cut, the next one fails.

    Not as a fixture: pytest itself writes before one ends, and that may be to a file.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("old", [b"", b"old\n"])
def test_delivery_8_half_a_message_on_a_full_disk_is_cut_off(tmp_path: Path, old: bytes) -> None:
    (tmp_path / "box").write_bytes(old)
    with pytest.raises(OSError, match="File too large"), full_disk():
        deliver(RealFs(str(tmp_path)), "box", head=HEAD, parts=[b"x" * 9999], lock=no_lock)
    assert (tmp_path / "box").read_bytes() == old


class FailingClose(RealFs):
    """A disk whose first close fails, as that of a file server can; `meanwhile` happens then."""

    def __init__(self, root: str, meanwhile: Callable[[], None]) -> None:
        super().__init__(root)
        self._meanwhile = meanwhile
        self._has_failed = False

    def close(self, fd: int) -> None:
        os.close(fd)
        if not self._has_failed:
            self._has_failed = True
            self._meanwhile()
            raise OSError(errno.EDQUOT, "quota exceeded")


def test_oddities_7_a_failed_close_is_undone_under_a_new_lock(tmp_path: Path) -> None:
    (tmp_path / "box").write_bytes(b"old\n")
    locked: list[int] = []
    fs = FailingClose(str(tmp_path), lambda: None)
    with pytest.raises(OSError, match="quota"):
        deliver(fs, "box", head=HEAD, parts=[b"x\n"], lock=locked.append)
    assert (tmp_path / "box").read_bytes() == b"old\n"
    assert len(locked) == 2


def test_oddities_7_what_others_wrote_after_a_failed_close_is_not_cut_off(tmp_path: Path) -> None:
    def write_more() -> None:
        with open(tmp_path / "box", "ab") as file:
            file.write(b"of somebody else\n")

    fs = FailingClose(str(tmp_path), write_more)
    with pytest.raises(OSError, match="quota"):
        deliver(fs, "box", head=HEAD, parts=[b"x\n"], lock=no_lock)
    assert (tmp_path / "box").read_bytes() == HEAD + b"x\n\nof somebody else\n"


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_oddities_7_a_lock_that_fails_puts_the_mail_off(tmp_path: Path, code: int) -> None:
    def fail(_fd: int) -> None:
        raise OSError(code, "no locks")

    (tmp_path / "box").write_bytes(b"old\n")
    with pytest.raises(OSError, match="no locks"):
        deliver(RealFs(str(tmp_path)), "box", head=HEAD, parts=[b"x\n"], lock=fail)
    assert (tmp_path / "box").read_bytes() == b"old\n"


def test_delivery_8_a_message_begins_where_the_file_ended_when_it_was_locked(
    tmp_path: Path,
) -> None:
    def write_first(_fd: int) -> None:
        with open(tmp_path / "box", "ab") as file:
            file.write(b"written while we waited\n")

    deliver(RealFs(str(tmp_path)), "box", head=HEAD, parts=[b"x\n"], lock=write_first)
    assert (tmp_path / "box").read_bytes() == b"written while we waited\n" + HEAD + b"x\n\n"


def test_failed_sync_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fs = RealFs(str(tmp_path))

    def fail(_fd: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(fs, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        deliver(fs, "box", head=HEAD, parts=[b"x\n"], lock=no_lock)
    assert (tmp_path / "box").read_bytes() == b""


def test_without_a_lock_nothing_is_written(tmp_path: Path) -> None:
    def fail(_fd: int) -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        deliver(RealFs(str(tmp_path)), "box", head=HEAD, parts=[b"x\n"], lock=fail)
    assert (tmp_path / "box").read_bytes() == b""


def test_a_file_that_was_replaced_while_we_waited_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "box").write_bytes(b"old\n")
    (tmp_path / "new").write_bytes(b"old and new\n")

    def wait(_fd: int) -> None:
        if (tmp_path / "new").exists():
            (tmp_path / "new").rename(tmp_path / "box")

    deliver(RealFs(str(tmp_path)), "box", head=HEAD, parts=[b"x\n"], lock=wait)
    assert (tmp_path / "box").read_bytes() == b"old and new\n" + HEAD + b"x\n\n"


def test_a_file_that_is_replaced_again_and_again_is_given_up(tmp_path: Path) -> None:
    def replace(_fd: int) -> None:
        (tmp_path / "new").touch()
        (tmp_path / "new").rename(tmp_path / "box")

    with pytest.raises(TimeoutError):
        deliver(RealFs(str(tmp_path)), "box", head=HEAD, parts=[b"x\n"], lock=replace)
    assert (tmp_path / "box").read_bytes() == b""
