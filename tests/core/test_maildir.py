"""Maildir delivery: names, the two steps, and what a failed sync does."""

import errno
import os
from pathlib import Path

import pytest

from qmail.core.fs import RealFs
from qmail.core.maildir import Copy, Folder, GroupCommit, NameMaker, deliver, prepare, publish


class TellingFs(RealFs):
    """The real disk, with a list of what was done, and syncs that can fail."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.done: list[str] = []
        self.broken = False

    def sync(self) -> None:
        self.done.append("sync")
        if self.broken:
            raise OSError(errno.EIO, "input/output error")

    def rename(self, old: str, new: str) -> None:
        self.done.append(f"rename {new[:4]}")
        super().rename(old, new)

    def create(self, path: str, mode: int = 0o644) -> int:
        self.done.append(f"create {path[:4]}")
        return super().create(path, mode)


@pytest.fixture
def fs(tmp_path: Path) -> TellingFs:
    for part in ("tmp", "new", "cur"):
        (tmp_path / part).mkdir()
    return TellingFs(str(tmp_path))


def files(fs: TellingFs, folder: str) -> list[bytes]:
    return sorted(fs.read(f"{folder}/{name}", 10**7) for name, _ in fs.names(folder))


def copy_in(fs: TellingFs, name: str) -> Copy:
    return Copy(Folder(fs, 1), name)


def test_bytes_are_synced_before_the_name_and_the_name_before_success(fs: TellingFs) -> None:
    deliver(copy_in(fs, "a"), b"head\n", [b"body\n", b"more\n"])
    assert fs.done == ["create tmp/", "sync", "rename new/", "sync"]
    assert files(fs, "new") == [b"head\nbody\nmore\n"]
    assert files(fs, "tmp") == []


def test_one_sync_serves_the_bytes_of_one_batch_and_the_names_of_the_last(fs: TellingFs) -> None:
    commit = GroupCommit()
    settled = []
    for number in range(5):
        copy = copy_in(fs, str(number))
        prepare(copy, b"x")
        commit.add(number, (copy,))
        settled += [done.ticket for done in commit.step()]
    assert settled == [0, 1, 2, 3]
    settled += [done.ticket for done in commit.step()]
    assert settled == [0, 1, 2, 3, 4]
    assert commit.is_idle
    assert fs.done.count("sync") == 6


def test_file_systems_are_synced_once_each(fs: TellingFs) -> None:
    commit = GroupCommit()
    for number in range(10):
        copy = copy_in(fs, str(number))
        prepare(copy, b"x")
        commit.add(number, (copy,))
    assert commit.step() == []
    assert fs.done.count("sync") == 1
    assert [done.trouble for done in commit.step()] == [None] * 10


def test_failed_sync_of_the_bytes_is_final_for_the_file(fs: TellingFs) -> None:
    commit = GroupCommit()
    copy = copy_in(fs, "a")
    prepare(copy, b"x")
    commit.add(7, (copy,))
    fs.broken = True
    (settled,) = commit.step()
    assert settled.ticket == 7
    assert settled.trouble is not None
    assert files(fs, "tmp") == files(fs, "new") == []
    assert commit.is_idle


def test_failed_sync_of_the_name_takes_the_file_back(fs: TellingFs) -> None:
    commit = GroupCommit()
    copy = copy_in(fs, "a")
    prepare(copy, b"x")
    commit.add(7, (copy,))
    assert commit.step() == []
    fs.broken = True
    (settled,) = commit.step()
    assert settled.trouble is not None
    assert files(fs, "new") == []


def test_failed_name_does_not_touch_the_others(fs: TellingFs, tmp_path: Path) -> None:
    commit = GroupCommit()
    for number, name in enumerate(("a", "b")):
        copy = copy_in(fs, name)
        prepare(copy, name.encode())
        commit.add(number, (copy,))
    (tmp_path / "tmp" / "a").unlink()
    (settled,) = commit.step()
    assert settled.ticket == 0
    (settled,) = commit.step()
    assert (settled.ticket, settled.trouble) == (1, None)
    assert files(fs, "new") == [b"b"]


def test_message_that_can_not_be_read_to_its_end_leaves_nothing(fs: TellingFs) -> None:
    def parts() -> "list[bytes]":
        raise OSError(errno.EIO, "input/output error")

    class Broken:
        def __iter__(self) -> "Broken":
            return self

        def __next__(self) -> bytes:
            return parts()[0]

    with pytest.raises(OSError, match="input/output"):
        prepare(copy_in(fs, "a"), b"head", Broken())
    assert files(fs, "tmp") == []


def test_taken_name_is_not_overwritten(fs: TellingFs) -> None:
    prepare(copy_in(fs, "a"), b"first")
    with pytest.raises(FileExistsError):
        prepare(copy_in(fs, "a"), b"second")


def test_publish_moves_to_new(fs: TellingFs) -> None:
    copy = copy_in(fs, "a")
    prepare(copy, b"x")
    publish(copy)
    assert files(fs, "new") == [b"x"]


def test_names_differ_though_time_and_pid_repeat() -> None:
    first = NameMaker("mx.example.org", pid=7, random=b"\1\2")
    second = NameMaker("mx.example.org", pid=7, random=b"\3\4")
    now_ns = 1_700_000_000_123_456_789
    names = [maker.next(now_ns) for maker in (first, first, second, second)]
    assert names[0] == "1700000000.M123456P7R0102Q1.mx.example.org"
    assert len(set(names)) == 4


def test_host_is_made_safe_and_short() -> None:
    name = NameMaker("a/b:c" + "x" * 100, pid=1, random=b"").next(0)
    assert name.split(".", 2)[2].startswith("a\\057b\\072cx")
    assert "/" not in name
    assert ":" not in name
    assert len(name) < 255


def test_this_process_has_a_name_maker() -> None:
    assert f"P{os.getpid()}R" in NameMaker.of_this_process().next()
