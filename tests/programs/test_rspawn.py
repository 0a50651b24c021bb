"""The real qmail-rspawn, with servers of the test's own and Postfix's sink."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.fakes.homes import IS_ROOT, UID, free_port
from tests.fakes.name_server import NameServer
from tests.fakes.smtp_server import FakeServer
from tests.programs.rspawn_driver import WAIT_S, Rspawn, make_home, write_controls

from qmail.protocol.doors import Job, LookAhead


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that the account of the home can reach."""
    folder = tempfile.mkdtemp(prefix="qmail-test-")
    os.chmod(folder, 0o755)
    yield Path(folder) / "home"
    shutil.rmtree(folder, ignore_errors=True)


def job(
    delivery: int, body: bytes, recipient: bytes = b"r@far.ex", sender: bytes = b"s@x.ex"
) -> Job:
    return Job(delivery, body, sender, recipient)


def until(is_so: Callable[[], bool]) -> None:
    """Wait for what another process does, for a bounded time."""
    end = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_message_is_delivered_by_its_route_and_the_connection_kept(home: Path) -> None:
    with FakeServer() as server:
        make_home(home, smtproutes=f":127.0.0.1:{server.port}\n")
        with Rspawn(home) as rspawn:
            body = rspawn.put_message(7, b"Subject: x\n\n.dot\nlast")
            for number in range(3):
                (report,) = rspawn.order(job(number, body))
                assert report == b"K127.0.0.1 accepted message.\nRemote host said: 250 taken\n"
    assert server.connections == 1
    assert server.commands[0] == b"EHLO me.ex"
    assert server.taken[0].mail == b"MAIL FROM:<s@x.ex> SIZE=27"
    assert server.taken[0].rcpts == [b"RCPT TO:<r@far.ex>"]
    assert server.taken[0].data == b"Subject: x\r\n\r\n..dot\r\nlast\r\n"


def test_many_jobs_are_reported_each_once(home: Path) -> None:
    with FakeServer() as server:
        make_home(home, smtproutes=f":127.0.0.1:{server.port}\n")
        with Rspawn(home) as rspawn:
            body = rspawn.put_message(7, b"x\n" * 500)
            reports = rspawn.order(*[job(number, body) for number in range(300)])
    assert {report[:1] for report in reports} == {b"K"}
    assert len(server.taken) == 300
    assert server.connections <= 20


def test_delivery_10_a_refused_recipient_is_told_with_both_texts(home: Path) -> None:
    with FakeServer(replies={b"RCPT": [b"550 no such user\r\n", b"450 full\r\n"]}) as server:
        make_home(home, smtproutes=f":127.0.0.1:{server.port}\n")
        with Rspawn(home) as rspawn:
            body = rspawn.put_message(7, b"x\n")
            (hard,) = rspawn.order(job(1, body))
            (soft,) = rspawn.order(job(2, body))
    text = b"127.0.0.1 does not like recipient.\nRemote host said: %b\nGiving up on 127.0.0.1.\n"
    assert hard == b"D" + text % b"550 no such user"
    assert soft == b"Z" + text % b"450 full"


BAD_JOBS = [
    (b"", b"r@far.ex", b"D", b"#5.3.5"),
    (b"../../control/me", b"r@far.ex", b"D", b"#5.3.5"),
    (b"/1/7", b"r@far.ex", b"D", b"#5.3.5"),
    (b"1/7/7", b"r@far.ex", b"D", b"#5.3.5"),
    (b"1/" + b"7" * 100, b"r@far.ex", b"D", b"#5.3.5"),
    (b"1/7", b"nobody", b"D", b"#5.1.3"),
    (b"1/7", b"r\r\nQUIT@far.ex", b"D", b"#5.1.3"),
    (b"1/99", b"r@far.ex", b"Z", b"#4.3.0"),
    (b"1/8", b"r@far.ex", b"Z", b"#4.3.0"),
    (b"1/9", b"r@far.ex", b"Z", b"#4.3.5"),
]


def test_delivery_10_each_job_is_checked(home: Path) -> None:
    with FakeServer() as server:
        make_home(home, smtproutes=f":127.0.0.1:{server.port}\n")
        with Rspawn(home) as rspawn:
            good = rspawn.put_message(7, b"x\n")
            os.symlink("7", home / "queue/mess/1/8")
            (home / "queue/mess/1/9").mkdir(mode=0o777)
            bad = [job(at, body, to) for at, (body, to, _, _) in enumerate(BAD_JOBS)]
            *reports, fine = rspawn.order(*bad, job(99, good))
            assert fine[:1] == b"K"
    for report, (_, _, letter, code) in zip(reports, BAD_JOBS, strict=True):
        assert report[:1] == letter
        assert code in report
    assert len(server.taken) == 1


@pytest.mark.root
def test_delivery_10_a_file_of_another_account_is_not_sent(home: Path) -> None:
    if not IS_ROOT:
        pytest.skip("needs root")
    with FakeServer() as server:
        make_home(home, smtproutes=f":127.0.0.1:{server.port}\n")
        with Rspawn(home) as rspawn:
            (home / "queue/mess/1/10").write_bytes(b"not of the queue\n")
            assert b"#4.3.5" in rspawn.order(job(1, b"1/10"))[0]
    assert not server.taken


