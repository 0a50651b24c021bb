"""qmail-log with the real programs: every form and destination; killed, it costs no mail."""

import json
import os
import re
import signal
import smtplib
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.homes import HOST, UID, open_folder, others_can_run_the_programs
from tests.fakes.suite import WAIT_S, Suite

from qmail.edge.log.folder import old_files
from qmail.programs import log as program

POSTMASTER = f"postmaster@{HOST}"


@pytest.fixture
def suite() -> Iterator[Suite]:
    if not others_can_run_the_programs():
        pytest.skip("the programs lie where only root can read them")
    with open_folder() as folder, Suite(folder) as made:
        yield made


def records(lines: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines if line.startswith("{")]


def wait_for(path: Path, text: str, count: int = 1) -> list[str]:
    """Wait until a file holds `text` so many times; return its lines."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        found = path.read_text() if path.exists() else ""
        if found.count(text) >= count:
            return found.splitlines()
        time.sleep(0.01)
    raise AssertionError(f"{found.count(text)} of {count} {text!r} in {path}")


def story(suite: Suite) -> None:
    """One message that arrives, one that bounces, one that is refused."""
    suite.send_by_smtp(POSTMASTER, sender="joe@far.example", text="Message-ID: no field\n")
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        suite.send_by_smtp("ann@elsewhere.example", sender="joe@far.example")
    suite.send(f"no-such@{HOST}", sender=POSTMASTER)


def test_json_on_descriptor_1_tells_each_message_by_one_id(suite: Suite) -> None:
    suite.control("log", "format json\n")
    suite.start().wait_for('"event":"status"')
    story(suite)
    suite.wait_for('"event":"child"')
    suite.wait_for('"event":"end"')
    suite.wait_for('"event":"end"')
    assert suite.stop() == 0
    assert suite.lines[-1].endswith('"program":"qmail-start","text":"stopped"}')


def test_every_line_about_a_message_has_its_id_from_smtp_to_the_end(suite: Suite) -> None:
    suite.control("log", "format both\ntime tai64n\nto file main\n")
    suite.start()
    classic, structured = suite.home / "log/main/current", suite.home / "log/main/json/current"
    wait_for(classic, "status: local 0/")
    story(suite)
    # Of the two messages, and of the bounce.
    wait_for(structured, '"event":"end"', 3)
    assert suite.stop() == 0
    found = records(structured.read_text().splitlines())
    (accepted,) = [one for one in found if one["event"] == "accept"]
    events = [one["event"] for one in found if one.get("id") == accepted["id"]]
    assert sorted(events) == sorted(["accept", "queued", "new", "info", "start", "delivery", "end"])
    (message, *_) = [text for text in suite.mailbox if b"joe@far.example" in text]
    assert b" with ESMTP id " + accepted["id"].encode() + b"; " in message
    (refused,) = [one for one in found if one["event"] == "refuse"]
    assert (refused["recipient"], refused["code"]) == ("ann@elsewhere.example", 553)
    sessions = [one.get("session") for one in found if one["event"] == "connect"]
    assert {accepted["session"], refused["session"]} <= set(sessions)
    (child,) = [one for one in found if one["event"] == "child"]
    (bounce,) = [one for one in found if one["event"] == "bounce"]
    assert bounce["id"] == child["parent"]
    assert [one["sender"] for one in found if one["event"] == "info" and one["id"] == child["id"]]
    # And the classic lines are what they would be without all this.
    lines = [re.sub(r"^@[0-9a-f]{24} ", "", line) for line in classic.read_text().splitlines()]
    assert not any("\x1f" in line or line.startswith(("{", "@")) for line in lines)
    assert any(re.fullmatch(r"info msg \d+: bytes \d+ from <joe@far.example> qp \d+ uid \d+", line)
               for line in lines)  # fmt: skip
    assert lines[-2:] == ["status: exiting", "qmail-start: stopped"]


def test_a_deferred_message_keeps_its_id_over_a_restart(suite: Suite) -> None:
    suite.control("log", "format json\nto file main\n")
    suite.control("concurrencylocal", "0")
    path = suite.home / "log/main/current"
    suite.start()
    wait_for(path, '"event":"status"')
    suite.send(POSTMASTER, POSTMASTER)
    wait_for(path, '"event":"info"')
    assert suite.stop() == 0
    suite.control("concurrencylocal", "5")
    suite.start()
    lines = wait_for(path, '"event":"end"')
    assert suite.stop() == 0
    ids = {one["id"] for one in records(lines) if one["event"] in ("queued", "delivery", "end")}
    assert len(ids) == 1


def test_logging_5_lines_reach_syslogs_and_journals_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "control").mkdir()
    (tmp_path / "control/log").write_text("format both\nto syslog\nto journal\n")
    socks = {}
    for name in ("SYSLOG", "JOURNAL"):
        monkeypatch.setattr(program, name, str(tmp_path / name))
        socks[name] = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        socks[name].settimeout(WAIT_S)
        socks[name].bind(str(tmp_path / name))
    reader, writer = os.pipe()
    os.write(writer, b"alert: oh no!\x1fid=abc\n")
    os.close(writer)
    monkeypatch.setenv("QMAIL_HOME", str(tmp_path))
    monkeypatch.setenv("QMAIL_LOG_PIPE", str(reader))
    umask = os.umask(0o027)
    try:
        assert program.main([]) == 0
    finally:
        os.umask(umask)
        os.close(reader)
    assert socks["SYSLOG"].recv(9999).startswith(b"<17>")
    assert b'"event":"alert"' in socks["SYSLOG"].recv(9999)
    assert b"PRIORITY=1\n" in (found := socks["JOURNAL"].recv(9999))
    assert b"QMAIL_ID=abc\n" in found
    for sock in socks.values():
        sock.close()


def test_as_a_logger_on_the_command_line_it_reads_descriptor_0(suite: Suite) -> None:
    (suite.home / "control/log").write_text("time iso\nto file main\n")
    command = [str(suite.bin / "qmail-log")]
    done = subprocess.run(
        command,
        input=b"new msg 5\nhalf",
        env={"PATH": os.environ["PATH"], "QMAIL_HOME": str(suite.home)},
        capture_output=True,
        timeout=WAIT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    text = (suite.home / "log/main/current").read_text()
    assert re.fullmatch(r"(\d{4}-\S+Z (new msg 5|half)\n){2}", text)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("format xml\n", 'control/log:1: "xml" is none of: classic, json, both'),
        ("to file none/main\n", "none/main: No such file or directory"),
    ],
)
def test_a_log_that_cannot_be_written_is_said_at_once(suite: Suite, lines: str, why: str) -> None:
    suite.control("log", lines)
    assert suite.start().ended() == 111
    assert any(why in line for line in suite.lines)


def test_qmail_log_killed_again_and_again_loses_no_mail_and_little_log(suite: Suite) -> None:
    suite.control("log", "format json\nto file main size 100000 keep 1000\n")
    suite.control("concurrencylocal", "20")
    suite.start()
    folder = suite.home / "log/main"
    wait_for(folder / "current", '"event":"status"')
    for _ in range(3):
        sending = threading.Thread(target=send_many, args=(suite, 20))
        sending.start()
        os.kill(logger_of(suite), signal.SIGKILL)
        sending.join()
    end = time.monotonic() + WAIT_S
    while len(suite.mailbox) < 60 and time.monotonic() < end:
        time.sleep(0.05)
    assert len(suite.mailbox) == 60
    assert suite.stop() == 0
    names = [*old_files(os.listdir(folder)), "current"]
    lines = "".join((folder / name).read_text() for name in names).splitlines()
    queued = sum('"event":"queued"' in line for line in lines)
    # Each kill may cost what qmail-log had just read, which on a slow machine is all of a round.
    assert queued >= 40


def logger_of(suite: Suite) -> int:
    """Wait until qmail-log runs; return its process id."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        pid = suite.children.get("qmail-log")
        if pid:
            return pid
        time.sleep(0.01)
    raise AssertionError("qmail-log does not come back")


