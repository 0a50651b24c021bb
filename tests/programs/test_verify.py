"""Unknown recipients are refused: the whole suite as qmail-start runs it (spec/oddities.md 2)."""

import contextlib
import os
import pwd
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.durability.real_suite import HOST as SEPARATE_HOST
from tests.durability.real_suite import Suite as SeparateSuite
from tests.fakes.accounts import account, own_name
from tests.fakes.homes import (
    GID,
    HOST,
    IS_ROOT,
    UID,
    as_owner,
    call,
    listen,
    make_home,
    open_folder,
    others_can_run_the_programs,
)
from tests.fakes.suite import WAIT_S, Suite, is_readable

from qmail.edge.doors.station import call_door
from qmail.edge.doors.verify_line import QUESTION_S_MAX
from qmail.edge.machine.accounts import MissingAccountError, separate_accounts
from qmail.mail import ADDRESS_BYTES_MAX
from qmail.programs import verify
from qmail.protocol.doors import REPORT_FRAME_MAX, Report
from qmail.protocol.netstring import FrameReader
from qmail.protocol.verify_door import Question, Verdict, verdict_of

VIRTUAL = "virtual.ex"
PERSON = own_name("qvfy")
Codes = dict[str, int]


def write(home: Path, name: str, text: str = "", mode: int = 0o600) -> None:
    """Write a file of alias."""
    with as_owner():
        path = home / "alias" / name
        path.write_text(text)
        path.chmod(mode)


@contextlib.contextmanager
def conversation(port: int) -> Iterator[smtplib.SMTP]:
    """Begin a transaction."""
    with smtplib.SMTP("127.0.0.1", port, timeout=WAIT_S) as smtp:
        smtp.ehlo("client.ex")
        assert smtp.mail("sender@far.example")[0] == 250
        yield smtp


def answers(port: int, *recipients: str) -> Codes:
    """Return the reply to each recipient, each in a conversation of its own."""
    found = {}
    for recipient in recipients:
        with conversation(port) as smtp:
            found[recipient] = smtp.rcpt(recipient)[0]
    return found


def wait_for(port: int, recipient: str, code: int) -> None:
    """Wait until `recipient` is answered with `code`; what was kept may be older."""
    end = time.monotonic() + WAIT_S
    while (found := answers(port, recipient)[recipient]) != code:
        assert time.monotonic() < end, f"{recipient} is still answered with {found}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def running() -> Iterator[Suite]:
    """One suite that runs; alias has an address, an extension of it, and a virtual domain's."""
    if not others_can_run_the_programs():
        pytest.skip("the programs lie where only root can read them")
    with open_folder() as folder, Suite(folder) as made:
        made.control("rcpthosts", f"{HOST}\n{VIRTUAL}\n")
        made.control("virtualdomains", f"{VIRTUAL}:virtual\n")
        write(made.home, ".qmail-joe")
        write(made.home, ".qmail-joe-list-default")
        write(made.home, ".qmail-virtual-info")
        made.start().wait_for("status: local 0/")
        # Until all that verifies has been started, nobody can be refused.
        wait_for(made.port, f"nobody@{HOST}", 550)
        yield made


def test_each_kind_of_address(running: Suite) -> None:
    assert answers(
        running.port,
        f"joe@{HOST}",
        f"JOE@{HOST.upper()}",
        f"joe-x@{HOST}",
        f"joe-list-x@{HOST}",
        f"info@{VIRTUAL}",
        f"joe@{VIRTUAL}",
        f"nobody@{HOST}",
        f"postmaster@{HOST}",
        "postmaster",
        "joe@far.example",
    ) == {
        f"joe@{HOST}": 250,
        f"JOE@{HOST.upper()}": 250,
        f"joe-x@{HOST}": 550,
        f"joe-list-x@{HOST}": 250,
        f"info@{VIRTUAL}": 250,
        f"joe@{VIRTUAL}": 550,
        f"nobody@{HOST}": 550,
        f"postmaster@{HOST}": 250,
        "postmaster": 250,
        "joe@far.example": 553,
    }


def test_reply_says_no_more_than_no(running: Suite) -> None:
    with conversation(running.port) as smtp:
        assert smtp.rcpt(f"nobody@{HOST}") == (550, b"5.1.1 no mailbox of this name here")


