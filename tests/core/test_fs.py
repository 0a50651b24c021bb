"""One suite for the real disk and the simulated one: same results, same errors."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.sim.power import NOTHING, Choice, Power, PowerCut, Torn
from tests.sim.simfs import SimFs

from qmail.core.fs import Fs, RealFs
from qmail.utilities.queue_tree import NAMES

FOLDERS = ("a", "b", "a/deep")
Maker = Callable[[], Fs]


@pytest.fixture(params=["real", "simulated", "without unnamed files"])
def fs(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Fs]:
    if request.param == "simulated":
        yield simulated()
        return
    if request.param == "without unnamed files":
        monkeypatch.setattr("os.open", without_unnamed)
    for folder in FOLDERS:
        os.makedirs(tmp_path / folder)
    real = RealFs(str(tmp_path))
    yield real
    real.release()


_OPEN = os.open


def without_unnamed(path: str, flags: int, mode: int = 0o777, dir_fd: int | None = None) -> int:
    """Do as open(2) on a file system that has no O_TMPFILE."""
    if flags & os.O_TMPFILE == os.O_TMPFILE:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), path)
    return _OPEN(path, flags, mode, dir_fd=dir_fd)


def simulated(power: Power | None = None) -> SimFs:
    disk = SimFs(power)
    for folder in FOLDERS:
        disk.make_folder(folder)
    return disk


def put(fs: Fs, path: str, data: bytes) -> int:
    """Make a file; return its inode number."""
    fd = fs.create(path, 0o600)
    fs.write(fd, data)
    number = fs.info_of(fd).inode
    fs.close(fd)
    return number


def fails(code: int, work: Callable[[], object]) -> None:
    with pytest.raises(OSError) as caught:
        work()
    assert errno.errorcode[caught.value.errno or 0] == errno.errorcode[code]


def folder_names(fs: Fs, folder: str) -> dict[str, int]:
    return dict(fs.names(folder))


# --- one suite for both ---------------------------------------------------------------------------


def test_a_file_is_made_once_and_read_back_whole(fs: Fs) -> None:
    number = put(fs, "a/x", b"one")
    assert fs.read("a/x", 3) == b"one"
    found = fs.info("a/x")
    assert found is not None
    assert (found.inode, found.size, found.is_regular) == (number, 3, True)
    assert found.mode & 0o777 == 0o600
    assert found.newest >= found.mtime > 0
    fails(errno.EEXIST, lambda: fs.create("a/x"))
    fails(errno.EEXIST, lambda: fs.create("a/deep"))


def test_writes_follow_each_other(fs: Fs) -> None:
    fd = fs.create("a/x")
    fs.write(fd, b"one")
    fs.write(fd, b"")
    fs.write(fd, b"two")
    fs.fsync(fd)
    assert fs.info_of(fd).size == 6
    fs.close(fd)
    assert fs.read("a/x", 100) == b"onetwo"


def test_a_file_over_the_limit_is_not_read(fs: Fs) -> None:
    put(fs, "a/x", b"x" * 70000)
    assert fs.read("a/x", 70000) == b"x" * 70000
    fails(errno.EFBIG, lambda: fs.read("a/x", 69999))
    fails(errno.EFBIG, lambda: fs.read("a/x", 10))


def test_what_is_missing_says_so(fs: Fs) -> None:
    put(fs, "a/file", b"")
    assert fs.info("a/no") is None
    assert fs.info("no/no") is None
    for work in (
        lambda: fs.read("a/no", 10),
        lambda: fs.unlink("a/no"),
        lambda: fs.rename("a/no", "a/y"),
        lambda: fs.rename("a/file", "no/y"),
        lambda: fs.link("a/no", "a/y"),
        lambda: fs.link("a/file", "no/y"),
        lambda: fs.create("no/x"),
        lambda: fs.open_append("no/x"),
        lambda: fs.overwrite("a/no", 0, b"D"),
        lambda: fs.set_mtime("a/no", 1.0),
        lambda: list(fs.names("no")),
    ):
        fails(errno.ENOENT, work)


def test_a_file_is_no_folder_and_a_folder_no_file(fs: Fs) -> None:
    put(fs, "a/file", b"")
    for work in (
        lambda: fs.create("a/file/x"),
        lambda: fs.read("a/file/x", 10),
        lambda: fs.info("a/file/x"),
        lambda: fs.unlink("a/file/x"),
        lambda: list(fs.names("a/file")),
    ):
        fails(errno.ENOTDIR, work)
    for work in (
        lambda: fs.read("a/deep", 10),
        lambda: fs.unlink("a/deep"),
        lambda: fs.open_append("a/deep"),
        lambda: fs.overwrite("a/deep", 0, b"D"),
        lambda: fs.rename("a/file", "a/deep"),
    ):
        fails(errno.EISDIR, work)
    folder = fs.info("a/deep")
    assert folder is not None
    assert not folder.is_regular


def test_a_rename_replaces_in_one_step(fs: Fs) -> None:
    number = put(fs, "a/x", b"new")
    put(fs, "b/y", b"old")
    fs.rename("a/x", "b/y")
    assert fs.info("a/x") is None
    assert fs.read("b/y", 10) == b"new"
    assert folder_names(fs, "b") == {"y": number}


def test_a_rename_onto_another_name_of_the_file_does_nothing(fs: Fs) -> None:
    number = put(fs, "a/x", b"one")
    fs.link("a/x", "b/y")
    fs.rename("a/x", "b/y")
    assert folder_names(fs, "b") == {"y": number}
    assert fs.read("a/x", 10) == b"one"


def test_a_link_is_the_same_file(fs: Fs) -> None:
    number = put(fs, "a/x", b"one")
    put(fs, "b/taken", b"")
    fs.link("a/x", "b/y")
    fails(errno.EEXIST, lambda: fs.link("a/x", "b/taken"))
    fs.unlink("a/x")
    assert fs.read("b/y", 10) == b"one"
    assert folder_names(fs, "b")["y"] == number


def test_an_open_file_outlives_its_name(fs: Fs) -> None:
    fd = fs.create("a/x")
    fs.unlink("a/x")
    fs.write(fd, b"one")
    assert fs.info_of(fd).size == 3
    fs.close(fd)
    fails(errno.EBADF, lambda: fs.write(fd, b"x"))
    fails(errno.EBADF, lambda: fs.fsync(fd))
    fails(errno.EBADF, lambda: fs.close(fd))


def test_a_folder_is_opened_to_be_synced_and_nothing_else(fs: Fs) -> None:
    put(fs, "a/x", b"one")
    fd = fs.open_folder("a")
    fs.fsync(fd)
    fs.close(fd)
    fails(errno.EBADF, lambda: fs.fsync(fd))
    fails(errno.ENOENT, lambda: fs.open_folder("none"))
    fails(errno.ENOTDIR, lambda: fs.open_folder("a/x"))


def test_overwriting_keeps_length_and_time(fs: Fs) -> None:
    put(fs, "a/x", b"Ta\0Tb\0")
    fs.set_mtime("a/x", 1_000_000.0)
    fs.overwrite("a/x", 3, b"D")
    assert fs.read("a/x", 10) == b"Ta\0Db\0"
    found = fs.info("a/x")
    assert found is not None
    assert found.mtime == 1_000_000.0
    assert found.newest > 1_000_000.0


def test_appending_makes_the_file_and_adds_at_its_end(fs: Fs) -> None:
    for part in (b"one", b"two"):
        fd = fs.open_append("a/x")
        fs.write(fd, part)
        fs.close(fd)
    assert fs.read("a/x", 10) == b"onetwo"


def test_truncating_cuts_and_appending_goes_on_there(fs: Fs) -> None:
    put(fs, "a/x", b"one")
    fd = fs.open_append("a/x")
    fs.write(fd, b"half")
    fs.truncate(fd, 3)
    fs.write(fd, b"!")
    fs.close(fd)
    assert fs.read("a/x", 10) == b"one!"


def test_a_truncated_file_keeps_its_writing_position(fs: Fs) -> None:
    fd = fs.create("a/x")
    fs.write(fd, b"one")
    fs.truncate(fd, 1)
    fs.write(fd, b"!")
    fs.truncate(fd, 5)
    fs.close(fd)
    assert fs.read("a/x", 10) == b"o\0\0!\0"


def test_a_file_is_written_over_from_its_start(fs: Fs) -> None:
    number = put(fs, "a/x", b"old text")
    fd = fs.reuse("a/x")
    found = fs.info_of(fd)
    assert (found.inode, found.size) == (number, 8)
    fs.write(fd, b"new")
    assert fs.read("a/x", 10) == b"new text"
    fs.truncate(fd, 3)
    fs.close(fd)
    assert fs.read("a/x", 10) == b"new"
    fails(errno.ENOENT, lambda: fs.reuse("a/no"))


def test_an_unnamed_file_is_there_when_it_has_its_name(fs: Fs) -> None:
    fd = fs.create_unnamed("b", 0o600)
    number = fs.info_of(fd).inode
    fs.write(fd, b"one")
    assert folder_names(fs, "a").keys() == {"deep"}
    fs.name(fd, "a/x")
    fs.write(fd, b"two")
    fs.close(fd)
    assert folder_names(fs, "a")["x"] == number
    assert folder_names(fs, "b") == {}
    assert fs.read("a/x", 10) == b"onetwo"
    fails(errno.ENOENT, lambda: fs.create_unnamed("no"))
    fails(errno.ENOTDIR, lambda: fs.create_unnamed("a/x"))


def test_an_unnamed_file_takes_no_name_that_is_there_and_can_have_another(fs: Fs) -> None:
    taken = put(fs, "a/x", b"")
    fd = fs.create_unnamed("b")
    fails(errno.EEXIST, lambda: fs.name(fd, "a/x"))
    fails(errno.ENOENT, lambda: fs.name(fd, "no/x"))
    fs.name(fd, "a/y")
    assert folder_names(fs, "a")["x"] == taken != fs.info_of(fd).inode
    fs.close(fd)


def test_what_stands_in_for_an_unnamed_file_has_a_name_that_the_check_of_a_queue_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pid").mkdir()
    monkeypatch.setattr("os.open", without_unnamed)
    fs = RealFs(str(tmp_path))
    fd = fs.create_unnamed("pid")
    (name,) = os.listdir(tmp_path / "pid")
    fs.close(fd)
    assert NAMES["pid"].fullmatch(name)


def test_an_unnamed_file_is_gone_when_it_is_closed(fs: Fs) -> None:
    fd = fs.create_unnamed("b")
    fs.write(fd, b"text")
    fs.close(fd)
    assert folder_names(fs, "b") == {}


def test_names_lists_files_and_folders(fs: Fs) -> None:
    numbers = {name: put(fs, f"a/{name}", b"") for name in ("x", "y")}
    found = folder_names(fs, "a")
    assert found.keys() == {"x", "y", "deep"}
    assert {name: found[name] for name in numbers} == numbers
    assert folder_names(fs, "a/deep") == {}


def test_names_may_be_removed_while_they_are_listed(fs: Fs) -> None:
    for index in range(50):
        put(fs, f"b/{index}", b"")
    for name, _ in fs.names("b"):
        fs.unlink(f"b/{name}")
    assert folder_names(fs, "b") == {}


def test_a_sync_changes_nothing_that_is_seen(fs: Fs) -> None:
    number = put(fs, "a/x", b"one")
    fs.sync()
    assert folder_names(fs, "a")["x"] == number
    assert fs.read("a/x", 10) == b"one"


# --- what only the simulated disk can do ----------------------------------------------------------


def test_an_inode_number_comes_back_as_soon_as_its_file_is_gone() -> None:
    disk = simulated()
    first, second = put(disk, "a/x", b""), put(disk, "a/y", b"")
    disk.unlink("a/x")
    assert put(disk, "a/z", b"") == first
    fd = disk.open_append("a/y")
    disk.unlink("a/y")
    assert put(disk, "b/x", b"") not in (first, second)
    disk.close(fd)
    assert put(disk, "b/y", b"") == second


def test_an_unnamed_file_does_not_survive_a_cut_and_its_name_is_one_like_others() -> None:
    disk = simulated()
    disk.write(disk.create_unnamed("a"), b"lost")
    fd = disk.create_unnamed("a")
    disk.write(fd, b"kept")
    disk.name(fd, "b/x")
    assert disk.after_power_cut(NOTHING).files() == {}
    disk.sync()
    assert disk.after_power_cut(NOTHING).files() == {"b/x": b"kept"}


def test_only_what_was_synced_survives_the_unkindest_cut() -> None:
    disk = simulated()
    put(disk, "a/kept", b"whole")
    disk.sync()
    put(disk, "a/lost", b"gone")
    fd = disk.open_append("a/kept")
    disk.write(fd, b" and more")
    disk.rename("a/kept", "b/renamed")
    found = disk.after_power_cut(NOTHING)
    assert found.files() == {"a/kept": b"whole"}
    assert found.is_clean


@pytest.mark.parametrize(
    ("torn", "kept"),
    [
        (Torn.NOTHING, b"one"),
        (Torn.HALF, b"onetw"),
        (Torn.ZEROS, b"one\0\0\0\0"),
        (Torn.WHOLE, b"onetwo!"),
    ],
)
def test_names_survive_in_their_order_and_bytes_are_torn(torn: Torn, kept: bytes) -> None:
    disk = simulated()
    put(disk, "a/x", b"one")
    disk.sync()
    fd = disk.open_append("a/x")
    disk.write(fd, b"two!")
    disk.rename("a/x", "a/y")
    disk.link("a/y", "b/z")
    assert disk.waiting == 2
    assert disk.after_power_cut(Choice(1, torn)).files() == {"a/y": kept}
    assert disk.after_power_cut(Choice(2, torn)).files() == {"a/y": kept, "b/z": kept}


@pytest.mark.parametrize(
    ("torn", "kept"),
    [
        (Torn.NOTHING, b"old text"),
        (Torn.HALF, b"nld text"),
        (Torn.ZEROS, b"old"),
        (Torn.WHOLE, b"new"),
    ],
)
def test_a_file_written_over_can_be_a_mixture(torn: Torn, kept: bytes) -> None:
    disk = simulated()
    put(disk, "a/x", b"old text")
    disk.sync()
    fd = disk.reuse("a/x")
    disk.write(fd, b"new")
    disk.truncate(fd, 3)
    assert disk.after_power_cut(Choice(0, torn)).files() == {"a/x": kept}


def test_fsync_keeps_bytes_and_no_name() -> None:
    for fsync_keeps_names in (False, True):
        disk = simulated()
        disk.fsync_keeps_names = fsync_keeps_names
        fd = disk.create("a/x")
        disk.write(fd, b"one")
        disk.fsync(fd)
        expected = {"a/x": b"one"} if fsync_keeps_names else {}
        assert disk.after_power_cut(NOTHING).files() == expected
        assert disk.after_power_cut(Choice(1)).files() == {"a/x": b"one"}


def test_fsync_of_a_folder_keeps_its_names_and_no_others() -> None:
    for fsync_keeps_names in (False, True):
        disk = simulated()
        disk.fsync_keeps_names = fsync_keeps_names
        put(disk, "a/x", b"one")
        disk.rename("a/x", "b/y")
        folder = disk.open_folder("b")
        disk.fsync(folder)
        assert disk.after_power_cut(NOTHING).files() == {"b/y": b""}
        both = {"a/x": b"", "b/y": b""}
        assert disk.after_power_cut(Choice(1)).files() == (
            {"b/y": b""} if fsync_keeps_names else both
        )
        disk.sync()
        assert disk.after_power_cut(NOTHING).files() == {"b/y": b"one"}


def test_failed_fsync_of_a_folder_says_so() -> None:
    disk = simulated()
    put(disk, "a/x", b"one")
    folder = disk.open_folder("a")
    disk.fail_next(write=False)
    fails(errno.EIO, lambda: disk.fsync(folder))


def test_the_power_is_cut_before_the_operation_and_stays_off() -> None:
    disk = simulated(Power(cut_at=2))
    fd = disk.create("a/x")
    disk.write(fd, b"one")
    with pytest.raises(PowerCut):
        disk.sync()
    for work in (lambda: disk.close(fd), lambda: disk.unlink("a/x"), lambda: disk.read("a/x", 9)):
        with pytest.raises(PowerCut):
            work()
    assert disk.after_power_cut(NOTHING).files() == {}


def test_a_full_disk_takes_half_and_says_so() -> None:
    disk = simulated()
    disk.fail_write = 1
    fd = disk.create("a/x")
    disk.write(fd, b"one")
    fails(errno.ENOSPC, lambda: disk.write(fd, b"1234"))
    assert disk.read("a/x", 10) == b"one12"


def test_the_disk_gives_what_was_written_and_synced_or_waits_for_a_sync(fs: Fs) -> None:
    data = b"one" * 100_000
    put(fs, "a/x", data)
    assert b"".join(fs.parts_on_disk("a/x")) == data
    fs.sync()
    assert b"".join(fs.parts_on_disk("a/x")) == data
    fails(errno.ENOENT, lambda: list(fs.parts_on_disk("a/y")))


def test_what_a_failed_sync_dropped_is_in_memory_and_not_on_disk() -> None:
    disk = simulated()
    put(disk, "a/x", b"one")
    disk.fail_next(write=False)
    fails(errno.EIO, disk.sync)
    assert b"".join(disk.parts("a/x")) == b"one"
    assert b"".join(disk.parts_on_disk("a/x")) == b""


def test_a_sync_after_a_failed_one_claims_success_without_writing() -> None:
    disk = simulated()
    disk.fail_sync = 0
    put(disk, "a/x", b"one")
    fails(errno.EIO, disk.sync)
    disk.sync()
    assert disk.read("a/x", 10) == b"one"
    assert disk.after_power_cut(NOTHING).files() == {"a/x": b""}


def test_without_proc_a_file_has_a_name_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could not be given one later."""
    monkeypatch.setattr("qmail.core.fs._DESCRIPTORS", str(tmp_path / "proc"))
    (tmp_path / "pid").mkdir()
    real = RealFs(str(tmp_path))
    fd = real.create_unnamed("pid")
    assert len(os.listdir(tmp_path / "pid")) == 1
    real.name(fd, "x")
    real.close(fd)
    assert sorted(os.listdir(tmp_path)) == ["pid", "x"]
    assert os.listdir(tmp_path / "pid") == []
    real.release()
