"""qmail-start with the real programs: starts, stops, starts again (spec/programs.md 1)."""

import email
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.door import wait_until
from tests.fakes.homes import HOST, as_owner, open_folder, others_can_run_the_programs
from tests.fakes.suite import Suite

from qmail.utilities.queue_check import repair

RESIDENTS = {"qmail-queue", "qmail-clean", "qmail-send", "qmail-lspawn", "qmail-rspawn",
             "qmail-verify", "qmail-smtpd"}  # fmt: skip
POSTMASTER = f"postmaster@{HOST}"


@pytest.fixture(scope="module")
def running() -> Iterator[Suite]:
    """One suite that runs, for tests that leave it as it was."""
    if not others_can_run_the_programs():
        pytest.skip("the programs lie where only root can read them")
    with open_folder() as folder, Suite(folder) as made:
        made.start().wait_for("status: local 0/")
        yield made


@pytest.fixture
def suite() -> Iterator[Suite]:
    if not others_can_run_the_programs():
        pytest.skip("the programs lie where only root can read them")
    with open_folder() as folder, Suite(folder) as made:
        yield made


def test_mail_goes_through_all_programs_and_term_stops_them_in_order(suite: Suite) -> None:
    suite.start()
    suite.wait_for("qmail-start: not root: ")
    suite.wait_for(f"qmail-start: listening: smtp 127.0.0.1:{suite.port}")
    suite.wait_for("status: local 0/")
    # The last ones may be started after the first one works.
    wait_until(lambda: set(suite.children) == RESIDENTS)
    children = suite.children
    suite.send_by_smtp(POSTMASTER, sender="joe@far.example")
    suite.wait_for(" from <joe@far.example> qp ")
    suite.wait_for(f" to local {POSTMASTER}")
    suite.wait_for("success: did_1+0+0/")
    suite.wait_for("end msg ")
    (message,) = suite.mailbox
    assert message.startswith(b"Return-Path: <joe@far.example>\nDelivered-To: postmaster@me.ex\n")
    assert suite.stop() == 0
    lines = suite.lines
    assert lines[-2:] == ["status: exiting", "qmail-start: stopped"]
    assert any(line.endswith(" exitasap") for line in lines)
    assert not any(os.path.exists(f"/proc/{pid}") for pid in children.values())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", suite.port))


def test_a_second_start_on_the_same_home_is_refused(running: Suite) -> None:
    with Suite.__new__(Suite) as second:
        second.home, second.bin, second.lines, second._rest = running.home, running.bin, [], b""
        second.environ = {}
        second.start()
        assert second.ended() == 111
        assert second.lines == [f"qmail-start: fatal: {running.home} is running already"]
    running.send(POSTMASTER)
    running.wait_for("end msg ")


@pytest.mark.parametrize("name", ["qmail-clean", "qmail-queue", "qmail-lspawn", "qmail-send"])
def test_a_program_that_is_killed_comes_back_and_mail_goes_on(running: Suite, name: str) -> None:
    before, mails = running.children[name], len(running.mailbox)
    with as_owner():
        os.kill(before, signal.SIGKILL)
    running.wait_for(f"{name} is gone (killed by signal 9); starting it again")
    if name == "qmail-send":
        # What comes just before its start it lets settle, and this test needs no more time.
        running.wait_for("status: ")
    running.send(POSTMASTER)
    running.wait_for("end msg ")
    assert len(running.mailbox) == mails + 1
    wait_until(lambda: running.children.get(name, before) != before)


def test_what_was_queued_before_a_stop_is_delivered_after_the_next_start(suite: Suite) -> None:
    suite.control("concurrencylocal", "0\n")
    suite.start().wait_for("status: local 0/0")
    suite.send(POSTMASTER)
    suite.wait_for("info msg ")
    assert suite.stop() == 0
    assert suite.mailbox == []
    for path in (suite.home / "queue/todo").iterdir():
        os.utime(path, (1, 1))
    suite.control("concurrencylocal", "5\n")
    suite.start().wait_for("status: local 0/5")
    suite.wait_for("end msg ")
    assert len(suite.mailbox) == 1