@pytest.mark.parametrize(
    ("name", "code", "says"), [("joe", 0, "250 2.1.5"), ("noone", 24, "550 5.1.1")]
)
def test_swaks_is_told_the_same(running: Suite, name: str, code: int, says: str) -> None:
    swaks = shutil.which("swaks")
    if swaks is None:
        pytest.skip("swaks is not installed")
    done = subprocess.run(
        [swaks, "--server", f"127.0.0.1:{running.port}", "--to", f"{name}@{HOST}",
         "--from", "sender@far.example", "--quit-after", "RCPT"],
        capture_output=True, text=True, timeout=WAIT_S, check=False,
    )  # fmt: skip
    assert f" {says}" in done.stdout
    assert done.returncode == code


def test_mail_is_delivered_to_the_known_of_several_recipients(running: Suite) -> None:
    before = len(running.mailbox)
    with conversation(running.port) as smtp:
        assert [smtp.rcpt(f"{name}@{HOST}")[0] for name in ("joe", "nobody")] == [250, 550]
        assert smtp.data("Subject: x\n\nx\n")[0] == 250
    running.wait_for("end msg ")
    assert len(running.mailbox) == before + 1


def test_new_mailbox_is_seen_when_the_answer_is_old(running: Suite) -> None:
    wait_for(running.port, f"new@{HOST}", 550)
    write(running.home, ".qmail-new")
    wait_for(running.port, f"new@{HOST}", 250)


def test_hup_changes_routes_and_the_control_file(running: Suite) -> None:
    assert answers(running.port, f"nobody@{HOST}", f"sales@{VIRTUAL}") == {
        f"nobody@{HOST}": 550,
        f"sales@{VIRTUAL}": 550,
    }
    write(running.home, ".qmail-shop-default")
    running.control("virtualdomains", f"{VIRTUAL}:shop\n")
    running.signal(signal.SIGHUP)
    wait_for(running.port, f"sales@{VIRTUAL}", 250)
    running.control("verifyrcpt", "off\n")
    running.signal(signal.SIGHUP)
    wait_for(running.port, f"nobody@{HOST}", 250)
    running.control("verifyrcpt", "defer\n")
    running.control("virtualdomains", f"{VIRTUAL}:virtual\n")
    running.signal(signal.SIGHUP)
    wait_for(running.port, f"nobody@{HOST}", 550)


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Let a process stand still."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def client_timeout(running: Suite, seconds: int) -> Iterator[None]:
    """Give clients less time."""
    path = running.home / "control/timeoutsmtpd"
    running.control(path.name, f"{seconds}\n")
    try:
        hear_hup(running)
        yield
    finally:
        path.unlink()
        hear_hup(running)


def hear_hup(running: Suite) -> None:
    """Have qmail-smtpd read its controls again."""
    running.pass_over()
    running.signal(signal.SIGHUP)
    running.wait_for("smtpd: controls read")


def are_others_served(running: Suite, name: str) -> bool:
    """Ask about a name while nobody can tell. Returns: whether another client was served meanwhile.

    On a slow machine it may be late, or what is known of its recipient too old.
    """
    assert answers(running.port, f"joe@{HOST}") == {f"joe@{HOST}": 250}
    with stopped(running.children["qmail-verify"]), conversation(running.port) as slow:
        began = time.monotonic()
        slow.putcmd("RCPT", f"TO:<{name}@{HOST}>")
        with conversation(running.port) as other:
            assert other.noop()[0] == 250
            code = other.rcpt(f"joe@{HOST}")[0]
        assert slow.sock is not None
        is_first = not is_readable(slow.sock.fileno(), 0)
        assert slow.getreply() == (451, b"4.3.0 unable to verify this recipient now, try again")
        assert time.monotonic() - began > QUESTION_S_MAX - 0.5
    return code == 250 and is_first


def test_verifier_that_hangs_puts_off_in_seconds_while_others_go_on(running: Suite) -> None:
    # The time that a client has ends while the question is open: it is not the client that waits.
    with client_timeout(running, int(QUESTION_S_MAX) - 1):
        assert any(are_others_served(running, f"joe-list-y{at}") for at in range(5))
    wait_for(running.port, f"joe-list-y0@{HOST}", 250)


@pytest.mark.parametrize("name", ["qmail-verify", "qmail-lspawn"])
def test_program_that_is_killed_refuses_nobody_and_comes_back(running: Suite, name: str) -> None:
    victim = running.children[name]
    with conversation(running.port) as smtp:
        # Stopped first, so that the question is certainly open when the program dies.
        os.kill(victim, signal.SIGSTOP)
        smtp.putcmd("RCPT", f"TO:<joe-list-{name}@{HOST}>")
        with as_owner():
            os.kill(victim, signal.SIGKILL)
        assert smtp.getreply()[0] in (250, 451)
    wait_for(running.port, f"joe-list-{name}@{HOST}", 250)
    wait_for(running.port, f"nobody-{name}@{HOST}", 550)


