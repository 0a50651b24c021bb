"""A log in a folder, in multilog's way (spec/companion.md 5)."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.homes import open_folder

from qmail.edge.log.folder import CURRENT, SAFE, WRITING, FolderInUseError, LogFolder, old_files


class Ticks:
    """A time that moves on whenever it is asked for."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000_000_000

    def __call__(self) -> int:
        self.now += 1
        return self.now


def opened(path: Path, ticks: Callable[[], int] | None = None, **sizes: int) -> LogFolder:
    size, keep = sizes.get("size", 4096), sizes.get("keep", 3)
    return LogFolder(str(path), ticks or Ticks(), size_max=size, keep_max=keep)


def write(folder: LogFolder, data: bytes) -> None:
    while data:
        data = data[folder.write(data) :]


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def old(path: Path) -> list[str]:
    return old_files(os.listdir(path))


def test_current_is_made_with_its_mode_and_safe_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "main"
    folder = opened(path)
    write(folder, b"one\n")
    assert mode_of(path / CURRENT) == WRITING
    folder.close()
    assert mode_of(path / CURRENT) == SAFE
    assert (path / CURRENT).read_bytes() == b"one\n"


def test_a_folder_that_was_ended_is_gone_on_with(tmp_path: Path) -> None:
    for line in (b"one\n", b"two\n"):
        folder = opened(tmp_path)
        write(folder, line)
        folder.close()
    assert (tmp_path / CURRENT).read_bytes() == b"one\ntwo\n"
    assert old(tmp_path) == []


def test_what_a_crash_left_is_set_aside_as_unsafe(tmp_path: Path) -> None:
    (tmp_path / CURRENT).write_bytes(b"half a li")
    (tmp_path / CURRENT).chmod(WRITING)
    folder = opened(tmp_path)
    write(folder, b"new\n")
    (name,) = old(tmp_path)
    assert name.endswith(".u")
    assert (tmp_path / name).read_bytes() == b"half a li"
    assert (tmp_path / CURRENT).read_bytes() == b"new\n"
    folder.close()


def test_a_full_file_is_synced_renamed_and_only_so_many_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    folder = opened(tmp_path, size=4096, keep=3)
    line = b"x" * 999 + b"\n"
    for _ in range(30):
        write(folder, line)
    folder.close()
    names = old(tmp_path)
    assert len(names) == 3
    assert all(name.endswith(".s") and mode_of(tmp_path / name) == SAFE for name in names)
    assert all((tmp_path / name).stat().st_size == 4000 for name in names)
    # Each file and its folder.
    assert len(synced) == 7 * 2 + 1


@given(st.lists(st.integers(0, 6000), max_size=40))
def test_no_line_is_lost_or_cut_by_a_rotation(sizes: list[int]) -> None:
    lines = [b"%d" % number + b"." * size + b"\n" for number, size in enumerate(sizes)]
    with open_folder() as path:
        folder = opened(path, size=4096, keep=1000)
        write(folder, b"".join(lines))
        folder.close()
        names = [*old(path), *([CURRENT] if lines else [])]
        parts = [(path / name).read_bytes() for name in names]
    assert b"".join(parts) == b"".join(lines)
    assert all(part.endswith(b"\n") for part in parts)
    assert all(len(part) <= 4096 or part.count(b"\n") == 1 for part in parts)


def test_alrm_begins_a_new_file_and_an_empty_one_is_left(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    folder.rotate()
    assert old(tmp_path) == []
    write(folder, b"one\n")
    folder.rotate()
    folder.rotate()
    assert len(old(tmp_path)) == 1
    folder.close()


def test_a_rotation_that_fails_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = opened(tmp_path, size=4096)
    write(folder, b"x" * 4000 + b"\n")

    def full(*_arguments: object, **_named: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", full)
        for _ in range(2):
            with pytest.raises(OSError, match="No space"):
                write(folder, b"y" * 999 + b"\n")
    write(folder, b"y" * 999 + b"\n")
    folder.close()
    assert (tmp_path / CURRENT).read_bytes() == b"y" * 999 + b"\n"
    assert [(tmp_path / name).read_bytes() for name in old(tmp_path)] == [b"x" * 4000 + b"\n"]


def test_a_folder_belongs_to_one_logger(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    with pytest.raises(FolderInUseError, match="is in use by another logger"):
        opened(tmp_path)
    folder.close()
    opened(tmp_path).close()


def test_a_link_in_place_of_current_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"")
    folder = opened(tmp_path)
    (tmp_path / CURRENT).symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        folder.write(b"x\n")
    assert (tmp_path / "precious").read_bytes() == b""


def test_only_ended_files_count_as_old() -> None:
    label = "@400000006925d3760bebc200"
    names = ["lock", CURRENT, "state", f"{label}.s", f"{label}.x", "@4.s", f"{label}.u", "@é.s"]
    assert old_files(names) == [f"{label}.s", f"{label}.u"]
