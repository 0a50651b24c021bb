"""Maildir delivery: names, the two steps, and what a failed sync does."""

import errno
import os
from pathlib import Path

import pytest

from qmail.core.fs import RealFs
from qmail.core.local.maildir import (
    Copy,
    Folder,
    GroupCommit,
    NameMaker,
    deliver,
    open_folder,
    prepare,
    publish,
)
from qmail.core.local.maildir_sweep import STALE_S, remove_stale


class TellingFs(RealFs):
    """The real disk, with a list of what was done, and syncs that can fail."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.done: list[str] = []
        self.broken = False
        self.broken_from = 0
        self.folder = -1
        self.fsync = self.tell_fsync

    def sync(self) -> None:
        self.done.append("sync")
        if self.broken:
            raise OSError(errno.EIO, "input/output error")

    def open_folder(self, path: str) -> int:
        self.folder = super().open_folder(path)
        return self.folder

    def tell_fsync(self, fd: object) -> None:
        self.done.append("fsync new" if fd == self.folder else "fsync file")
        if self.broken and self.broken_from <= len(self.done):
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


def prepared(fs: TellingFs, name: str, text: bytes = b"x") -> Copy:
    return prepare(Folder(fs, 1), name, text)


def test_bytes_are_synced_before_the_name_and_the_name_before_success(fs: TellingFs) -> None:
    deliver(Folder(fs, 1), "a", b"head\n", [b"body\n", b"more\n"])
    assert fs.done == ["create tmp/", "fsync file", "rename new/", "fsync new"]
    assert files(fs, "new") == [b"head\nbody\nmore\n"]
    assert files(fs, "tmp") == []


@pytest.mark.parametrize("failing", ["fsync file", "fsync new"])
def test_failed_sync_of_a_lonely_delivery_is_final_and_leaves_nothing(
    fs: TellingFs, failing: str
) -> None:
    fs.broken, fs.broken_from = True, 2 if failing == "fsync file" else 4
    with pytest.raises(OSError, match="input/output"):
        deliver(Folder(fs, 1), "a", b"text\n")
    assert fs.done[-1] == failing
    assert files(fs, "tmp") == files(fs, "new") == []


def test_one_sync_serves_the_bytes_of_one_batch_and_the_names_of_the_last(fs: TellingFs) -> None:
    commit = GroupCommit()
    settled = []
    for number in range(5):
        commit.add(number, (prepared(fs, str(number)),))
        settled += [done.ticket for done in commit.step()]
    assert settled == [0, 1, 2, 3]
    settled += [done.ticket for done in commit.step()]
    assert settled == [0, 1, 2, 3, 4]
    assert commit.is_idle
    assert fs.done.count("sync") == 6


def test_file_systems_are_synced_once_each(fs: TellingFs) -> None:
    commit = GroupCommit()
    for number in range(10):
        commit.add(number, (prepared(fs, str(number)),))
    assert commit.step() == []
    assert fs.done.count("sync") == 1
    assert [done.trouble for done in commit.step()] == [None] * 10


def test_failed_sync_of_the_bytes_is_final_for_the_file(fs: TellingFs) -> None:
    commit = GroupCommit()
    commit.add(7, (prepared(fs, "a"),))
    fs.broken = True
    (settled,) = commit.step()
    assert settled.ticket == 7
    assert settled.trouble is not None
    assert files(fs, "tmp") == files(fs, "new") == []
    assert commit.is_idle


def test_failed_sync_of_the_name_takes_the_file_back(fs: TellingFs) -> None:
    commit = GroupCommit()
    commit.add(7, (prepared(fs, "a"),))
    assert commit.step() == []
    fs.broken = True
    (settled,) = commit.step()
    assert settled.trouble is not None
    assert files(fs, "new") == []


def test_failed_name_does_not_touch_the_others(fs: TellingFs, tmp_path: Path) -> None:
    commit = GroupCommit()
    for number, name in enumerate(("a", "b")):
        commit.add(number, (prepared(fs, name, name.encode()),))
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
        prepare(Folder(fs, 1), "a", b"head", Broken())
    assert files(fs, "tmp") == []


def test_taken_name_is_not_overwritten(fs: TellingFs) -> None:
    prepared(fs, "a", b"first")
    with pytest.raises(FileExistsError):
        prepared(fs, "a", b"second")
    assert files(fs, "tmp") == [b"first"]


def test_publish_moves_to_new(fs: TellingFs) -> None:
    publish(prepared(fs, "a"))
    assert files(fs, "new") == [b"x"]


# --- names that hold over NFS (spec/delivery.md 9, oddities.md 7) -------------------------------


def test_name_in_new_has_device_and_inode_of_the_file(fs: TellingFs, tmp_path: Path) -> None:
    name = NameMaker("mx.example.org", pid=7, random=b"\1\2").next(1_700_000_000_123_456_789)
    copy = prepare(Folder(fs, 0x801), name, b"x")
    inode = (tmp_path / "tmp" / name).stat().st_ino
    publish(copy)
    (file,) = (tmp_path / "new").iterdir()
    assert file.name == f"1700000000.M123456P7V801I{inode:x}R0102Q1.mx.example.org"
    assert copy.new == f"new/{file.name}"


def test_rfc1939_7_a_name_in_new_has_70_characters_at_most(fs: TellingFs) -> None:
    long = NameMaker("x" * 60 + ".example", pid=4194304, random=b"abcdef")
    copy = prepare(Folder(fs, 0xFD00), long.next(1_700_000_000_999_999_999), b"x")
    name = copy.new.removeprefix("new/")
    assert len(name) == 70
    assert "R616263646566Q1.xxx" in name
    # What tells messages apart is never cut.
    huge = prepare(Folder(fs, 1 << 63), "1.M1P1R" + "0" * 60 + "Q1.host", b"x")
    assert huge.new.endswith("0Q1.h")


def test_two_hosts_that_make_the_same_name_do_not_meet_in_new(
    fs: TellingFs, tmp_path: Path
) -> None:
    # Each has a tmp/ of its own here: the worst case, for one of them would win in a shared one.
    first = prepared(fs, "same", b"first")
    (tmp_path / first.tmp).rename(tmp_path / "aside")
    second = prepared(fs, "same", b"second")
    publish(second)
    (tmp_path / "aside").rename(tmp_path / first.tmp)
    publish(first)
    assert files(fs, "new") == [b"first", b"second"]


def test_rename_that_nfs_repeats_is_a_success(
    fs: TellingFs, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = prepared(fs, "a")

    def rename_and_lose_the_answer(old: str, new: str) -> None:
        RealFs.rename(fs, old, new)
        RealFs.rename(fs, old, new)

    monkeypatch.setattr(fs, "rename", rename_and_lose_the_answer)
    publish(copy)
    assert files(fs, "new") == [b"x"]


def test_file_that_somebody_removed_from_tmp_is_no_success(fs: TellingFs) -> None:
    copy = prepared(fs, "a")
    fs.unlink(copy.tmp)
    with pytest.raises(FileNotFoundError):
        publish(copy)


def test_parts_on_another_disk_are_refused(tmp_path: Path) -> None:
    (tmp_path / "tmp").symlink_to("/proc")
    (tmp_path / "new").mkdir()
    with pytest.raises(OSError, match="another disk"):
        open_folder(str(tmp_path))


@pytest.mark.parametrize("missing", ["tmp", "new", "."])
def test_what_has_no_tmp_and_new_is_no_maildir(fs: TellingFs, tmp_path: Path, missing: str) -> None:
    (tmp_path / missing).resolve().rename(tmp_path.parent / f"away-{missing}")
    with pytest.raises(FileNotFoundError):
        open_folder(str(tmp_path))


def test_open_maildir_knows_its_device(fs: TellingFs, tmp_path: Path) -> None:
    opened, device = open_folder(str(tmp_path))
    assert device == tmp_path.stat().st_dev
    opened.release()


# --- what crashes leave -------------------------------------------------------------------------


def test_files_in_tmp_that_nobody_touched_for_36_hours_are_removed(
    fs: TellingFs, tmp_path: Path
) -> None:
    prepared(fs, "a")
    (tmp_path / "tmp" / "folder").mkdir()
    touched = (tmp_path / "tmp" / "a").stat().st_ctime
    remove_stale(fs, touched + STALE_S - 1)
    assert (tmp_path / "tmp" / "a").exists()
    remove_stale(fs, touched + STALE_S + 1)
    assert [path.name for path in (tmp_path / "tmp").iterdir()] == ["folder"]


def test_trouble_while_tidying_is_nobodys(fs: TellingFs, tmp_path: Path) -> None:
    (tmp_path / "tmp").rmdir()
    remove_stale(fs, 0)


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
