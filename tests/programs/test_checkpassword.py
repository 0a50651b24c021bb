"""qmail-checkpassword: spec/smtp.md E.2, with the real command; and under a real qmail-popup."""

import os
import poplib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.programs.login_world import LoginWorld, home_of, scram_secret

from qmail.edge.machine.accounts import Accounts

WAIT_S = 60
CHECK = """
import os, sys
from qmail.programs.checkpassword import main
fd = int(sys.argv.pop(1))
if fd >= 0:
    os.dup2(fd, 3)
else:
    os.closerange(3, 100)
sys.exit(main(sys.argv[1:]))
"""
SHOW = "echo $USER $HOME $SHELL $MAILDIR $(pwd) $(id -u) $(id -g) $(id -G); exit 7"
JOE = f"joe:{scram_secret('secret')}:::::"


@pytest.fixture
def home(folder: Path, own_accounts: Accounts) -> Iterator[LoginWorld]:
    """A home of one account that knows joe."""
    with home_of(folder, own_accounts, JOE) as world:
        yield world


def run(home: LoginWorld, data: bytes | None, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run it as the account of the home, with `data` on descriptor 3; None: that is closed."""
    reader, writer = os.pipe()
    os.write(writer, data or b"")
    os.close(writer)
    account = home.accounts["alias"]
    is_root = os.getuid() == 0 and not home.accounts.separate
    given = "-1" if data is None else str(reader)
    try:
        return subprocess.run(
            [sys.executable, "-c", CHECK, given, *words],
            capture_output=True,
            check=False,
            timeout=WAIT_S,
            pass_fds=[reader],
            env={**os.environ, "QMAIL_HOME": str(home.home)},
            cwd="/",
            user=account.uid if is_root else None,
            group=account.gid if is_root else None,
            extra_groups=[] if is_root else None,
        )
    finally:
        os.close(reader)


def test_right_password_runs_the_program_in_the_home(home: LoginWorld) -> None:
    done = run(home, b"joe\0secret\0<1.2@h>\0", "sh", "-c", SHOW)
    uid, gid = home.uid("alias")
    alias = os.path.realpath(home.home / "alias")
    words = done.stdout.decode().split()
    assert done.returncode == 7
    assert words[0] == "joe"
    assert os.path.realpath(words[1]) == alias
    assert words[2].startswith("/")
    assert words[3] == "Maildir"
    assert os.path.realpath(words[4]) == alias
    assert words[5:7] == [str(uid), str(gid)]
    assert done.stderr == b""


def test_maildir_of_the_line_is_told(home: LoginWorld) -> None:
    home.passwd(f"joe:{scram_secret('secret')}::::::mail=maildir:~/Other")
    done = run(home, b"joe\0secret\0\0rest\0", "sh", "-c", "echo $MAILDIR")
    assert (done.returncode, done.stdout) == (0, b"Other\n")


@pytest.mark.parametrize(
    "data",
    [
        b"joe\0wrong\0<1.2@h>\0",
        b"jane\0secret\0<1.2@h>\0",
        b"\0secret\0\0",
        b"joe\0\0\0",
        b"joe\0" + b"x" * 600 + b"\0\0",
        b"joe\0secret\0" + b"x" * 600 + b"\0",
    ],
)
def test_what_is_not_acceptable_is_1(home: LoginWorld, data: bytes) -> None:
    done = run(home, data, "echo", "in")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


@pytest.mark.parametrize("data", [None, b"", b"joe", b"joe\0secret", b"joe\0secret\0time"])
def test_misuse_is_2(home: LoginWorld, data: bytes | None) -> None:
    done = run(home, data, "echo", "in")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"qmail-checkpassword: descriptor 3: ")


def test_without_a_program_it_is_misused(home: LoginWorld) -> None:
    done = run(home, b"joe\0secret\0\0")
    assert done.returncode == 2
    assert b"usage: qmail-checkpassword program" in done.stderr


def test_trouble_of_ours_is_111(home: LoginWorld) -> None:
    assert run(home, b"joe\0secret\0\0", "/nonexistent/program").returncode == 111
    home.passwd("joe:{SSHA}x")
    done = run(home, b"joe\0secret\0\0", "echo", "in")
    assert (done.returncode, done.stdout) == (111, b"")
    assert b"users/passwd:1: field 2" in done.stderr
    home.passwd(JOE)
    (home.home / "alias").rename(home.home / "elsewhere")
    done = run(home, b"joe\0secret\0\0", "echo", "in")
    assert (done.returncode, done.stdout) == (111, b"")
    assert b"secret" not in done.stderr
    (home.home / "queue").rmdir()
    assert run(home, b"joe\0secret\0\0", "echo", "in").returncode == 111


def test_signals_are_as_a_program_expects_them(home: LoginWorld) -> None:
    done = run(home, b"joe\0secret\0\0", "grep", "SigIgn", "/proc/self/status")
    ignored = int(done.stdout.split()[1], 16)
    assert not ignored & 1 << (signal.SIGPIPE - 1)


def test_under_tcpserver_with_qmail_popup_and_qmail_pop3d(home: LoginWorld) -> None:
    tcpserver = shutil.which("tcpserver")
    if tcpserver is None:
        pytest.skip("tcpserver is not installed (ucspi-tcp)")
    account = home.accounts["alias"]
    as_whom = ["-u", str(account.uid), "-g", str(account.gid)] if os.getuid() == 0 else []
    bins = Path(sys.executable).parent
    server = subprocess.Popen(
        [tcpserver, "-HRD1", "-l", "0", *as_whom, "127.0.0.1", "0",
         str(bins / "qmail-popup"), "mx.example.net", str(bins / "qmail-checkpassword"),
         str(bins / "qmail-pop3d"), "Maildir"],
        env={**os.environ, "QMAIL_HOME": str(home.home)},
        cwd="/",
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        client = poplib.POP3("127.0.0.1", port, timeout=WAIT_S)
        client.user("joe")
        client.pass_("secret")
        assert client.stat()[0] == 1
        assert client.retr(1)[1][0] == b"Subject: one"
        client.quit()
        client = poplib.POP3("127.0.0.1", port, timeout=WAIT_S)
        client.user("joe")
        with pytest.raises(poplib.error_proto, match="authorization failed"):
            client.pass_("wrong")
        client.close()
    finally:
        server.terminate()
        server.wait(WAIT_S)
