"""qmail passwd: the file it writes, what it refuses, and what qmail check says of the file."""

import io
import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qmail.core.login.passwd_line import parse_passwd_line
from qmail.edge.machine.accounts import accounts_of
from qmail.protocol.scram_keys import is_password_of, parse_keys
from qmail.utilities import front
from qmail.utilities.check_passwd import check_passwd
from qmail.utilities.check_report import Report

Run = Callable[..., tuple[int, str, str]]
VIRTUAL = ("--uid", "5000", "--gid", "5000", "--mailhome", "/srv/x")


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command with a password on standard input; return code, output, errors."""

    def run(*words: str, password: bytes = b"secret\n") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(password)))
        code = front.main(["passwd", *words, "--home", str(home)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def lines(home: Path) -> list[bytes]:
    return (home / "users/passwd").read_bytes().splitlines()


def test_name_gets_a_line_with_keys_of_its_password(home: Path, run: Run) -> None:
    assert run("add", "Joe") == (0, "", "")
    (line,) = lines(home)
    assert line.startswith(b"joe:{SCRAM-SHA-256}15000,")
    entry = parse_passwd_line(line, 1)
    assert entry.keys is not None
    assert is_password_of(entry.keys, b"secret")
    path = home / "users/passwd"
    assert path.stat().st_mode & 0o7777 == 0o600
    assert (home / "users/passwd.key").stat().st_size == 32
    assert sorted(each.name for each in path.parent.iterdir()) == ["passwd", "passwd.key"]


def test_virtual_name_with_all_that_it_needs(home: Path, run: Run) -> None:
    words = ("add", "ann@example.net", *VIRTUAL, "--maildir", "./100%/", "--iterations", "4096")
    assert run(*words)[0] == 0
    (line,) = lines(home)
    assert line.endswith(b":5000:5000::/srv/x::userdb_mail=maildir:~/100%%")
    assert b"}4096," in line


def test_other_lines_stay_as_they_are(home: Path, run: Run) -> None:
    before = b"# ours\nann:$6$x$y:1:2:g:/h:/bin/sh:x=y\n\nbad line\n"
    (home / "users/passwd").write_bytes(before)
    assert run("add", "joe")[0] == 0
    assert (home / "users/passwd").read_bytes().startswith(before + b"joe:")
    assert run("set", "ann", password=b"other\n")[0] == 0
    found = lines(home)[1]
    assert found.startswith(b"ann:{SCRAM-SHA-256}15000,")
    assert found.endswith(b":1:2:g:/h:/bin/sh:x=y")
    assert run("remove", "ann")[0] == 0
    assert run("remove", "joe")[0] == 0
    assert (home / "users/passwd").read_bytes() == b"# ours\n\nbad line\n"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("add", "joe"), 100, "joe is there already: use 'set'"),
        (("set", "jane"), 100, "no such name: jane"),
        (("remove", "jane"), 100, "no such name: jane"),
        (("add", "a:b"), 100, "not what a name can be"),
        (("add",), 100, "add needs a NAME"),
        (("list", "joe"), 100, "list takes no NAME"),
        (("add", "x", "--iterations", "4095"), 100, "--iterations must be 4096"),
        (("add", "x", "--uid", "5"), 100, "field 4 (gid): missing"),
        (("add", "x", "--uid", "0", "--gid", "0", "--mailhome", "/"), 100, "root has no mailbox"),
        (("add", "x", "--mailhome", "/a:b"), 100, "can't stand in the file"),
        (("add", "x", "--maildir", "a b"), 100, "can't stand in the file"),
        (("add", "x", "--maildir", "../ann"), 100, "no path that can be used"),
        (("check", "jane"), 100, "no such name in users/passwd: jane"),
        (("frob",), 100, "invalid choice"),
    ],
)
def test_what_is_refused_changes_nothing(
    home: Path, run: Run, words: tuple[str, ...], code: int, says: str
) -> None:
    assert run("add", "joe")[0] == 0
    before = lines(home)
    found = run(*words)
    assert (found[0], lines(home)) == (code, before)
    assert says in found[2]


@pytest.mark.parametrize(
    ("password", "says"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"x" * 1021 + b"\n", "too long"),
        (b"a\0b\n", "NUL"),
        (b"\xff\xfe\n", "not UTF-8"),
        (b"tab\there\n", "U+0009"),
        ("\U0001f600\n".encode(), "too new"),
    ],
)
def test_passwords_that_are_refused(run: Run, password: bytes, says: str) -> None:
    code, _, err = run("add", "joe", password=password)
    assert code == 100
    assert says in err


def test_only_the_first_line_is_the_password(run: Run) -> None:
    assert run("add", "joe", password=b"secret\r\nmore\n")[0] == 0
    assert run("check", "joe", password=b"secret")[0] == 0


def test_password_is_checked(home: Path, run: Run) -> None:
    assert run("add", "joe")[0] == 0
    code, out, _ = run("check", "joe")
    assert code == 0
    assert out.startswith("right: uid ")
    assert out.rstrip().endswith("/alias/Maildir")
    assert run("check", "joe", password=b"wrong\n") == (1, "wrong password\n", "")


def test_lines_are_checked(home: Path, run: Run) -> None:
    assert run("check") == (0, "", "")
    (home / "users/passwd").write_text("joe:!\njoe:!\nann:{X}y\n")
    code, out, _ = run("check")
    assert code == 1
    assert out.splitlines()[0] == "users/passwd:2: field 1 (name): line 1 has it already"
    assert out.splitlines()[1].startswith("users/passwd:3: field 2 (password): the scheme X")


def test_names_are_listed(home: Path, run: Run) -> None:
    assert run("list") == (0, "", "")
    assert run("list", "--json")[1] == "[]\n"
    assert run("add", "ann@example.net", *VIRTUAL)[0] == 0
    with (home / "users/passwd").open("a") as file:
        file.write("old:$6$x$y\nclosed:!\nbad:{X}y\n")
    *good, bad = run("list")[1].splitlines()
    assert good == [
        "ann@example.net  SCRAM-SHA-256  5000:5000 /srv/x",
        "old  CRYPT",
        "closed  locked",
    ]
    assert bad.startswith("bad  users/passwd:4: field 2 (password): the scheme X is none of: ")
    found = json.loads(run("list", "--json")[1])
    assert found[0] == {
        "name": "ann@example.net", "scheme": "SCRAM-SHA-256", "iterations": 15000,
        "uid": 5000, "gid": 5000, "home": "/srv/x",
    }  # fmt: skip
    assert [row["name"] for row in found] == ["ann@example.net", "old", "closed", "bad"]
    assert found[3]["wrong"].startswith("users/passwd:4:")


def test_two_at_a_time_do_not_mix(home: Path, run: Run) -> None:
    import fcntl  # noqa: PLC0415

    assert run("add", "joe")[0] == 0
    with (home / "users/passwd.tmp").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        code, _, err = run("add", "ann")
    assert code == 111
    assert "another program is writing it now" in err
    assert len(lines(home)) == 1


def test_home_that_is_none(run: Run, tmp_path: Path) -> None:
    assert front.main(["passwd", "remove", "joe", "--home", str(tmp_path)]) == 111


def test_terminal_is_asked_without_echo(home: Path) -> None:
    start = "import sys; from qmail.utilities.front import main; sys.exit(main(sys.argv[1:]))"
    words = ("passwd", "add", "joe", "--home", str(home))
    command = [sys.executable, "-c", start, *words]
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(command[0], command)
    said = b""
    for _ in range(2):
        asked = said.count(b": ")
        while said.count(b": ") == asked:
            said += os.read(fd, 1000)
        os.write(fd, b"topsecret\n")
    try:
        while part := os.read(fd, 1000):
            said += part
    except OSError:
        # So the end of a terminal looks.
        pass
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    assert os.waitstatus_to_exitcode(status) == 0
    assert b"topsecret" not in said
    entry = parse_passwd_line(lines(home)[0], 1)
    assert entry.keys is not None
    assert is_password_of(entry.keys, b"topsecret")


# --- Dovecot ------------------------------------------------------------------------------------


def test_what_dovecot_makes_is_understood() -> None:
    # `doveadm pw -s SCRAM-SHA-256 -p secret` of Dovecot 2.3.19.
    text = (
        b"4096,J7nZRpboK5zhTTNPo5J9og==,OctKyy0ToLeWSC21FkTINqGq/yyCi2iUxdPciCmo2wo=,"
        b"tgRiTTg/hsi7hBniIWcPwx0NS5AtYBds1E7ui9Y9VNY="
    )
    assert is_password_of(parse_keys(text), b"secret")


def test_dovecot_understands_what_is_made(home: Path, run: Run) -> None:
    doveadm = shutil.which("doveadm")
    if doveadm is None:
        pytest.skip("doveadm is not installed (dovecot-core)")
    assert run("add", "joe", password="gr\u00fc\u00dfe 1\n".encode())[0] == 0
    secret = lines(home)[0].split(b":")[1]
    config = home / "empty.conf"
    config.touch()
    for password, is_right in (("gr\u00fc\u00dfe 1", True), ("wrong", False)):
        done = subprocess.run(
            [doveadm, "-c", str(config), "pw", "-t", secret, "-p", password],
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert (b"(verified)" in done.stdout) == is_right


# --- qmail check --------------------------------------------------------------------------------


def findings(home: Path) -> list[str]:
    report = Report()
    check_passwd(report, str(home), accounts_of(str(home)))
    return [*report.findings, *report.notes, *report.good]


def test_check_is_silent_without_the_file(home: Path) -> None:
    assert findings(home) == []


def test_check_of_a_good_file(home: Path, run: Run) -> None:
    assert run("add", "joe")[0] == 0
    os.chown(home / "users/passwd", *accounts_of(str(home)).sole or (-1, -1))
    assert findings(home) == ["1 passwords"]


def test_check_names_modes_and_lines(home: Path, run: Run) -> None:
    path = home / "users/passwd"
    path.write_text("joe:{X}y\nann:!:4000:1::/h\n")
    os.chown(path, *accounts_of(str(home)).sole or (-1, -1))
    path.chmod(0o640)
    mode, line, owner = findings(home)
    assert mode.endswith(f"passwords that others can read: run 'chmod 400 {path}'")
    assert line.startswith("error: users/passwd:1: field 2 (password): the scheme X")
    assert owner == (
        "error: users/passwd:2: the uid is not the account that runs this home: nobody can log in"
    )


def test_check_names_a_program_that_is_none(home: Path) -> None:
    (home / "control/checkpassword").write_text("/nonexistent/vchkpw\n")
    (found,) = findings(home)
    assert found == (
        "error: control/checkpassword: /nonexistent/vchkpw is no program: nobody can log in"
    )
    (home / "control/checkpassword").write_text("/bin/sh -c x\n")
    assert findings(home) == []
    (home / "users/passwd").touch(0o600)
    os.chown(home / "users/passwd", *accounts_of(str(home)).sole or (-1, -1))
    assert findings(home)[0] == (
        "note: control/checkpassword decides about logins: users/passwd counts for nothing"
    )


@pytest.mark.root
def test_root_check_names_the_owner(home: Path) -> None:
    path = home / "users/passwd"
    path.write_text("")
    os.chown(path, 12345, 12345)
    path.chmod(0o400)
    (found,) = findings(home)
    assert found.startswith(f"error: {path} is 12345:12345 0400 and must be ")
