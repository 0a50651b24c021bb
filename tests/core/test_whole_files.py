"""Files that are read whole; files that are replaced whole, or not at all."""

import fcntl
import os
from pathlib import Path
from typing import IO

import pytest

from qmail.core.whole_files import read_whole, replace_file


def write_new(file: IO[bytes]) -> None:
    file.write(b"new")


def test_the_new_file_is_there_with_its_mode_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "list.bin"
    path.write_bytes(b"old")
    replace_file(str(path), str(tmp_path / "list.tmp"), write_new, mode=0o444)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o444
    assert os.listdir(tmp_path) == ["list.bin"]


def test_what_was_left_by_one_that_was_killed_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "list.tmp").write_bytes(b"longer than the new one")
    replace_file(str(tmp_path / "list.bin"), str(tmp_path / "list.tmp"), write_new)
    assert (tmp_path / "list.bin").read_bytes() == b"new"


def test_trouble_while_it_is_written_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "list.bin").write_bytes(b"old")

    def fail(file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace_file(str(tmp_path / "list.bin"), str(tmp_path / "list.tmp"), fail)
    assert (tmp_path / "list.bin").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["list.bin"]


def test_two_do_not_write_at_once(tmp_path: Path) -> None:
    with open(tmp_path / "list.tmp", "wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="another program is writing it now"):
            replace_file(str(tmp_path / "list.bin"), str(tmp_path / "list.tmp"), write_new)
    assert os.listdir(tmp_path) == ["list.tmp"]


def test_a_link_in_place_of_the_temporary_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "list.tmp").symlink_to("precious")
    with pytest.raises(OSError, match="symbolic links"):
        replace_file(str(tmp_path / "list.bin"), str(tmp_path / "list.tmp"), write_new)
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_a_file_that_has_another_name_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    os.link(tmp_path / "precious", tmp_path / "list.tmp")
    with pytest.raises(OSError, match="has another name too"):
        replace_file(str(tmp_path / "list.bin"), str(tmp_path / "list.tmp"), write_new)
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 70000)
    data, found = read_whole(str(tmp_path / "f"), 70000)
    assert (data, found.st_size) == (b"x" * 70000, 70000)
    with pytest.raises(OSError, match="longer than 69999 bytes"):
        read_whole(str(tmp_path / "f"), 69999)


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(OSError, match="not a file"):
            read_whole(str(tmp_path / name), 10)


def test_a_link_is_followed_only_if_it_may_be(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    (tmp_path / "link").symlink_to("f")
    assert read_whole(str(tmp_path / "link"), 10)[0] == b"x"
    with pytest.raises(OSError, match="symbolic links"):
        read_whole(str(tmp_path / "link"), 10, follows_links=False)