def test_delivery_10_a_slot_in_use_is_refused(home: Path) -> None:
    with FakeServer(replies={b".": None}) as server:
        make_home(home, smtproutes=f":127.0.0.1:{server.port}\n")
        with Rspawn(home) as rspawn:
            body = rspawn.put_message(7, b"x\n")
            rspawn.sock.sendall(job(1, body).pack() + job(1, body).pack())
            assert b"#4.3.5" in rspawn.report(1)


@pytest.mark.root
def test_only_qmail_send_may_call(home: Path) -> None:
    if not IS_ROOT:
        pytest.skip("needs root: to call as another account")
    make_home(home)
    with Rspawn(home) as rspawn:
        with rspawn.call(as_uid=False) as stranger:
            assert stranger.recv(1) == b""
        assert b"#5.3.5" in rspawn.order(job(1, b""))[0]


def test_a_caller_that_breaks_the_framing_is_hung_up_on_and_others_are_served(home: Path) -> None:
    make_home(home)
    with Rspawn(home) as rspawn:
        with rspawn.call() as bad:
            bad.sendall(b"this is no netstring")
            with contextlib.suppress(ConnectionResetError):
                assert bad.recv(1) == b""
        assert b"#5.3.5" in rspawn.order(job(1, b""))[0]


def test_qmail_send_may_go_and_come_back(home: Path) -> None:
    with FakeServer() as server:
        make_home(home, smtproutes=f":127.0.0.1:{server.port}\n")
        with Rspawn(home) as rspawn:
            body = rspawn.put_message(7, b"x\n")
            rspawn.sock.sendall(job(1, body).pack())
            rspawn.sock.close()
            until(lambda: len(server.taken) == 1)
            rspawn.sock = rspawn.call()
            assert rspawn.order(job(1, body))[0][:1] == b"K"


def test_a_server_that_is_down_is_a_deferral(home: Path) -> None:
    make_home(home, smtproutes=f":127.0.0.1:{free_port()}\n")
    with Rspawn(home) as rspawn:
        (report,) = rspawn.order(job(1, rspawn.put_message(7, b"x\n")))
    assert report[:1] == b"Z"
    assert b"#4.4.1" in report


def test_a_greeting_of_5xx_at_the_only_host_is_permanent(home: Path) -> None:
    with FakeServer(greeting=b"554 no mail here\r\n") as server:
        make_home(home, smtproutes=f":127.0.0.1:{server.port}\n")
        with Rspawn(home) as rspawn:
            (report,) = rspawn.order(job(1, rspawn.put_message(7, b"x\n")))
    assert report == (
        b"DConnected to 127.0.0.1 but greeting failed.\nRemote host said: 554 no mail here\n"
    )


def test_hosts_are_looked_up_ahead_of_their_mail(home: Path) -> None:
    make_home(home)
    zone = {("ahead.ex.", "MX"): ["ahead.ex. 60 IN MX 0 ."]}
    with NameServer(zone) as names, Rspawn(home, {"QMAIL_RESOLVER": names.where}) as rspawn:
        rspawn.sock.sendall(LookAhead(b"ahead.ex").pack() + LookAhead(b"\xff\xff").pack())
        until(lambda: len(names.asked) > 0)
        body = rspawn.put_message(1, b"x\n")
        (report,) = rspawn.order(job(1, body, b"r@ahead.ex"))
        assert report.startswith(b"D")
    # Asked again only where the first answer has not come in a second.
    assert set(names.asked) == {("ahead.ex.", "MX")}


def test_a_name_server_that_is_down_is_a_deferral(home: Path) -> None:
    make_home(home)
    with Rspawn(home, {"QMAIL_RESOLVER": "not a server"}) as rspawn:
        (report,) = rspawn.order(job(1, rspawn.put_message(7, b"x\n")))
    assert report[:1] == b"Z"
    assert b"#4.1.2" in report


def test_hup_rereads_the_controls_and_keeps_the_old_ones_if_they_are_bad(home: Path) -> None:
    with FakeServer() as first, FakeServer() as second:
        make_home(home, smtproutes=f":127.0.0.1:{first.port}\n")
        with Rspawn(home) as rspawn:
            body = rspawn.put_message(7, b"x\n")
            rspawn.order(job(0, body))
            write_controls(home, smtproutes=f":127.0.0.1:{second.port}\n")
            rspawn.process.send_signal(signal.SIGHUP)

            def goes_to_the_second() -> bool:
                assert rspawn.order(job(1, body))[0][:1] == b"K"
                return bool(second.taken)

            until(goes_to_the_second)
            write_controls(home, smtproutes="no colon here\n")
            rspawn.process.send_signal(signal.SIGHUP)
            assert rspawn.process.stderr is not None
            assert b"control/smtproutes:1: no colon" in rspawn.process.stderr.readline()
            assert rspawn.order(job(1, body))[0][:1] == b"K"