def send_many(suite: Suite, count: int) -> None:
    """Send over a few connections."""
    with smtplib.SMTP("127.0.0.1", suite.port, timeout=WAIT_S) as smtp:
        for number in range(count):
            smtp.sendmail("joe@far.example", [POSTMASTER], f"Subject: {number}\n\nx\n")


def test_a_stopped_logger_holds_up_no_mail(suite: Suite) -> None:
    suite.control("log", "format json\nto file main\n")
    suite.start()
    wait_for(suite.home / "log/main/current", '"event":"status"')
    pid = suite.children["qmail-log"]
    os.kill(pid, signal.SIGSTOP)
    try:
        send_many(suite, 30)
        end = time.monotonic() + WAIT_S
        while len(suite.mailbox) < 30 and time.monotonic() < end:
            time.sleep(0.05)
        assert len(suite.mailbox) == 30
    finally:
        os.kill(pid, signal.SIGCONT)
    assert suite.stop() == 0
    text = (suite.home / "log/main/current").read_text()
    assert text.count('"event":"end"') == 30


def test_alrm_begins_a_new_file(suite: Suite) -> None:
    suite.control("log", "to file main\n")
    suite.start()
    folder = suite.home / "log/main"
    wait_for(folder / "current", "status: local 0/")
    os.kill(suite.children["qmail-log"], signal.SIGALRM)
    end = time.monotonic() + WAIT_S
    while not old_files(os.listdir(folder)) and time.monotonic() < end:
        time.sleep(0.01)
    assert len(old_files(os.listdir(folder))) == 1
    assert (folder / "current").parent.stat().st_uid == UID


def traced(suite: Suite, *arguments: str) -> list[dict[str, Any]]:
    """Return the events that `qmail trace` prints, as soon as it prints some."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        done = suite.qmail("trace", *arguments, "--json")
        if done.returncode == 0:
            return records(done.stdout.splitlines())
    raise AssertionError(done.stderr)


def test_trace_tells_a_message_by_any_of_its_names_and_a_refused_one(suite: Suite) -> None:
    suite.control("log", "to file main\ntrace on\n")
    suite.start()
    wait_for(suite.home / "log/main/current", "status: local 0/")
    story(suite)
    lines = wait_for(suite.home / "log/main/current", "bounce msg ")
    (refused,) = [one for one in traced(suite, "ann@elsewhere.example") if one["event"] == "refuse"]
    assert refused["code"] == 553
    accepted = next(line for line in lines if " accept " in line)
    qp = accepted.split(" qp ")[1].split()[0]
    assert suite.stop() == 0
    # The service is down; the index tells all the same.
    found = traced(suite, "joe@far.example", "--since", "1h", "--last", "9")
    ids = {one["id"] for one in found if one["event"] == "accept"}
    by_qp = traced(suite, qp)
    assert by_qp[0]["event"] == "connect"
    assert {one["id"] for one in by_qp} == ids
    assert {"accept", "queued", "info", "start", "delivery", "end"} <= {
        one["event"] for one in by_qp
    }
    (trace_id,) = ids
    assert traced(suite, trace_id) == by_qp
