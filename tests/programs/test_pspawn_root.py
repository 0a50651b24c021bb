"""qmail-pspawn as root: the accounts of the suite, of the machine, and of virtual users."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.accounts import account, own_name, set_password
from tests.programs.login_world import (
    Caller,
    LoginWorld,
    accepted,
    home_of,
    ids_of,
    lines_until_closed,
    refused,
    scram_secret,
)
from tests.programs.lspawn_driver import can_read_the_programs

from qmail.edge.machine.accounts import Accounts
from qmail.edge.machine.system_passwords import SystemPasswords
from qmail.protocol.login_door import Accepted, Begun, Ended, Mechanism, Refusal, Refused

pytestmark = pytest.mark.root
VIRTUAL = 54399
SPARE = own_name("qmjoe")


@pytest.fixture
def home(folder: Path, suite_accounts: Accounts) -> Iterator[LoginWorld]:
    """A home with the separate accounts, and virtual users of uid VIRTUAL."""
    qmailp = suite_accounts["qmailp"]
    if not can_read_the_programs(qmailp.uid, qmailp.gid):
        pytest.skip("other accounts can't read the programs here")
    with home_of(folder, suite_accounts) as world:
        world.make_maildir(folder / "ann", (VIRTUAL, VIRTUAL + 1))
        (folder / "ann").chmod(0o700)
        world.passwd(virtual(world, "ann@example.net"))
        yield world


def virtual(home: LoginWorld, name: str, uid: int = VIRTUAL) -> str:
    return f"{name}:{scram_secret('secret')}:{uid}:{VIRTUAL + 1}::{home.home}/ann::"


@pytest.fixture
def caller(home: LoginWorld) -> Caller:
    home.start()
    return home.call()


@pytest.fixture
def joe() -> Iterator[str]:
    """An account of the machine with a password, its shell no login shell."""
    hashed = SystemPasswords().hashed(b"secret", b"$6$somesalt$")
    assert hashed is not None
    with (
        tempfile.TemporaryDirectory(prefix="joe-") as home,
        account(SPARE, Path(home), "--system", "--shell", "/usr/sbin/nologin"),
    ):
        set_password(SPARE, hashed.decode())
        yield SPARE


def test_root_session_is_its_owner_and_nobody_else(home: LoginWorld, caller: Caller) -> None:
    accepted(caller.login("ann@example.net", "secret"))
    with caller.start(1) as client:
        assert client.recv(100) == b"+OK \r\n"
        (pid,) = (pid for pid, name in home.children().items() if name == "qmail-pop3d")
        assert ids_of(pid) == ({VIRTUAL}, {VIRTUAL + 1}, [VIRTUAL + 1])
        assert os.readlink(f"/proc/{pid}/cwd") == os.path.realpath(home.home / "ann")
        status = Path(f"/proc/{pid}/status").read_text()
        assert "CapEff:\t0000000000000000\n" in status
        client.sendall(b"DELE 1\r\nQUIT\r\n")
        assert lines_until_closed(client).count(b"+OK") == 2
    assert list((home.home / "ann/Maildir/new").iterdir()) == []


def test_root_helper_is_qmailp(home: LoginWorld, caller: Caller) -> None:
    accepted(caller.login("ann@example.net", "secret"))
    refused(caller.login("no-such-user-here", "secret"))
    found = {name: ids_of(pid) for pid, name in home.children().items()}
    uid, gid = home.uid("qmailp")
    assert found["qmail-password"] == ({uid}, {gid}, [gid])
    assert found["qmail-shadow"][0] == {0}
    assert set(found) == {"qmail-password", "qmail-shadow"}


def test_root_only_qmaild_may_ask(home: LoginWorld, caller: Caller) -> None:
    for name in ("qmailp", "qmails", "alias", "qmailq"):
        assert home.call(name).is_closed()
    accepted(caller.login("ann@example.net", "secret"))
    assert "refused a call from uid" in home.log.read_text()


def test_root_account_of_the_machine(home: LoginWorld, caller: Caller, joe: str) -> None:
    account = pwd.getpwnam(joe)
    home.make_maildir(Path(account.pw_dir), (account.pw_uid, account.pw_gid))
    assert caller.login(joe, "secret") == Accepted(1, joe.encode())
    assert caller.login(joe.upper(), "secret") == Accepted(2, joe.encode())
    assert caller.login(joe, "wrong") == Refused(3, Refusal.AUTH)
    with caller.start(1) as client:
        assert client.recv(100) == b"+OK \r\n"
        (pid,) = (pid for pid, name in home.children().items() if name == "qmail-pop3d")
        assert ids_of(pid)[0] == {account.pw_uid}
        client.sendall(b"STAT\r\nQUIT\r\n")
        assert b"+OK 1 " in lines_until_closed(client)
    assert [caller.answer(), caller.answer()] == [Begun(1), Ended(1, 0)]
    (answer,) = caller.exchange(Mechanism.PLAIN, f"\0{joe}\0secret".encode())
    accepted(answer)


def test_root_line_of_the_file_comes_before_the_account(
    home: LoginWorld, caller: Caller, joe: str
) -> None:
    home.passwd(f"{joe}:{scram_secret('other')}:::::")
    accepted(caller.login(joe, "other"))
    assert refused(caller.login(joe, "secret")) is Refusal.AUTH
    home.passwd(f"{joe}:!")
    assert refused(caller.login(joe, "secret")) is Refusal.AUTH


@pytest.mark.parametrize(
    "change",
    [
        ["usermod", "-L", SPARE],
        ["usermod", "-e", "2020-01-01", SPARE],
        ["chage", "-d", "0", SPARE],
        ["chage", "-d", "2020-01-01", "-M", "30", SPARE],
        ["passwd", "-d", SPARE],
    ],
    ids=["locked", "expired", "to be changed", "too old", "empty"],
)
def test_root_accounts_that_are_closed(caller: Caller, joe: str, change: list[str]) -> None:
    if shutil.which(change[0]) is None:
        pytest.skip(f"{change[0]} is not installed")
    accepted(caller.login(joe, "secret"))
    subprocess.run(change, check=True, capture_output=True)
    for password in ("secret", "x"):
        assert refused(caller.login(joe, password)) is Refusal.AUTH


def test_root_never_gets_in(home: LoginWorld, caller: Caller) -> None:
    home.passwd(f"zero:{scram_secret('secret')}:0:0::/::", f"root:{scram_secret('secret')}:::::")
    assert refused(caller.login("zero", "secret")) is Refusal.TEMPORARY
    assert refused(caller.login("root", "secret")) is Refusal.TEMPORARY
    home.passwd()
    assert refused(caller.login("root", "secret")) is Refusal.AUTH


def test_root_accounts_of_the_suite_have_no_mailbox(home: LoginWorld, caller: Caller) -> None:
    names = ("qmaild", "qmaill", "qmailp", "qmailq", "qmailr", "qmails")
    home.passwd(*(virtual(home, name, home.uid(name)[0]) for name in names))
    for name in names:
        assert refused(caller.login(name, "secret")) is Refusal.TEMPORARY
    assert "can't have a mailbox" in home.log.read_text()


def test_root_file_that_only_root_reads_is_temporary(home: LoginWorld, caller: Caller) -> None:
    accepted(caller.login("ann@example.net", "secret"))
    home.passwd(virtual(home, "ann@example.net"))
    os.chown(home.home / "users/passwd", 0, 0)
    assert refused(caller.login("ann@example.net", "secret")) is Refusal.TEMPORARY
    assert "Permission denied" in home.log.read_text()


def test_root_home_that_is_closed_to_its_owner_is_temporary(
    home: LoginWorld, caller: Caller
) -> None:
    os.chown(home.home / "ann", 0, 0)
    accepted(caller.login("ann@example.net", "secret"))
    with caller.start(1) as client:
        assert lines_until_closed(client).startswith(b"-ERR [SYS/TEMP] ")


def test_root_external_program_runs_as_root_and_gets_no_more(home: LoginWorld) -> None:
    program = home.home / "check"
    program.write_text(
        "#!/bin/sh\n"
        f"exec >{home.home}/seen\n"
        "id -u; cat <&3 | tr '\\0' '|'; echo; env | grep -c secret; ls /proc/$$/fd\n"
        "exit 1\n"
    )
    program.chmod(0o755)
    home.control("checkpassword", f"{program}\n")
    home.start()
    caller = home.call()
    accepted(caller.login("joe", "secret"))
    with caller.start(1) as client:
        assert lines_until_closed(client) == b""
    assert [caller.answer(), caller.answer()] == [Begun(1), Ended(1, 1)]
    uid, data, in_environment, *fds = (home.home / "seen").read_text().split()
    assert (uid, data, in_environment) == ("0", "joe|secret||", "0")
    assert {"0", "1", "2", "3"} <= set(fds)
