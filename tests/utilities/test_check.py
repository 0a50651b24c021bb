"""`qmail check` finds what is wrong with a set-up, says what to do, and changes nothing."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qmail.core.settings.places import DOORS
from qmail.edge.machine.processes import listening_sockets
from qmail.launchers import PROGRAMS
from qmail.utilities import front

IS_ROOT = os.geteuid() == 0


@pytest.fixture(autouse=True)
def programs(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with every program in it, where `check` looks for them."""
    folder = open_folder / "bin"
    folder.mkdir()
    for name in PROGRAMS:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    (folder / "python").symlink_to(os.path.realpath(sys.executable))
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    return folder


@pytest.fixture
def check(
    home: Path, capsys: pytest.CaptureFixture[str], unused_port: int
) -> Callable[[], tuple[int, str]]:
    """Run `qmail check` on the home; return exit code and output."""
    (home / "control/listeners").write_text(f"smtp 127.0.0.1:{unused_port}\n")

    def run() -> tuple[int, str]:
        capsys.readouterr()
        code = front.main(["check", "--home", str(home)])
        return code, capsys.readouterr().out

    return run


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


Check = Callable[[], tuple[int, str]]


def test_a_fresh_home_is_in_order(check: Check, home: Path) -> None:
    code, text = check()
    assert code == 0, text
    assert f"{home} is in order: " in text
    assert "one account" in text
    assert "error" not in text


def test_it_changes_nothing(check: Check, home: Path) -> None:
    os.chmod(home / "queue", 0o777)
    (home / "queue/bounce").rmdir()
    check()
    assert os.stat(home / "queue").st_mode & 0o7777 == 0o777
    assert not (home / "queue/bounce").exists()


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("databytes", "much\n", ["control/databytes:1:"]),
        ("me", "two words\n", ["control/me:1:"]),
        ("locals", "a.example\nb c\n# d e\nf:g\n", ["control/locals:2:", "control/locals:4:"]),
        ("smtproutes", "a\nb:c:d\n", ["control/smtproutes:1:", "control/smtproutes:2:"]),
        ("virtualdomains", "a.example\n", ["control/virtualdomains:1:"]),
        ("relayclients", "10.0.0.0/8\n10.0.0.300\n", ["control/relayclients:2:"]),
        ("listeners", "smtp 1.2.3.4\ngopher [::1]:70\n", [":1:", ":2:"]),
        ("listeners", "smtp 127.0.0.1:2525\nsmtp 127.0.0.1:2525\n", ["twice"]),
        ("split", "none\n", ["control/split:1:"]),
        ("split", "0\n", ["control/split:1:"]),
    ],
)
def test_every_bad_line_of_every_file_is_told(
    check: Check, home: Path, name: str, text: str, lines: list[str]
) -> None:
    (home / "control" / name).write_text(text)
    (home / "control/queuelifetime").write_text("ever\n")
    code, output = check()
    assert code == 1
    found = [line for line in output.splitlines() if line.startswith(f"error: control/{name}:")]
    assert len(found) == len(lines)
    assert all(part in line for part, line in zip(lines, found, strict=True))
    assert "error: control/queuelifetime:1:" in output


def test_a_file_nobody_reads_is_a_warning(check: Check, home: Path) -> None:
    (home / "control/rcpthost").write_text("a.example\n")
    code, output = check()
    assert code == 1
    assert "warning: control/rcpthost: no program reads" in output


@pytest.mark.parametrize("path", ["queue/bounce", "queue/mess/3", "queue/parked"])
def test_damage_of_the_queue_points_at_the_repair(check: Check, home: Path, path: str) -> None:
    repair = f"stop qmail-start and run 'qmail queue check --repair --home {home}'"
    (home / path).rmdir()
    code, output = check()
    assert (code, f"error: {home}/{path}: No such file or directory: {repair}" in output) == (
        1,
        True,
    )
    (home / path).mkdir(mode=0o777)
    (home / path).chmod(0o777)
    assert repair in check()[1]
    (home / path).rmdir()
    (home / path).write_text("no folder")
    assert f"{home}/{path} is not a folder: {repair}" in check()[1]


def test_a_file_of_the_queue_that_is_somebody_elses_points_at_the_repair(
    check: Check, home: Path
) -> None:
    if not IS_ROOT:
        pytest.skip("needs root: gives a file away")
    for path in ("queue/todo/7", "queue/parked/7.todo"):
        (home / path).write_bytes(b"")
        os.chown(home / path, 12345, -1)
        assert f"{home}/{path} does not belong to" in check()[1]
        assert f"qmail queue check --repair --home {home}'" in check()[1]


def test_a_restored_message_points_at_the_repair(check: Check, home: Path) -> None:
    path = home / "queue/mess/0/23"
    path.write_bytes(b"text")
    if IS_ROOT:
        os.chown(path, home.stat().st_uid, home.stat().st_gid)
    code, output = check()
    assert code == 1
    assert f"warning: a message in {home}/queue/mess under another number" in output
    assert f"run 'qmail queue check --repair --home {home}'" in output
    path.rename(home / f"queue/mess/0/{path.stat().st_ino}")
    assert check()[0] == 0


