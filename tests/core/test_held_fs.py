"""Root in folders of others: no link leads it anywhere, and it gives nothing away."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from qmail.core.held_fs import FOLDERS_OPEN_MAX, HeldFs, Ownership

ME = Ownership(os.getuid(), os.getgid(), 0o640)


@pytest.fixture
def fs(tmp_path: Path) -> Iterator[HeldFs]:
    (tmp_path / "queue/mess/1").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"of somebody else")
    found = HeldFs(str(tmp_path / "queue"), lambda _path: ME, ())
    yield found
    found.release()


def test_a_new_file_gets_the_owner_and_mode_of_its_place(fs: HeldFs, tmp_path: Path) -> None:
    fs.close(fs.create("mess/1/7", 0o777))
    found = (tmp_path / "queue/mess/1/7").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == ME


def test_a_file_that_is_a_link_is_not_opened(fs: HeldFs, tmp_path: Path) -> None:
    (tmp_path / "queue/mess/1/7").symlink_to(tmp_path / "secret")
    for work in (
        lambda: fs.read("mess/1/7", 100),
        lambda: list(fs.parts("mess/1/7")),
        lambda: fs.reuse("mess/1/7"),
        lambda: fs.open_append("mess/1/7"),
        lambda: fs.set_mtime("mess/1/7", 5),
        lambda: fs.overwrite("mess/1/7", 0, b"D"),
        lambda: fs.repair_owner("mess/1/7"),
        lambda: fs.resize("mess/1/7", 0),
    ):
        with pytest.raises(OSError, match="symbolic"):
            work()
    assert (tmp_path / "secret").read_bytes() == b"of somebody else"


@pytest.mark.parametrize("step", ["mess", "mess/1"])
def test_a_folder_that_is_a_link_is_not_entered(fs: HeldFs, tmp_path: Path, step: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "1").mkdir(parents=True)
    (elsewhere / "7").write_bytes(b"x")
    (tmp_path / "queue" / step).rename(tmp_path / "old")
    (tmp_path / "queue" / step).symlink_to(elsewhere)
    with pytest.raises(NotADirectoryError):
        fs.read("mess/1/7", 100)
    with pytest.raises(NotADirectoryError):
        fs.create("mess/1/8")
    with pytest.raises(NotADirectoryError):
        fs.rename("mess/1/7", "mess/1/9")
    assert sorted(path.name for path in elsewhere.iterdir()) == ["1", "7"]


def test_a_second_name_of_a_strangers_file_is_neither_read_nor_given_away(
    fs: HeldFs, tmp_path: Path
) -> None:
    os.link(tmp_path / "secret", tmp_path / "queue/mess/1/7")
    before = (tmp_path / "secret").stat()
    with pytest.raises(PermissionError):
        fs.read("mess/1/7", 100)
    with pytest.raises(PermissionError):
        fs.repair_owner("mess/1/7")
    after = (tmp_path / "secret").stat()
    assert (after.st_uid, after.st_mode) == (before.st_uid, before.st_mode)
    fs.rename("mess/1/7", "mess/1/8")
    assert (tmp_path / "secret").exists()


def test_a_second_name_of_the_queues_own_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "todo").mkdir()
    (tmp_path / "todo/7").write_bytes(b"u")
    os.link(tmp_path / "todo/7", tmp_path / "copy")
    fs = HeldFs(str(tmp_path), lambda _path: ME, (os.getuid(),))
    assert fs.read("todo/7", 100) == b"u"
    fs.release()


def test_a_named_pipe_does_not_hold_it_up(fs: HeldFs, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "queue/mess/1/7")
    with pytest.raises(PermissionError):
        fs.read("mess/1/7", 100)


def test_it_makes_no_second_names(fs: HeldFs) -> None:
    fs.close(fs.create("mess/1/7"))
    with pytest.raises(PermissionError):
        fs.link("mess/1/7", "mess/1/8")


def test_a_file_longer_than_the_limit_is_not_read(fs: HeldFs, tmp_path: Path) -> None:
    (tmp_path / "queue/mess/1/7").write_bytes(b"x" * 101)
    with pytest.raises(OSError, match="longer than 100"):
        fs.read("mess/1/7", 100)


def test_few_folders_are_held_open_at_a_time(fs: HeldFs, tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    for index in range(FOLDERS_OPEN_MAX * 2):
        (tmp_path / f"queue/mess/{index}").mkdir(exist_ok=True)
        fs.close(fs.create(f"mess/{index}/7"))
    fs.rename("mess/0/7", f"mess/{FOLDERS_OPEN_MAX}/8")
    assert fs.info(f"mess/{FOLDERS_OPEN_MAX}/8") is not None
    assert len(set(os.listdir("/proc/self/fd")) - before) < FOLDERS_OPEN_MAX * 2
