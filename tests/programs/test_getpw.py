"""qmail-getpw, the command (spec/delivery.md 2)."""

import os
import pwd
from pathlib import Path

import pytest
from tests.programs.lspawn_driver import ordinary_accounts

from qmail.edge.machine.passwd import Machine
from qmail.programs import getpw


def fields(printed: str) -> list[str]:
    *found, rest = printed.split("\0")
    assert rest == ""
    return found


def test_one_account_is_alias_with_a_home_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    account = ordinary_accounts()["alias"]
    (tmp_path / "queue").mkdir()
    os.chown(tmp_path / "queue", account.uid, account.gid)
    monkeypatch.setenv("QMAIL_HOME", str(tmp_path))
    assert getpw.main(["root-x"]) == 0
    assert fields(capsys.readouterr().out) == [
        "alias", str(account.uid), str(account.gid), f"{tmp_path}/alias", "-", "root-x",
    ]  # fmt: skip


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert getpw.main([]) == 100
    assert "usage" in capsys.readouterr().err


def test_without_a_home_the_rules_of_separate_accounts_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QMAIL_HOME", str(tmp_path / "missing"))
    code = getpw.main(["no-such-user-here"])
    try:
        alias = pwd.getpwnam("alias")
    except KeyError:
        assert code == 116
        return
    assert code == 0
    assert fields(capsys.readouterr().out) == [
        "alias", str(alias.pw_uid), str(alias.pw_gid), alias.pw_dir, "-", "no-such-user-here",
    ]  # fmt: skip


def test_machine_knows_root_and_not_nobody_s_cousin() -> None:
    machine = Machine()
    root = machine.account(b"root")
    assert root is not None
    assert (root.user, root.uid, root.home) == (b"root", 0, os.fsencode(pwd.getpwuid(0).pw_dir))
    assert machine.account(b"no-such-user-here") is None


def test_machine_knows_every_account_as_pwd_does() -> None:
    machine = Machine()
    for entry in pwd.getpwall()[:50]:
        found = machine.account(os.fsencode(entry.pw_name))
        assert found is not None
        assert (found.uid, found.gid) == (entry.pw_uid, entry.pw_gid)


def test_owner_of_a_folder(tmp_path: Path) -> None:
    machine = Machine()
    assert machine.folder_owner(os.fsencode(tmp_path)) == tmp_path.stat().st_uid
    assert machine.folder_owner(os.fsencode(tmp_path / "missing")) is None
