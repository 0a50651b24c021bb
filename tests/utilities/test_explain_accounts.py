"""qmail explain under root: each part sees what the account sees that decides, and no more."""

import os
import pwd
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.fakes.accounts import account, own_name

from qmail.core.explain.explanation import Question
from qmail.edge.machine.accounts import MissingAccountError, separate_accounts
from qmail.edge.machine.passwd import Machine
from qmail.protocol.exits import Exit
from qmail.utilities import explain, front, init
from qmail.utilities.explain_parts import Observer

Run = Callable[..., tuple[int, str]]
IS_ROOT: Final = os.geteuid() == 0
JOE: Final = own_name("qxplain")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command; returns its exit code and what it printed."""

    def begin(*arguments: str) -> tuple[int, str]:
        code = front.main(["explain", *arguments])
        return code, capsys.readouterr().out

    return begin


@pytest.fixture
def separate(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with the separate accounts."""
    if not IS_ROOT:
        pytest.skip("needs root")
    try:
        separate_accounts()
    except MissingAccountError as missing:
        pytest.skip(str(missing))
    home = open_folder / "home"
    init.make_home(str(home), host="mx.here.example", listeners=(), say=lambda _line: None)
    monkeypatch.setenv("QMAIL_HOME", str(home))
    return home


@pytest.fixture
def joe(open_folder: Path) -> Iterator[pwd.struct_passwd]:
    """An account whose home is closed to everybody else."""
    home = open_folder / "joe"
    home.mkdir(mode=0o700)
    with account(JOE, home, "--shell", "/bin/false") as made:
        os.chown(home, made.pw_uid, made.pw_gid)
        yield made


def put(who: pwd.struct_passwd, name: str, text: str, mode: int = 0o600) -> Path:
    path = Path(who.pw_dir) / name
    path.write_text(text)
    path.chmod(mode)
    os.chown(path, who.pw_uid, who.pw_gid)
    return path


@pytest.mark.root
def test_root_a_closed_home_is_read_as_its_owner(
    separate: Path, joe: pwd.struct_passwd, run: Run
) -> None:
    path = put(joe, ".qmail-list", "&a@isp.example\n")
    (separate / "control/smtproutes").write_text(":[192.0.2.9]\n")
    code, text = run(f"{JOE}-list@mx.here.example", "--from", "s@isp.example")
    assert code == 0
    assert f"{JOE} (uid {joe.pw_uid}, home {joe.pw_dir})" in text
    assert str(path) in text
    assert "governs (mode 0600)" in text
    assert "note" not in text


@pytest.mark.root
def test_root_what_only_root_may_read_is_not_read(
    separate: Path, joe: pwd.struct_passwd, run: Run
) -> None:
    path = put(joe, ".qmail-list", "&a@isp.example\n")
    os.chown(path, 0, 0)
    code, text = run(f"{JOE}-list@mx.here.example")
    assert code == 111
    assert "Unable to read .qmail-list: permission denied. (#4.3.0)" in text
    assert "a@isp.example" not in text


@pytest.mark.root
def test_root_a_link_to_a_secret_shows_nothing_of_it(
    separate: Path, joe: pwd.struct_passwd, run: Run
) -> None:
    secret = separate.parent / "secret"
    secret.write_text("&hidden@isp.example\n")
    secret.chmod(0o600)
    (Path(joe.pw_dir) / ".qmail-list").symlink_to(secret)
    code, text = run(f"{JOE}-list@mx.here.example")
    assert (code, "hidden" in text) == (111, False)


@pytest.mark.root
@pytest.mark.parametrize(
    ("name", "part"),
    [("rcpthosts", "smtp in"), ("virtualdomains", "route"), ("smtproutes", "remote")],
)
def test_root_a_closed_control_file_is_what_its_program_would_meet(
    separate: Path, run: Run, name: str, part: str
) -> None:
    (separate / "control" / name).write_text("isp.example:[192.0.2.9]\n")
    if name == "rcpthosts":
        (separate / "control" / name).write_text("isp.example\n")
    (separate / "control" / name).chmod(0o600)
    code, text = run("a@isp.example", "--smtp")
    assert code == 111
    (line,) = (line for line in text.splitlines() if "permission denied" in line)
    assert line.split("  ")[1] == part
    assert f"control/{name}" in text


@pytest.mark.root
def test_root_a_sticky_home_puts_the_mail_off(
    separate: Path, joe: pwd.struct_passwd, run: Run
) -> None:
    os.chmod(joe.pw_dir, 0o1700)
    code, text = run(f"{JOE}@mx.here.example")
    assert code == 111
    assert "The home folder is sticky" in text


@pytest.mark.root
def test_root_an_ordinary_user_is_told_that_root_sees_more(
    separate: Path, joe: pwd.struct_passwd
) -> None:
    put(joe, ".qmail-list", "&a@isp.example\n")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setgroups([])
            os.setresgid(54331, 54331, 54331)
            os.setresuid(54331, 54331, 54331)
            found = _as_stranger(separate)
            code = 0 if found else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _as_stranger(home: Path) -> bool:
    """Explain to somebody else: nothing of the closed home is told, and why."""
    observer = Observer(str(home), separate_accounts(), is_root=False, directory=Machine())
    inquiry = explain.Inquiry(observer, default=(b"./Maildir/", "as the test says"))
    question = Question(f"{JOE}-list@mx.here.example".encode(), b"")
    (found,) = inquiry.run(question, is_following=False)
    text = "\n".join(step.text for step in found.steps)
    return (
        found.verdict is Exit.TEMPORARY
        and "seen as uid 54331" in text
        and "Unable to switch to" in text
        and "250 2.1.5 ok, if there is such a mailbox" in text
        and "a@isp.example" not in text
    )
