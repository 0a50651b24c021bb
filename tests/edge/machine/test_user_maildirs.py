"""Who gets a maildir from `qmail init`, and that what is there stays."""

import os
import pwd
from pathlib import Path

import pytest

from qmail.edge.machine.user_maildirs import make_maildir, people


def account(tmp_path: Path, uid: int, shell: str = "/bin/bash") -> pwd.struct_passwd:
    return pwd.struct_passwd(("joe", "x", uid, 100, "", str(tmp_path), shell))


@pytest.mark.parametrize(
    ("uid", "shell"), [(0, "/bin/sh"), (33, "/bin/sh"), (65534, "/bin/sh"), (1000, "/bin/false")]
)
def test_daemons_root_and_nobody_are_no_people(tmp_path: Path, uid: int, shell: str) -> None:
    os.chown(tmp_path, uid if os.geteuid() == 0 else -1, -1)
    assert people([account(tmp_path, uid, shell)]) == []


def test_a_home_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    assert people([account(tmp_path, os.getuid() + 1001)]) == []


@pytest.mark.root
def test_a_person_owns_a_home(tmp_path: Path) -> None:
    os.chown(tmp_path, 1234, -1)
    assert len(people([account(tmp_path, 1234)])) == 1


def test_what_is_missing_of_a_maildir_is_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "Maildir"
    (folder / "new").mkdir(parents=True)
    (folder / "new" / "mail").write_bytes(b"x")
    assert make_maildir(str(folder))
    assert not make_maildir(str(folder))
    assert sorted(part.name for part in folder.iterdir()) == ["cur", "new", "tmp"]
    assert (folder / "new" / "mail").read_bytes() == b"x"