def test_a_repair_that_was_cut_off_is_an_error(check: Check, home: Path) -> None:
    (home / "queue/repair").mkdir()
    (home / "queue/repair/unfinished").write_text("check --repair\n")
    code, output = check()
    assert code == 1
    assert f"cut off: run 'qmail queue check --repair --home {home}'" in output


@pytest.mark.parametrize(("count", "said"), [(1, "a message in"), (3, "3 messages in")])
def test_what_is_parked_is_a_warning(check: Check, home: Path, count: int, said: str) -> None:
    for number in range(count):
        (home / f"queue/parked/{number}.mess").write_bytes(b"text")
        (home / f"queue/parked/{number}.todo").write_bytes(b"?")
        if IS_ROOT:
            owner = home.stat()
            for kind in ("mess", "todo"):
                os.chown(home / f"queue/parked/{number}.{kind}", owner.st_uid, owner.st_gid)
    code, output = check()
    assert code == 1
    assert f"warning: {said} {home}/queue/parked, because the envelope makes no sense" in output
    assert output.count("--repair") == 1


def test_a_missing_rcpthosts_is_noted_as_closed(check: Check, home: Path) -> None:
    (home / "control/rcpthosts").unlink()
    code, output = check()
    assert code == 0
    assert "note: control/rcpthosts is missing: mail comes in from relay clients only" in output


def test_a_missing_me_is_an_error(check: Check, home: Path) -> None:
    (home / "control/me").unlink()
    code, output = check()
    assert code == 1
    assert "error: control/me is missing" in output


def test_a_local_domain_that_is_closed_is_noted(check: Check, home: Path) -> None:
    (home / "control/locals").write_text("mx.example.org\nb.sub.example.net\nc.example.com\n")
    (home / "control/rcpthosts").write_text("mx.example.org\n.sub.example.net\n")
    code, output = check()
    assert code == 0
    assert "note: c.example.com is local and not in control/rcpthosts" in output
    assert "b.sub.example.net" not in output


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda home: os.chmod(home / "queue", 0o777), "/queue is "),
        (lambda home: os.chmod(home / "alias", 0o755), "/alias is "),
        (lambda home: (home / "queue/remote/22").rmdir(), "/queue/remote/22: No such file"),
        (lambda home: (home / "queue/mess/22").rmdir(), "/queue/mess/22: No such file"),
        (lambda home: (home / "queue/lock/trigger").unlink(), "/lock/trigger: No such file"),
        (lambda home: os.chmod(home / "queue/lock/trigger", 0o600), "/lock/trigger is "),
        (lambda home: (home / "run").rmdir(), "/run: No such file"),
        (lambda home: os.chmod(home / "control/me", 0o666), "control/me can be written by others"),
        (lambda home: (home / "alias/.qmail-postmaster").unlink(), "mail for postmaster bounces"),
    ],
)
def test_wrong_folders_and_modes_are_told(
    check: Check, home: Path, damage: Callable[[Path], None], what: str
) -> None:
    damage(home)
    code, output = check()
    assert code == 1
    assert len([line for line in output.splitlines() if what in line]) == 1
    assert output.splitlines()[-1] == f"{home}: 1 findings"


def test_something_else_in_place_of_a_folder_is_told(check: Check, home: Path) -> None:
    (home / "queue/intd").rmdir()
    (home / "queue/intd").write_text("")
    code, output = check()
    assert code == 1
    assert "/queue/intd is not a folder" in output


def test_a_split_that_does_not_fit_the_queue_is_told(check: Check, home: Path) -> None:
    (home / "control/split").write_text("101\n")
    assert "control/split says 101, the queue was made with 23" in check()[1]


@pytest.mark.parametrize("folder", ["home/alias", "bin"])
@pytest.mark.parametrize("mode", [0o4755, 0o2755])
def test_a_set_id_file_is_told(check: Check, home: Path, *, folder: str, mode: int) -> None:
    path = home.parent / folder / "set-id"
    path.write_text("")
    path.chmod(mode)
    code, output = check()
    assert code == 1
    assert f"error: {path} has set-id" in output


def test_a_missing_program_is_told(check: Check, programs: Path) -> None:
    (programs / "qmail-remote").unlink()
    code, output = check()
    assert code == 1
    assert "qmail-remote: run 'make install'" in output


def test_a_home_that_is_not_there_is_one_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert front.main(["check", "--home", str(tmp_path / "none")]) == 1
    assert "has no queue: run 'qmail init --home" in capsys.readouterr().out


