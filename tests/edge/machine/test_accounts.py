"""Who is who in a home (spec/programs.md 0)."""

import grp
import os
import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest

from qmail.edge.machine import accounts
from qmail.edge.machine.accounts import (
    ACCOUNT_GROUPS,
    MissingAccountError,
    accounts_of,
    become,
    one_account,
    separate_accounts,
)

UIDS = {name: 5000 + index for index, name in enumerate(ACCOUNT_GROUPS)}
GIDS = {"qmail": 6000, "nofiles": 6001}


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """All accounts and groups exist; a test may take some away."""
    known = {**UIDS, **GIDS}
    monkeypatch.setattr(pwd, "getpwnam", lambda name: SimpleNamespace(pw_uid=known[name]))
    monkeypatch.setattr(grp, "getgrnam", lambda name: SimpleNamespace(gr_gid=known[name]))
    return known


def own_queue(monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    found = SimpleNamespace(st_uid=uid, st_gid=70)
    monkeypatch.setattr(accounts, "os", SimpleNamespace(stat=lambda _path: found))


def test_programs_0_each_account_has_its_group(known: dict[str, int]) -> None:
    found = separate_accounts()
    assert found.separate
    for name in ACCOUNT_GROUPS:
        assert (found[name].uid, found[name].gid) == (known[name], known[ACCOUNT_GROUPS[name]])
    assert found["qmails"].gid == GIDS["qmail"]
    assert found["qmaild"].gid == GIDS["nofiles"]


def test_a_queue_of_qmailq_means_separate_accounts(
    known: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    own_queue(monkeypatch, known["qmailq"])
    assert accounts_of("/home").separate


@pytest.mark.parametrize("missing", [name for name in (*UIDS, *GIDS) if name != "qmailq"])
def test_with_any_account_missing_nothing_starts(
    known: dict[str, int], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    own_queue(monkeypatch, known["qmailq"])
    del known[missing]
    with pytest.raises(MissingAccountError, match=missing):
        accounts_of("/home")


def test_a_queue_of_anybody_else_is_of_that_one_account(
    known: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    own_queue(monkeypatch, 1234)
    found = accounts_of("/home")
    assert not found.separate
    assert {(account.uid, account.gid) for account in found.by_name.values()} == {(1234, 70)}


def test_a_queue_of_root_is_nobodys(known: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    own_queue(monkeypatch, 0)
    with pytest.raises(MissingAccountError, match="qmail init"):
        accounts_of("/home")


def test_without_a_queue_there_is_no_home(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        accounts_of(str(tmp_path))


def test_nobody_becomes_root() -> None:
    with pytest.raises(PermissionError):
        become(0, 0)


def test_becoming_who_one_is_does_nothing() -> None:
    # As root in a child, because there is no way back.
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            uid = os.getuid() or 65534
            become(uid, os.getgid() or 65534)
            become(uid, 0)
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_one_account_is_everybody() -> None:
    found = one_account(7, 8)
    assert {account.uid for account in found.by_name.values()} == {7}
    assert set(found.by_name) == set(ACCOUNT_GROUPS)


@pytest.mark.root
def test_become_gives_up_every_group_and_id_of_root_for_good() -> None:
    if os.getuid() != 0:
        pytest.skip("needs root")
    nobody = pwd.getpwnam("nobody")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            become(nobody.pw_uid, nobody.pw_gid)
            try:
                os.setuid(0)
            except PermissionError:
                ids = (*os.getresuid(), *os.getresgid(), *os.getgroups())
                os.write(writer, repr(ids).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    text = os.read(reader, 100)
    os.close(reader)
    assert text.decode() == repr((nobody.pw_uid,) * 3 + (nobody.pw_gid,) * 4)
