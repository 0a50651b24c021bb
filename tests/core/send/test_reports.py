"""bounce/N: what qmail-send gathers for the sender (spec/bounces.md 2, spec/queue.md 7.6)."""

import errno
from pathlib import Path

import pytest
from tests.fakes.queue_world import LAYOUT, FailingFs, FakeClock

from qmail.core.queue.engine import EngineError
from qmail.core.queue.read import DiskQueue


@pytest.fixture
def queue(fs: FailingFs) -> DiskQueue:
    return DiskQueue(fs, FakeClock(), LAYOUT)


def test_bounces_2_reports_gather_in_bounce(queue: DiskQueue, tmp_path: Path) -> None:
    assert queue.reports(7) is None
    queue.blame(7, b"<a>:\nno\n\n")
    queue.blame(7, b"<b>:\nno\n\n")
    assert queue.reports(7) == b"bounce/7"
    assert (tmp_path / "bounce/7").read_bytes() == b"<a>:\nno\n\n<b>:\nno\n\n"
    assert (tmp_path / "bounce/7").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("torn", [b"", b"<a>:\nn", b"<a>:\nno\n", b"<a>:\nno\n\n"])
def test_a_paragraph_that_a_power_cut_tore_hides_none_after_it(
    queue: DiskQueue, tmp_path: Path, torn: bytes
) -> None:
    (tmp_path / "bounce/7").write_bytes(torn)
    queue.blame(7, b"<b>:\nno\n\n")
    queue.blame(7, b"<c>:\nno\n\n")
    text = (tmp_path / "bounce/7").read_bytes()
    assert text.startswith(torn)
    assert text.split(b"\n\n")[-3:] == [b"<b>:\nno", b"<c>:\nno", b""]
    assert b"\n\n\n" not in text


def test_a_full_disk_may_have_written_half_a_paragraph(
    queue: DiskQueue, fs: FailingFs, tmp_path: Path
) -> None:
    queue.blame(7, b"<a>:\nno\n\n")
    fs.refuse("write", errno.ENOSPC)
    with pytest.raises(EngineError):
        queue.blame(7, b"<b>:\nno\n\n")
    fs.allow("write")
    (tmp_path / "bounce/7").write_bytes(b"<a>:\nno\n\n<b>:\nn")
    queue.blame(7, b"<c>:\nno\n\n")
    assert (tmp_path / "bounce/7").read_bytes() == b"<a>:\nno\n\n<b>:\nn\n\n<c>:\nno\n\n"


def test_an_empty_file_of_reports_is_none(queue: DiskQueue, tmp_path: Path) -> None:
    (tmp_path / "bounce/7").touch()
    assert queue.reports(7) is None


def test_reports_that_cannot_be_written_or_read_are_engine_errors(
    queue: DiskQueue, fs: FailingFs, tmp_path: Path
) -> None:
    queue.blame(7, b"<a>:\nno\n\n")
    fs.refuse("open_append", errno.ENOSPC)
    with pytest.raises(EngineError):
        queue.blame(7, b"<b>:\nno\n\n")
    fs.refuse("info", errno.EIO, "bounce/")
    with pytest.raises(EngineError):
        queue.reports(7)


def test_queue_7_6_the_reports_go_before_the_sender(queue: DiskQueue, fs: FailingFs) -> None:
    queue.blame(7, b"x\n\n")
    fs.log.clear()
    queue.forget(7)
    assert fs.log == ["unlink bounce/7", "unlink info/1/7"]