def single(running: Suite, recipient: str, uid: int = UID) -> int:
    """Ask qmail-smtpd for one conversation. Returns: the reply to RCPT."""
    ours, theirs = socket.socketpair()
    with ours, subprocess.Popen(
        [str(running.bin / "qmail-smtpd")],
        stdin=theirs.fileno(),
        stdout=theirs.fileno(),
        env={"PATH": os.environ["PATH"], "QMAIL_HOME": str(running.home)},
        cwd="/",
        user=uid if IS_ROOT else None,
        group=GID if IS_ROOT else None,
        extra_groups=[] if IS_ROOT else None,
    ) as process:  # fmt: skip
        theirs.close()
        ours.settimeout(WAIT_S)
        ours.sendall(f"MAIL FROM:<a@b>\r\nRCPT TO:<{recipient}>\r\nQUIT\r\n".encode())
        said = b""
        while data := ours.recv(4096):
            said += data
        process.wait(WAIT_S)
    return int(said.split(b"\r\n")[2][:3])


def test_one_conversation_asks_as_well(running: Suite) -> None:
    assert single(running, f"joe@{HOST}") == 250
    assert single(running, f"nobody@{HOST}") == 550


def test_one_conversation_waits_for_seconds_at_most(running: Suite) -> None:
    with stopped(running.children["qmail-verify"]):
        assert single(running, f"joe@{HOST}") == 451


def test_account_that_may_not_ask_is_not_stopped_by_that(running: Suite) -> None:
    if not IS_ROOT:
        pytest.skip("needs root")
    assert single(running, f"nobody@{HOST}", uid=UID + 1) == 250


def test_nonsense_at_the_door_ends_the_call_and_a_long_address_has_no_verdict(
    running: Suite,
) -> None:
    with call(running.home, "verify") as stranger:
        stranger.sendall(b"nonsense")
        assert stranger.recv(100) == b""
    long = b"x" * (ADDRESS_BYTES_MAX - len(HOST)) + f"@{HOST}".encode()
    recipients = [b"joe@" + HOST.encode(), long, long[1:], b"j\0e@" + HOST.encode()]
    questions = [Question(tag, recipient) for tag, recipient in enumerate(recipients)]
    reader = FrameReader(REPORT_FRAME_MAX)
    found: dict[int, Verdict] = {}
    with call(running.home, "verify") as asker:
        asker.sendall(b"".join(question.pack() for question in questions))
        while len(found) < len(questions):
            data = asker.recv(4096)
            assert data
            for report in map(Report.unpack, reader.feed(data)):
                found[report.delivery] = verdict_of(report.text)
    unsure = Verdict.UNSURE
    assert found == {0: Verdict.KNOWN, 1: unsure, 2: Verdict.UNKNOWN, 3: unsure}


@pytest.mark.root
def test_root_only_qmaild_may_ask(separate: SeparateSuite) -> None:
    qmaild, stranger = (pwd.getpwnam(name).pw_uid for name in ("qmaild", "qmailr"))
    for uid, may in ((qmaild, True), (stranger, False)):
        os.seteuid(uid)
        try:
            with call_door(str(separate.home), "verify", may_wait=True):
                assert may
        except PermissionError:
            assert not may
        finally:
            os.seteuid(0)


# --- the program alone ----------------------------------------------------------------------------


def test_without_qmail_lspawn_the_answer_is_no_telling_and_it_comes() -> None:
    program = (
        "import sys; from qmail.programs import verify; "
        "verify.MAILBOX_S_MAX = 0.1; sys.exit(verify.main([]))"
    )
    with open_folder() as folder:
        make_home(folder / "home", "smtp 127.0.0.1:1")
        with listen(folder / "home", "verify") as door, subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, "QMAIL_HOME": str(folder / "home"),
                 "QMAIL_DOOR": str(door.fileno())},
            pass_fds=[door.fileno()],
            user=UID if IS_ROOT else None,
            group=GID if IS_ROOT else None,
            extra_groups=[] if IS_ROOT else None,
        ) as process:  # fmt: skip
            try:
                with call(folder / "home", "verify") as asker:
                    asker.sendall(Question(7, f"joe@{HOST}".encode()).pack())
                    (payload,) = FrameReader(REPORT_FRAME_MAX).feed(asker.recv(4096))
            finally:
                process.terminate()
            assert Report.unpack(payload) == Report(7, verify.NO_TELLING)
            assert process.wait(WAIT_S) == 0


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert verify.main(["-x"]) == 100
    assert "usage" in capsys.readouterr().err