def test_a_message_whose_envelope_makes_no_sense_is_parked_and_comes_back_when_mended(
    suite: Suite,
) -> None:
    queue = suite.home / "queue"
    suite.control("concurrencylocal", "0\n")
    suite.start().wait_for("status: local 0/0")
    suite.send(POSTMASTER)
    suite.wait_for("info msg ")
    assert suite.stop() == 0
    (todo,) = (queue / "todo").iterdir()
    whole, number = todo.read_bytes(), todo.name
    todo.write_bytes(b"u0\0p7\0X" + whole)
    os.utime(todo, (1, 1))
    suite.control("concurrencylocal", "5\n")
    suite.start().wait_for(f"warning: unknown record type in todo/{number}")
    suite.wait_for(f"alert: message {number} has no readable envelope: parked/{number}.mess has it")
    assert suite.stop() == 0
    (queue / f"parked/{number}.todo").write_bytes(whole)
    assert all(finding.done for finding in repair(str(suite.home)).findings)
    suite.start().wait_for("end msg ")
    assert len(suite.mailbox) == 1


def test_a_failure_comes_back_as_a_bounce(suite: Suite) -> None:
    suite.control("bouncemaxbytes", "150000\n")
    with as_owner():
        (suite.home / "alias/.qmail-nosuch").write_text("|exit 100\n")
    suite.start().wait_for("status: ")
    text = "no line feed at the end " * 6000
    sizes = []
    for body in ("short\n", text, text * 2):
        suite.send(f"nosuch@{HOST}", sender=POSTMASTER, text=body)
        suite.wait_for(": failure: ")
        suite.wait_for_each("bounce msg ", "success: did_1+0+0/")
        (message,) = (m for m in suite.mailbox if len(m) not in sizes)
        assert b"\nHi. This is the qmail-send program at me.ex.\n" in message
        assert b"\n<nosuch@me.ex>:\n" in message
        assert message.endswith(b"\n")
        assert (body.encode() in message) is (body != text * 2)
        sizes.append(len(message))


def test_a_failure_comes_back_in_the_form_that_bounceformat_says(suite: Suite) -> None:
    with as_owner():
        (suite.home / "alias/.qmail-nosuch").write_text("|exit 100\n")
    suite.control("bounceformat", "dsn\n")
    suite.start().wait_for("status: ")
    suite.send(f"nosuch@{HOST}", sender=POSTMASTER)
    suite.wait_for_each("bounce msg ", "success: did_1+0+0/")
    (message,) = suite.mailbox
    report: Any = email.message_from_bytes(message)
    assert report.get_content_type() == "multipart/report"
    _, status, original = report.get_payload()
    about, recipient = status.get_payload()
    assert about["Reporting-MTA"] == "dns; me.ex"
    assert recipient["Final-Recipient"] == f"rfc822; nosuch@{HOST}"
    assert original.get_payload()[0]["Return-Path"] == f"<{POSTMASTER}>"


NO_BOUNCES = """#!/bin/sh
# Refuses for good what has an empty sender.
cat >"$QMAIL_HOME/kept" && cat <&1 >"$QMAIL_HOME/kept.envelope" || exit 54
case $(head -c 2 "$QMAIL_HOME/kept.envelope" | od -An -tx1) in
*46*00*) exit 31 ;;
esac
exec qmail-queue <"$QMAIL_HOME/kept" 1<"$QMAIL_HOME/kept.envelope"
"""