def test_a_taken_port_is_told_with_its_holder(check: Check, home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (home / "control/listeners").write_text(f"smtp 127.0.0.1:{port}\n")
        code, output = check()
    assert code == 1
    assert f"127.0.0.1 port {port} is taken by pid {os.getpid()} (" in output


def test_listening_sockets_of_both_families_are_seen() -> None:
    families = [(socket.AF_INET, "127.0.0.1")]
    if socket.has_dualstack_ipv6():
        families.append((socket.AF_INET6, "::1"))
    for family, host in families:
        with socket.create_server((host, 0), family=family) as server:
            port = server.getsockname()[1]
            assert (host, port) in {(one.host, one.port) for one in listening_sockets()}


# --- what runs ----------------------------------------------------------------------------------


@pytest.fixture
def fake(home: Path, programs: Path) -> Iterator[Callable[..., int]]:
    """Start something that looks like one of the programs of the home; return its pid."""
    running: list[subprocess.Popen[bytes]] = []

    def start(name: str, its_home: str = str(home)) -> int:
        (programs / name).write_text("import sys\nprint(flush=True)\nsys.stdin.read()\n")
        process = subprocess.Popen(
            (os.path.realpath(sys.executable), "-IS", str(programs / name)),
            env={"QMAIL_HOME": its_home},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        return process.pid

    yield start
    for process in running:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def test_a_suite_without_one_of_its_programs_is_told(
    check: Check, fake: Callable[..., int]
) -> None:
    fake("qmail-start")
    fake("qmail-queue")
    code, output = check()
    assert code == 1
    assert "error: qmail-send does not run" in output
    assert "error: qmail-queue does not run" not in output
    assert "qmail-log" not in output


def test_a_logger_is_missed_where_control_log_asks_for_one(
    check: Check, fake: Callable[..., int], home: Path
) -> None:
    (home / "control/log").write_text("format json\n")
    fake("qmail-start")
    assert "error: qmail-log does not run" in check()[1]


def test_a_door_that_is_missing_or_open_to_others_is_told(
    check: Check, fake: Callable[..., int], home: Path
) -> None:
    fake("qmail-start")
    owner = (home / "queue").stat()
    for name, (_owner, mode) in DOORS.items():
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(str(home / "run" / name))
        os.chown(home / "run" / name, owner.st_uid, owner.st_gid)
        (home / "run" / name).chmod(mode)
    assert "run/" not in check()[1]
    (home / "run/verify").unlink()
    (home / "run/mailbox").chmod(0o666)
    code, output = check()
    assert code == 1
    assert "error: run/verify: No such file or directory: restart qmail-start" in output
    assert "error: run/mailbox is not a socket of " in output
    assert output.count("error: run/") == 2


def test_a_program_of_another_home_is_not_ours(
    check: Check, fake: Callable[..., int], home: Path
) -> None:
    fake("qmail-start", str(home.parent))
    code, output = check()
    assert code == 0
    assert "not running" in output


@pytest.mark.root
@pytest.mark.skipif(not IS_ROOT, reason="needs root: a program under the wrong account")
def test_a_program_under_the_wrong_account_is_told(check: Check, fake: Callable[..., int]) -> None:
    pid = fake("qmail-send")
    remote = fake("qmail-remote")
    code, output = check()
    assert code == 1
    assert f"error: qmail-send (pid {pid}) runs as root instead of nobody" in output
    assert f"error: qmail-remote (pid {remote}) runs as root" in output


@pytest.mark.root
@pytest.mark.skipif(not IS_ROOT, reason="needs root: separate accounts")
def test_a_home_with_separate_accounts_is_in_order_until_something_is_closed(
    open_folder: Path, capsys: pytest.CaptureFixture[str], unused_port: int
) -> None:
    home = open_folder / "separate"
    listen = f"smtp 127.0.0.1:{unused_port}"
    arguments = ["init", "--home", str(home), "--host", "mx.example.org", "--listen", listen]
    assert front.main(arguments) == 0
    capsys.readouterr()
    assert front.main(["check", "--home", str(home)]) == 0
    assert "7 accounts" in capsys.readouterr().out
    (home / "queue/mess/4/4").write_text("x")
    (home / "control/me").chmod(0o600)
    open_folder.chmod(0o700)
    assert front.main(["check", "--home", str(home)]) == 1
    output = capsys.readouterr().out
    assert f"error: {home}/queue/mess/4/4 does not belong to qmailq" in output
    assert "control/me is closed to the programs" in output
    assert f"error: {open_folder} is closed to the accounts of qmail" in output


# --- what other packages find in the home --------------------------------------------------------


def test_a_command_that_the_home_has_no_link_to_is_a_warning(check: Check, home: Path) -> None:
    (home / "bin/qmail-queue").unlink()
    (home / "bin/sendmail").unlink()
    code, output = check()
    assert code == 1
    assert f"warning: {home}/bin lacks qmail-queue, sendmail: " in output


def test_a_command_of_somebody_else_in_the_home_is_noted(
    check: Check, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "qmail-scanner").write_text("#!/bin/sh\n")
    (home / "bin/qmail-queue").unlink()
    (home / "bin/qmail-queue").symlink_to(tmp_path / "qmail-scanner")
    code, output = check()
    assert code == 0
    assert f"note: {home}/bin has qmail-queue from elsewhere, " in output
