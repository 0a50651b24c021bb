"""What is in a maildir (spec/delivery.md 9)."""

import errno
import os
from pathlib import Path

import pytest
from tests.sim.simclock import SimClock
from tests.sim.simfs import SimFs

from qmail.core.fs import RealFs
from qmail.core.maildir_reading import TMP_S_MAX, clean_tmp, messages


def maildir(clock: SimClock | None = None) -> SimFs:
    fs = SimFs(clock=clock)
    for folder in ("tmp", "new", "cur"):
        fs.make_folder(folder)
    return fs


def put(fs: SimFs, path: str, when: float | None = None) -> None:
    fs.close(fs.create(path))
    if when is not None:
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
    for look in (messages, lambda fs: clean_tmp(fs, 0.0)):
        with pytest.raises(OSError, match="No such file"):
            look(RealFs(str(tmp_path)))


def test_what_lay_in_tmp_for_36_hours_goes() -> None:
    clock = SimClock()
    fs = maildir(clock)
    put(fs, "tmp/old")
    put(fs, "new/old")
    put(fs, "tmp/.old")
    clock.advance(1)
    put(fs, "tmp/young", when=0)
    clock.advance(TMP_S_MAX)
    clean_tmp(fs, clock.now())
    assert sorted(fs.files()) == ["new/old", "tmp/.old", "tmp/young"]


def test_what_can_not_be_removed_from_tmp_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimClock()
    fs = maildir(clock)
    put(fs, "tmp/old")

    def refuse(path: str) -> None:
        raise PermissionError(errno.EPERM, "not permitted", path)

    monkeypatch.setattr(fs, "unlink", refuse)
    clean_tmp(fs, clock.now() + TMP_S_MAX + 1)
    assert "tmp/old" in fs.files()