def test_term_lets_a_delivery_end_and_reports_it(home: Path) -> None:
    with FakeServer(replies={b".": None}) as server:
        make_home(home, smtproutes=f":127.0.0.1:{server.port}\n")
        with Rspawn(home) as rspawn:
            rspawn.sock.sendall(job(1, rspawn.put_message(7, b"x\n")).pack())
            assert server.has_data.wait(WAIT_S)
            rspawn.process.send_signal(signal.SIGTERM)
            server.hang_up()
            assert b"Possible duplicate!" in rspawn.report(1)
            assert rspawn.process.wait(WAIT_S) == 0


def test_term_with_nothing_to_do_ends_at_once(home: Path) -> None:
    make_home(home)
    with Rspawn(home) as rspawn:
        rspawn.order(job(1, b""))
        assert rspawn.signal_and_wait(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("smtproutes", ":relay:notaport\n", "control/smtproutes:1: "),
        ("timeoutremote", "soon\n", "control/timeoutremote:1: "),
        ("me", "", "control/me:1: "),
    ],
)
def test_a_bad_control_file_stops_the_start(home: Path, name: str, text: str, said: str) -> None:
    make_home(home)
    write_controls(home, **{name: text})
    with Rspawn(home) as rspawn:
        assert rspawn.process.wait(WAIT_S) == 111
        assert said in rspawn.said()


def test_without_me_it_does_not_start(home: Path) -> None:
    make_home(home)
    os.unlink(home / "control/me")
    with Rspawn(home) as rspawn:
        assert rspawn.process.wait(WAIT_S) == 111
        assert "control/me" in rspawn.said()


SCRIPTS = {
    "a": (
        r'printf "r\0K%s %s %s " "$1" "$2" "$3"; cat; printf "\0"',
        b"Kfar.ex s@x.ex a@far.ex x\n",
    ),
    "b": (r'printf "sbusy\n\0DGiving up\n\0"', b"Zbusy\nGiving up\n"),
    "c": ("exit 111", b"Z"),
    "d": ("exit 3", b"D"),
    "e": ("kill -9 $$", b"Z"),
    "f": ("exit 0", b"Z"),
    "g": ("head -c 1000000 /dev/zero", b"D"),
}


def test_delivery_10_qmailremote_names_another_program(home: Path) -> None:
    make_home(home)
    program = home / "remote"
    cases = "\n".join(f"{name}@*) {script} ;;" for name, (script, _) in SCRIPTS.items())
    program.write_text(f'#!/bin/sh\ncase "$3" in\n{cases}\nesac\n')
    program.chmod(0o755)
    with Rspawn(home, {"QMAILREMOTE": str(program)}) as rspawn:
        body = rspawn.put_message(7, b"x\n")
        jobs = [job(at, body, f"{name}@far.ex".encode()) for at, name in enumerate(SCRIPTS)]
        for said, (_, report) in zip(rspawn.order(*jobs), SCRIPTS.values(), strict=True):
            assert said == report if len(report) > 1 else said[:1] == report


def test_a_qmailremote_that_is_not_there_is_a_deferral(home: Path) -> None:
    make_home(home)
    with Rspawn(home, {"QMAILREMOTE": "/nonexistent/remote"}) as rspawn:
        (said,) = rspawn.order(job(1, rspawn.put_message(7, b"x\n")))
    assert said[:1] == b"Z"
    assert b"#4.3.0" in said


@pytest.mark.skipif(
    shutil.which("smtp-sink", path="/usr/sbin:/usr/bin") is None, reason="no postfix"
)
def test_postfix_takes_what_we_send(home: Path) -> None:
    dump = home.parent / "dump"
    dump.mkdir()
    dump.chmod(0o777)
    sink = shutil.which("smtp-sink", path="/usr/sbin:/usr/bin")
    assert sink is not None
    port = free_port()
    owner = {"user": UID, "group": UID, "extra_groups": []} if IS_ROOT else {}
    arguments = [sink, "-d", "taken.", f"127.0.0.1:{port}", "100"]
    with subprocess.Popen(arguments, cwd=dump, **owner) as process:  # type: ignore[call-overload]
        try:
            until(lambda: is_listening(port))
            make_home(home, smtproutes=f":127.0.0.1:{port}\n")
            with Rspawn(home) as rspawn:
                long = b"X: y\n\n" + b".a line of this message\n" * 20000
                bodies = [rspawn.put_message(7, b"X: y\n\n.\nend\n"), rspawn.put_message(8, long)]
                jobs = [job(number, bodies[number % 2]) for number in range(20)]
                assert {report[:1] for report in rspawn.order(*jobs)} == {b"K"}
        finally:
            process.terminate()
    texts = [path.read_bytes().replace(b"\r\n", b"\n") for path in dump.iterdir()]
    assert sum(text.count(b"X: y\n\n.\nend\n") for text in texts) == 10
    assert sum(text.count(long) for text in texts) == 10


def is_listening(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
