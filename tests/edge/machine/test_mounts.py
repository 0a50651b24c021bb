"""The file system type of a path is read from mountinfo (proc(5))."""

import os
from pathlib import Path

import pytest

from qmail.edge.machine.mounts import file_system_type


def device(path: Path) -> str:
    number = os.stat(path).st_dev
    return f"{os.major(number)}:{os.minor(number)}"


def mountinfo(folder: Path, *lines: str) -> str:
    (folder / "mountinfo").write_text("".join(f"{line}\n" for line in lines))
    return str(folder / "mountinfo")


def test_the_device_decides(tmp_path: Path) -> None:
    path = mountinfo(
        tmp_path,
        "20 1 999:1 / / rw shared:1 - ext4 /dev/a rw",
        f"21 20 {device(tmp_path)} / {tmp_path.parent} rw,nosuid shared:2 master:1 - nfs4 h:/x rw",
    )
    assert file_system_type(str(tmp_path), path) == "nfs4"


def test_where_no_device_fits_the_longest_path_decides(tmp_path: Path) -> None:
    path = mountinfo(
        tmp_path,
        "20 1 999:1 / / rw - ext4 /dev/a rw",
        f"21 20 999:2 / {tmp_path} rw - btrfs /dev/b rw",
        f"22 20 999:3 / {tmp_path}x rw - xfs /dev/c rw",
    )
    assert file_system_type(str(tmp_path), path) == "btrfs"


def test_a_blank_in_a_mount_point_is_written_as_octal(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    path = mountinfo(
        tmp_path,
        "20 1 999:1 / / rw - ext4 /dev/a rw",
        f"21 20 999:2 / {tmp_path}/a\\040b rw - cifs //h/x rw",
    )
    assert file_system_type(str(tmp_path / "a b"), path) == "cifs"


@pytest.mark.parametrize("line", ["", "x", "1 2 3:4 - ext4", " - "])
def test_lines_that_make_no_sense_are_passed_over(tmp_path: Path, line: str) -> None:
    assert file_system_type(str(tmp_path), mountinfo(tmp_path, line)) == ""


def test_without_mountinfo_the_type_is_not_known(tmp_path: Path) -> None:
    assert file_system_type(str(tmp_path), str(tmp_path / "none")) == ""


def test_the_real_file_says_something_of_the_root() -> None:
    assert file_system_type("/")