def test_home_without_a_queue_is_fatal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QMAIL_HOME", str(tmp_path))
    assert verify.main([]) == 111
    assert "fatal" in capfd.readouterr().err


def test_bad_control_file_stops_the_start_and_is_named(running: Suite, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "control").mkdir(parents=True)
    (home / "control/me").write_text("me.ex\n")
    (home / "control/virtualdomains").write_text("no colon\n")
    (home / "queue").mkdir()
    os.chown(home / "queue", UID, GID)
    done = subprocess.run(
        [str(running.bin / "qmail-verify")],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "QMAIL_HOME": str(home)},
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 111
    assert done.stderr.startswith("qmail-verify: fatal: control/virtualdomains:1: no colon")


# --- as root, with separate accounts --------------------------------------------------------------


@pytest.fixture(scope="module")
def person() -> Iterator[pwd.struct_passwd]:
    """Make an ordinary account with a home that only it can read."""
    with open_folder() as folder, account(PERSON, folder / PERSON) as made:
        os.mkdir(made.pw_dir, 0o700)
        os.chown(made.pw_dir, made.pw_uid, made.pw_gid)
        yield made


@pytest.fixture(scope="module")
def separate(person: pwd.struct_passwd) -> Iterator[SeparateSuite]:
    """The suite under its accounts; nobody may relay. It ends before the account goes."""
    assert person.pw_uid
    try:
        separate_accounts()
    except MissingAccountError as missing:
        pytest.skip(str(missing))
    with open_folder() as folder:
        suite = SeparateSuite(folder, separate=True, sink_port=1)
        (suite.home / "control/relayclients").unlink()
        (suite.home / "alias/.qmail-default").unlink()
        suite.start()
        wait_for(suite.port, f"nobody-here@{SEPARATE_HOST}", 550)
        yield suite
        suite.stop()


def own(path: Path, account: pwd.struct_passwd, mode: int = 0o600) -> None:
    path.write_text("")
    path.chmod(mode)
    os.chown(path, account.pw_uid, account.pw_gid)


@pytest.mark.root
def test_root_files_in_a_home_are_looked_for_under_the_owners_uid(
    separate: SeparateSuite, person: pwd.struct_passwd
) -> None:
    home = Path(person.pw_dir)
    own(home / ".qmail-ext", person)
    own(home / ".qmail-many-default", person)
    # Root and nobody else could read this one: who looks is not root.
    (home / ".qmail-roots").write_text("")
    (home / ".qmail-roots").chmod(0o600)
    own(home / ".qmail-open", person, 0o602)
    names = {"": 250, "-ext": 250, "-EXT": 250, "-many-x": 250, "-none": 550, "-roots": 451,
             "-open": 451}  # fmt: skip
    wanted = {f"{PERSON}{name}@{SEPARATE_HOST}": code for name, code in names.items()}
    assert answers(separate.port, *wanted) == wanted
    uids = set()
    for pid in separate.pids():
        # It may have ended since.
        with contextlib.suppress(FileNotFoundError):
            uids.add(os.stat(f"/proc/{pid}").st_uid)
    assert person.pw_uid in uids


@pytest.mark.root
def test_root_home_that_is_not_there_or_not_to_be_trusted_refuses_nobody(
    separate: SeparateSuite, person: pwd.struct_passwd
) -> None:
    home = Path(person.pw_dir)
    for mode in (0o702, 0o1700):
        home.chmod(mode)
        extension = f"{PERSON}-{mode}@{SEPARATE_HOST}"
        assert answers(separate.port, extension) == {extension: 451}
    home.chmod(0o700)
    home.rename(home.with_name("elsewhere"))
    try:
        extension = f"{PERSON}-gone@{SEPARATE_HOST}"
        assert answers(separate.port, extension) == {extension: 451}
    finally:
        home.with_name("elsewhere").rename(home)


@pytest.mark.root
def test_root_every_process_that_looks_has_the_account_it_should(
    separate: SeparateSuite,
) -> None:
    answers(separate.port, f"postmaster@{SEPARATE_HOST}")
    qmailp = pwd.getpwnam("qmailp").pw_uid
    seen = set()
    for pid, name in separate.pids().items():
        if name == "qmail-verify":
            status = Path(f"/proc/{pid}/status").read_text()
            (line,) = (line for line in status.splitlines() if line.startswith("Uid:"))
            seen.add(line)
    assert seen == {"Uid:" + f"\t{qmailp}" * 4}
