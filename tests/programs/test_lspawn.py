"""qmail-lspawn: the real program, driven through its door (spec/delivery.md 2, 5, 9, 10)."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.programs.lspawn_driver import (
    WAIT_S,
    LspawnDriver,
    running_lspawn,
)

from qmail.core.local import route as local_route
from qmail.edge.machine.accounts import Accounts
from qmail.programs import lspawn
from qmail.protocol.doors import Job

MESSAGE = b"Subject: x\n\nbody\n"
TRACE = b"Return-Path: <s@example.org>\nDelivered-To: %s\n"
Starter = Callable[..., LspawnDriver]


@pytest.fixture
def start(folder: Path, own_accounts: Accounts) -> Iterator[Starter]:
    """Starts the program in a home of one account."""
    drivers = []

    def begin(default_delivery: str = "./Maildir/", **environ: str) -> LspawnDriver:
        driver = LspawnDriver(folder, own_accounts, default_delivery)
        drivers.append(driver)
        driver.make_home()
        driver.start(environ)
        return driver

    yield begin
    for driver in drivers:
        driver.close()


@pytest.fixture
def home(start: Starter) -> LspawnDriver:
    driver = start()
    driver.write(".qmail-joe", "")
    return driver


def test_message_arrives_with_its_trace_on_top(home: LspawnDriver) -> None:
    assert home.deliver("joe@example.net") == b"Kdid 1+0+0\n"
    assert home.mail() == [TRACE % b"joe@example.net" + MESSAGE]
    (file,) = (home.home / "alias" / "Maildir" / "new").iterdir()
    assert file.stat().st_mode & 0o7777 == 0o600


def test_many_at_once_all_arrive_and_are_reported_once(home: LspawnDriver) -> None:
    body = home.queue(MESSAGE)
    home.send(*(Job(n, body, b"s@example.org", b"joe@example.net") for n in range(1000, 2000)))
    assert {home.report(n) for n in range(1000, 2000)} == {b"Kdid 1+0+0\n"}
    assert home.mail() == [TRACE % b"joe@example.net" + MESSAGE] * 1000


def test_messages_of_every_size_are_complete(home: LspawnDriver) -> None:
    for size in (0, 1, 65535, 65536, 65537, 1_000_000):
        message = (b"X: y\n\n" + bytes(range(256)) * (size // 256 + 1))[:size]
        assert home.deliver("joe@example.net", message)[:1] == b"K"
        (file,) = (home.home / "alias" / "Maildir" / "new").iterdir()
        assert file.read_bytes() == TRACE % b"joe@example.net" + message
        file.unlink()


def test_header_of_ten_megabytes(home: LspawnDriver) -> None:
    message = b"X: " + b"y" * 10_000_000 + b"\nDelivered-To: joe@example.net\n\n"
    assert home.deliver("joe@example.net", message).startswith(b"DThis message has been delivered")
    assert home.deliver("joe@example.net", message.replace(b"joe@", b"jim@"))[:1] == b"K"


def test_loop_is_found(home: LspawnDriver) -> None:
    report = home.deliver("joe@example.net", b"Delivered-To: joe@example.net\n\n")
    assert report[:1] == b"D"
    assert b"#5.4.6" in report


def test_unknown_mailbox_bounces(home: LspawnDriver) -> None:
    report = home.deliver("nobody@example.net")
    assert report[:1] == b"D"
    assert b"#5.1.1" in report


def test_empty_local_part_is_trash(home: LspawnDriver) -> None:
    assert home.deliver("@example.net") == b"K"


NOT_TRIED = [
    (b"0/999999", b"joe@example.net", lspawn.CANNOT_READ),
    (b"../run/lspawn", b"joe@example.net", lspawn.BAD_BODY),
    (b"/etc/passwd", b"joe@example.net", lspawn.BAD_BODY),
    (b"", b"joe@example.net", lspawn.BAD_BODY),
    (b"0/" + b"1" * 100, b"joe@example.net", lspawn.BAD_BODY),
    (b"0", b"joe@example.net", lspawn.SUSPICIOUS),
    (b"0/1", b"joe", local_route.NO_DOMAIN),
    (b"0/1", b"j\0e@example.net", local_route.BAD_ADDRESS),
]


def test_jobs_that_are_not_tried(home: LspawnDriver) -> None:
    home.queue(MESSAGE)
    for number, (body, recipient, report) in enumerate(NOT_TRIED, 70):
        home.send(Job(number, body, b"s@example.org", recipient))
        assert home.report(number) == report
    assert home.deliver("joe@example.net")[:1] == b"K"


def test_link_in_the_queue_is_not_followed(home: LspawnDriver) -> None:
    (home.home / "queue" / "mess" / "0" / "5").symlink_to("/etc/passwd")
    home.send(Job(5, b"0/5", b"s@example.org", b"joe@example.net"))
    assert home.report(5) == lspawn.CANNOT_READ


def test_nonsense_at_the_door_ends_the_call_only(home: LspawnDriver) -> None:
    with home.call(home.accounts["qmails"].uid) as other:
        other.sendall(b"nonsense")
        assert other.recv(100) == b""
    assert home.deliver("joe@example.net")[:1] == b"K"


def test_default_file_and_program_environment(home: LspawnDriver) -> None:
    home.write(".qmail-list-default", '|echo "$DEFAULT $EXT $LOCAL $SENDER $NEWSENDER"; cat >got\n')
    report = home.deliver("list-A.b@example.net")
    assert report == b"KA.b list-A.b list-A.b s@example.org s@example.org\ndid 0+0+1\n"
    assert (home.home / "alias" / "got").read_bytes() == MESSAGE


def test_owner_file_makes_the_owner_the_sender(home: LspawnDriver) -> None:
    home.write(".qmail-list", "|echo $NEWSENDER\n")
    home.write(".qmail-list-owner", "")
    assert home.deliver("list@example.net").startswith(b"Klist-owner@example.net\n")
    home.write(".qmail-list-owner-default", "")
    assert home.deliver("list@example.net").startswith(b"Klist-owner-@example.net-@[]\n")


PROGRAM_EXITS = [
    (99, b"K"),
    (100, b"D"),
    (64, b"D"),
    (112, b"D"),
    (111, b"Z"),
    (1, b"Z"),
    (0, b"K"),
]


def test_exit_codes_of_programs(home: LspawnDriver) -> None:
    for code, letter in PROGRAM_EXITS:
        home.write(".qmail-joe", f"|echo said; exit {code}\n./box\n")
        report = home.deliver("joe@example.net")
        assert report.startswith(letter + b"said\n")
        assert (home.home / "alias" / "box").exists() is (code == 0)


def test_killed_program_is_put_off(home: LspawnDriver) -> None:
    home.write(".qmail-joe", "|kill -9 $$\n")
    assert home.deliver("joe@example.net") == b"ZThe program was killed by a signal. (#4.3.0)\n"


def test_program_that_prints_ten_megabytes_is_cut(home: LspawnDriver) -> None:
    home.write(".qmail-joe", "|head -c 10000000 /dev/zero | tr '\\000' x\n")
    report = home.deliver("joe@example.net")
    assert report[:1] == b"K"
    assert 2900 < len(report) <= 3001


def test_program_that_hangs_stops_nobody(home: LspawnDriver) -> None:
    os.mkfifo(home.home / "alias" / "gate")
    home.give(home.home / "alias" / "gate", "alias")
    home.write(".qmail-slow", "|read word < gate; exit 0\n")
    slow = home.order("slow@example.net", MESSAGE)
    assert home.deliver("joe@example.net")[:1] == b"K"
    with open(home.home / "alias" / "gate", "w") as gate:
        gate.write("go\n")
    assert home.report(slow) == b"Kdid 0+0+1\n"


def test_background_process_does_not_hold_the_report(home: LspawnDriver) -> None:
    os.mkfifo(home.home / "alias" / "gate")
    home.give(home.home / "alias" / "gate", "alias")
    home.write(".qmail-joe", "|echo hello; (read word < gate) &\n")
    assert home.deliver("joe@example.net") == b"Khello\ndid 0+0+1\n"
    with open(home.home / "alias" / "gate", "w") as gate:
        gate.write("go\n")


def test_lines_of_all_kinds_in_order(home: LspawnDriver) -> None:
    home.write(".qmail-joe", "# all\n./box\n./Maildir/\n|cat >copy\n")
    assert home.deliver("joe@example.net", b"From x\n") == b"Kdid 2+0+1\n"
    box = (home.home / "alias" / "box").read_bytes()
    assert box.startswith(b"From s@example.org ")
    assert box.endswith(b"Delivered-To: joe@example.net\n>From x\n\n")
    assert len(home.mail()) == 1
    assert (home.home / "alias" / "copy").read_bytes() == b"From x\n"


def test_two_maildirs_are_one_delivery(home: LspawnDriver) -> None:
    home.make_maildir(home.home / "alias" / "other")
    absolute = home.home / "alias" / "other"
    home.write(".qmail-joe", f"./Maildir/\n{absolute}/\n")
    assert home.deliver("joe@example.net") == b"Kdid 2+0+0\n"
    assert home.mail() == home.mail("other") == [TRACE % b"joe@example.net" + MESSAGE]


def test_missing_second_maildir_leaves_nothing_in_the_first(home: LspawnDriver) -> None:
    home.write(".qmail-joe", "./Maildir/\n./missing/\n")
    report = home.deliver("joe@example.net")
    assert report.startswith(b"ZUnable to deliver to ./missing/: no such file")
    assert b"#4.2.1" in report
    assert home.mail() == []


def test_comment_only_throws_the_message_away(home: LspawnDriver) -> None:
    home.write(".qmail-joe", "#\n")
    assert home.deliver("joe@example.net") == b"Kdid 0+0+0\n"


def test_file_that_others_may_write_is_not_obeyed(home: LspawnDriver) -> None:
    home.write(".qmail-joe", "./Maildir/\n", 0o602)
    report = home.deliver("joe@example.net")
    assert report[:1] == b"Z"
    assert b"#4.7.0" in report


def test_executable_file_may_only_forward(home: LspawnDriver) -> None:
    home.write(".qmail-joe", "./Maildir/\n", 0o700)
    report = home.deliver("joe@example.net")
    assert report[:1] == b"Z"
    assert b"#4.7.0" in report


HOME_MODES = [(0o770, b"K", b"did"), (0o702, b"Z", b"#4.7.0"), (0o1700, b"Z", b"#4.2.1")]


def test_mode_of_the_home(home: LspawnDriver) -> None:
    for mode, letter, why in HOME_MODES:
        (home.home / "alias").chmod(mode)
        report = home.deliver("joe@example.net")
        assert report[:1] == letter
        assert why in report


def test_missing_home_waits(home: LspawnDriver) -> None:
    (home.home / "alias").rename(home.home / "elsewhere")
    report = home.deliver("joe@example.net")
    assert report.startswith(b"ZUnable to switch to ")
    (home.home / "elsewhere").rename(home.home / "alias")
    assert home.deliver("joe@example.net")[:1] == b"K"


def test_maildir_that_is_replaced_is_seen_at_once(home: LspawnDriver) -> None:
    assert home.deliver("joe@example.net")[:1] == b"K"
    alias = home.home / "alias"
    (alias / "Maildir").rename(alias / "old")
    home.make_maildir(alias / "Maildir")
    assert home.deliver("joe@example.net")[:1] == b"K"
    assert len(home.mail("old")) == len(home.mail()) == 1


def test_forward_goes_through_qmailqueue(start: Starter, folder: Path) -> None:
    program = folder / "queue-program"
    program.write_text(f"#!/bin/sh\ncat > {folder}/alias/m\ncat <&1 > {folder}/alias/e\n")
    program.chmod(0o755)
    home = start(QMAILQUEUE=str(program))
    home.write(".qmail-joe", "&a@example.org\n|true\nb@example.org\n")
    report = home.deliver("joe@example.net")
    assert report.startswith(b"Kdid 0+2+1\nqp ")
    assert (folder / "alias" / "m").read_bytes() == b"Delivered-To: joe@example.net\n" + MESSAGE
    envelope = b"Fs@example.org\0Ta@example.org\0Tb@example.org\0\0"
    assert (folder / "alias" / "e").read_bytes() == envelope


@pytest.mark.parametrize(("code", "letter"), [(31, b"D"), (53, b"Z")])
def test_refused_forward(start: Starter, folder: Path, code: int, letter: bytes) -> None:
    program = folder / "queue-program"
    program.write_text(f"#!/bin/sh\ncat >/dev/null\ncat <&1 >/dev/null\nexit {code}\n")
    program.chmod(0o755)
    home = start(QMAILQUEUE=str(program))
    home.write(".qmail-joe", "a@example.org\n")
    assert home.deliver("joe@example.net").startswith(letter + b"Unable to forward message: ")


def test_killed_resident_puts_its_jobs_off_and_is_replaced(home: LspawnDriver) -> None:
    os.mkfifo(home.home / "alias" / "gate")
    home.give(home.home / "alias" / "gate", "alias")
    home.write(".qmail-slow", "|read word < gate\n")
    slow = home.order("slow@example.net", MESSAGE)
    assert home.deliver("joe@example.net")[:1] == b"K"
    (resident,) = home.children()
    os.kill(resident, signal.SIGKILL)
    assert home.report(slow)[:1] == b"Z"
    with open(home.home / "alias" / "gate", "w") as gate:
        gate.write("go\n")
    assert home.deliver("joe@example.net")[:1] == b"K"


def test_term_lets_the_running_delivery_finish(home: LspawnDriver) -> None:
    os.mkfifo(home.home / "alias" / "gate")
    home.give(home.home / "alias" / "gate", "alias")
    home.write(".qmail-slow", "|read word < gate; echo $word\n")
    slow = home.order("slow@example.net", MESSAGE)
    with open(home.home / "alias" / "gate", "w") as gate:
        # The program has opened its end: it runs.
        assert home.process is not None
        home.process.send_signal(signal.SIGTERM)
        gate.write("late\n")
    assert home.report(slow) == b"Klate\ndid 0+0+1\n"
    assert home.process.wait(WAIT_S) == 0


def test_lf_lines_of_default_delivery(start: Starter) -> None:
    home = start("|echo first\n./Maildir/")
    home.write(".qmail-joe", "")
    assert home.deliver("joe@example.net") == b"Kfirst\ndid 1+0+1\n"


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert lspawn.main([]) == 100
    assert "usage" in capsys.readouterr().err


def test_home_without_queue_is_fatal(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QMAIL_HOME", str(folder))
    assert lspawn.main(["./Maildir/"]) == 111
    assert "fatal" in capfd.readouterr().err


@pytest.fixture
def separate(folder: Path, suite_accounts: Accounts) -> Iterator[LspawnDriver]:
    """The program as root on a home with the separate accounts."""
    with running_lspawn(folder, suite_accounts) as driver:
        yield driver


@pytest.mark.root
def test_root_delivers_as_the_recipient_and_leaves_nothing_of_root(separate: LspawnDriver) -> None:
    separate.write(".qmail-joe", "|cat /proc/self/status; ls -l /proc/self/fd\n./Maildir/\n")
    report = separate.deliver("joe@example.net").decode()
    alias = separate.accounts["alias"]
    assert f"Uid:\t{alias.uid}\t{alias.uid}\t{alias.uid}\t{alias.uid}" in report
    assert f"Gid:\t{alias.gid}\t{alias.gid}\t{alias.gid}\t{alias.gid}" in report
    assert f"Groups:\t{alias.gid} \n" in report
    assert "CapEff:\t0000000000000000" in report
    assert "socket:" not in report
    (file,) = (separate.home / "alias" / "Maildir" / "new").iterdir()
    assert file.stat().st_uid == alias.uid
    assert separate.stop() == 0


@pytest.mark.root
def test_root_children_run_as_who_they_should(separate: LspawnDriver) -> None:
    separate.write(".qmail-joe", "")
    assert separate.deliver("joe@example.net")[:1] == b"K"
    wanted = {separate.accounts[name].uid for name in ("qmailp", "alias")}
    assert {os.stat(f"/proc/{pid}").st_uid for pid in separate.children()} <= wanted | {0}
    real: set[int] = set()
    for pid in separate.children():
        status = Path(f"/proc/{pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("Uid:"))
        real.update(int(uid) for uid in line.split()[1:])
    assert real == wanted


@pytest.mark.root
def test_root_user_root_is_alias(separate: LspawnDriver) -> None:
    separate.write(".qmail-root", "")
    assert separate.deliver("root@example.net")[:1] == b"K"
    assert len(separate.mail()) == 1


@pytest.mark.root
def test_root_message_of_another_owner_is_not_read(separate: LspawnDriver) -> None:
    separate.write(".qmail-joe", "")
    body = separate.queue(MESSAGE)
    os.chown(separate.home / "queue" / "mess" / body.decode(), 0, 0)
    separate.send(Job(5, body, b"s@example.org", b"joe@example.net"))
    assert separate.report(5) == lspawn.SUSPICIOUS


@pytest.mark.root
def test_root_only_qmails_may_call(separate: LspawnDriver) -> None:
    for uid in (0, separate.accounts["qmaild"].uid, separate.accounts["alias"].uid):
        with separate.call(uid) as sock:
            assert sock.recv(100) == b""


@pytest.mark.root
def test_root_killed_helper_is_replaced(separate: LspawnDriver) -> None:
    separate.write(".qmail-default", "")
    assert separate.deliver("joe@example.net")[:1] == b"K"
    helper_uid = separate.accounts["qmailp"].uid
    (helper,) = (
        pid
        for pid in separate.children()
        if f"Uid:\t{helper_uid}\t" in Path(f"/proc/{pid}/status").read_text()
    )
    os.kill(helper, signal.SIGKILL)
    reports = {separate.deliver(f"jim{n}@example.net")[:1] for n in range(3)}
    assert reports <= {b"K", b"Z"}
    assert separate.deliver("joe@example.net")[:1] in (b"K", b"Z")


@pytest.mark.root
def test_root_user_cannot_be_looked_into_by_the_recipient(separate: LspawnDriver) -> None:
    separate.write(".qmail-joe", "|cat /proc/$PPID/../$PPID/mem >/dev/null 2>&1 && echo open\n")
    assert b"open" not in separate.deliver("joe@example.net")


@pytest.mark.root
def test_root_full_disk_puts_off_and_leaves_nothing(separate: LspawnDriver) -> None:
    separate.write(".qmail-joe", "./small/\n")
    small = separate.home / "alias" / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", str(small)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("can't mount here")
    try:
        separate.give(small, "alias")
        for part in ("tmp", "new", "cur"):
            (small / part).mkdir(mode=0o700)
            separate.give(small / part, "alias")
        report = separate.deliver("joe@example.net", MESSAGE + b"x" * 100_000)
        assert report.startswith(b"ZUnable to deliver to ./small/: no space left on device")
        assert separate.mail("small") == []
        assert separate.deliver("joe@example.net")[:1] == b"K"
        assert len(separate.mail("small")) == 1
    finally:
        separate.stop()
        subprocess.run(["umount", "-l", str(small)], check=True)