def test_a_bounce_that_a_filter_refuses_for_good_reaches_the_postmaster(suite: Suite) -> None:
    program = suite.home.parent / "no-bounces"
    program.write_text(NO_BOUNCES)
    program.chmod(0o755)
    suite.environ["QMAILQUEUE"] = str(program)
    with as_owner():
        (suite.home / "alias/.qmail-nosuch").write_text("|exit 100\n")
    suite.start().wait_for("status: ")
    suite.send(f"nosuch@{HOST}", sender="joe@far.example")
    refused = suite.wait_for("warning: bounce of msg ")
    assert "refused: mail_server_permanently_rejected_message_(#5.3.0)" in refused
    suite.wait_for_each("bounce msg ", "success: did_1+0+0/")
    (message,) = suite.mailbox
    assert message.startswith(b"Return-Path: <#@[]>\n")
    assert b"\n<joe@far.example>:\nmail server permanently rejected" in message
    assert b"\n--- Below this line is the original bounce.\n\nReturn-Path: <>\n" in message
    assert f"\n<nosuch@{HOST}>:\n".encode() in message


# --- what keeps it from starting ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("listeners", "smtp 127.0.0.1:25\nsmtp nowhere:25\n", "control/listeners:2: "),
        ("concurrencylocal", "many\n", "control/concurrencylocal:1: "),
        ("databytes", "1k\n", "control/databytes:1: "),
    ],
)
def test_a_bad_control_file_stops_the_start_with_file_and_line(
    suite: Suite, name: str, text: str, says: str
) -> None:
    suite.control(name, text)
    suite.start()
    assert suite.ended() == 111
    assert any(says in line for line in suite.lines)


def test_a_default_delivery_that_says_nothing_stops_the_start(suite: Suite) -> None:
    suite.control("defaultdelivery", "# later\n")
    suite.start("")
    assert suite.ended() == 111
    (line,) = suite.lines
    assert line == (
        "qmail-start: fatal: control/defaultdelivery says nothing: write ./Maildir/ into it"
    )


def test_the_argument_comes_before_the_control_file(suite: Suite) -> None:
    suite.control("defaultdelivery", "|exit 100\n")
    (suite.home / "alias/.qmail-postmaster").write_text("")
    suite.start("./Maildir/").wait_for("status: local 0/")
    suite.send(POSTMASTER)
    suite.wait_for("success: did_1+0+0/")


def test_a_port_in_use_stops_the_start(suite: Suite) -> None:
    with socket.create_server(("127.0.0.1", suite.port)):
        suite.start()
        assert suite.ended() == 111
    (line,) = suite.lines
    assert line.startswith(f"qmail-start: fatal: control/listeners: 127.0.0.1 port {suite.port}: ")


def test_a_home_that_is_not_there_stops_the_start(suite: Suite) -> None:
    (suite.home / "queue").rename(suite.home / "elsewhere")
    suite.start()
    assert suite.ended() == 111
    assert suite.lines == [
        f"qmail-start: fatal: {suite.home} has no queue: run 'qmail init --home {suite.home}'"
    ]


def test_options_are_refused(suite: Suite) -> None:
    suite.start("-x")
    assert suite.ended() == 100


# --- signals and the logger -----------------------------------------------------------------------


def test_hup_has_the_control_files_read_again_and_a_bad_one_is_told_of(running: Suite) -> None:
    before = (running.home / "control/locals").read_text()
    running.control("locals", "two words\n")
    try:
        running.signal(signal.SIGHUP)
        running.wait_for("alert: unable to reread control/locals")
        running.wait_for("qmail-send: control/locals:1: ")
    finally:
        running.control("locals", before)
    running.send(POSTMASTER)
    running.wait_for("end msg ")


def test_programs_1_the_log_goes_to_the_logger_of_the_command_line(suite: Suite) -> None:
    log = suite.home / "log.txt"
    with as_owner():
        log.write_bytes(b"")
    suite.start("./Maildir/", "sh", "-c", f"exec cat >>{log}; exit 0", "logger")
    follow(log, "status: local 0/")
    suite.send(POSTMASTER)
    follow(log, "end msg ")
    assert suite.stop() == 0
    assert suite.lines == []


def follow(log: Path, text: str) -> None:
    """Wait until a line with `text` is in the file."""
    wait_until(lambda: text.encode() in log.read_bytes())
