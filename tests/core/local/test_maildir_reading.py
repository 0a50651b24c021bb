"""What is in a maildir (spec/delivery.md 9)."""

import os
from pathlib import Path

import pytest
from tests.sim.simfs import SimFs

from qmail.core.fs import RealFs
from qmail.core.local.maildir_reading import messages


def maildir() -> SimFs:
    fs = SimFs()
    for folder in ("tmp", "new", "cur"):
        fs.make_folder(folder)
    return fs


def put(fs: SimFs, path: str, when: float) -> None:
    fs.close(fs.create(path))
    fs.set_mtime(path, when)


def test_messages_come_by_age_from_new_and_cur() -> None:
    fs = maildir()
    for path, when in (("new/b", 3), ("cur/a:2,S", 2), ("new/c", 1), ("new/d", 3)):
        put(fs, path, when)
    assert [message.path for message in messages(fs)] == ["new/c", "cur/a:2,S", "new/b", "new/d"]
    assert [message.path for message in messages(fs, ("new/",))] == ["new/c", "new/b", "new/d"]
    assert messages(fs)[0].mtime == 1


def test_names_with_a_dot_and_what_is_no_file_are_no_messages(tmp_path: Path) -> None:
    for part in ("tmp", "new", "cur", "new/folder"):
        (tmp_path / part).mkdir()
    (tmp_path / "new/.hidden").touch()
    os.mkfifo(tmp_path / "new/pipe")
    (tmp_path / "new/link").symlink_to("/etc/passwd")
    assert messages(RealFs(str(tmp_path))) == []


def test_a_folder_that_is_no_maildir_is_trouble(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        messages(RealFs(str(tmp_path)))
