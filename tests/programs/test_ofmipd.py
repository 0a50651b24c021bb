"""ofmipd as a program: over a socket of its own, and under tcpserver (spec/companion.md 7)."""

import contextlib
import os
import re
import shutil
import smtplib
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.homes import GID, IS_ROOT, UID, open_folder, others_can_run_the_programs
from tests.fakes.suite import Suite, is_readable

from qmail.core.cdb import write_cdb
from qmail.core.inject.ofmip_names import read_names
from qmail.edge.submit.queue import Outcome
from qmail.edge.wires.timed_wire import Limits, TimedWire
from qmail.envelope import Envelope
from qmail.mail import deferred
from qmail.programs import ofmipd_talk
from qmail.programs.ofmipd import read_policy
from qmail.programs.ofmipd_talk import Conversation

WAIT_S = 60
AS_USER = ("-u", str(UID), "-g", str(GID)) if IS_ROOT else ()
"""Only root can have tcpserver become somebody else."""


@pytest.fixture
def suite() -> Iterator[Suite]:
    if not others_can_run_the_programs():
        pytest.skip("the programs lie where only root can read them")
    with open_folder() as folder, Suite(folder) as made:
        yield made


def as_user() -> dict[str, object]:
    return {"user": UID, "group": GID, "extra_groups": []} if IS_ROOT else {}


class Talk:
    """ofmipd on a socket, as an account without rights."""

    def __init__(self, suite: Suite, *words: str, root: bool = False, **environ: str) -> None:
        self.ours, theirs = socket.socketpair()
        self.ours.settimeout(WAIT_S)
        with theirs:
            self._process = subprocess.Popen(
                [str(suite.bin / "ofmipd"), *words],
                stdin=theirs,
                stdout=theirs,
                stderr=subprocess.PIPE,
                env={"PATH": "/usr/bin:/bin", "QMAIL_HOME": str(suite.home), **environ},
                **({} if root else as_user()),  # type: ignore[call-overload]
            )

    def say(self, *lines: str) -> bytes:
        """Say all of it, end our side, and return all that was said."""
        # One that sends everybody away may have gone.
        with contextlib.suppress(BrokenPipeError):
            self.ours.sendall("".join(f"{line}\r\n" for line in lines).encode())
        self.ours.shutdown(socket.SHUT_WR)
        said = b""
        while data := self.ours.recv(65536):
            said += data
        return said

    def end(self) -> tuple[int, bytes]:
        """Return exit code, and what it complained of."""
        _, wrong = self._process.communicate(timeout=WAIT_S)
        self.ours.close()
        return self._process.returncode, wrong


def test_mail_of_a_simple_client_arrives_complete(suite: Suite) -> None:
    suite.start().wait_for("status: local 0/")
    talk = Talk(suite, TCPREMOTEIP="192.168.7.9")
    said = talk.say(
        "HELO scanner", "MAIL FROM: scanner", "RCPT TO: postmaster", "DATA",
        "Subject: scan", "To: Any Body <postmaster>", "Bcc: eve", "", "see below", ".", "QUIT",
    )  # fmt: skip
    assert talk.end() == (0, b"")
    assert re.search(rb"354 go ahead\r\n250 ok \d+ qp \d+\r\n221 ofmipd.local\r\n\Z", said)
    suite.wait_for("success: did_1+0+0/")
    folder = suite.home / "alias/Maildir/new"
    (mail,) = [path.read_bytes() for path in folder.iterdir()]
    assert mail.startswith(b"Return-Path: <scanner@me.ex>\nDelivered-To: postmaster@me.ex\n")
    assert b"\nReceived: (ofmipd 192.168.7.9); " in mail
    assert re.search(
        rb"\nDate: .* -0000\nMessage-ID: <\d{14}\.1\.\d+\.qmail@me\.ex>\nFrom: scanner@me\.ex\n"
        rb'To: "Any Body" <postmaster@me\.ex>\nSubject: scan\n\nsee below\n\Z',
        mail,
    )


def test_a_queue_that_takes_nothing_now_is_temporary(suite: Suite) -> None:
    talk = Talk(suite, QMAILQUEUE="/bin/false")
    said = talk.say("MAIL FROM:<a>", "RCPT TO:<b>", "DATA", "x: y", ".", "MAIL FROM:<c>", "QUIT")
    assert talk.end()[0] == 0
    assert said.split(b"\r\n")[4].startswith(b"451 ")
    assert said.endswith(b"\r\n250 ok\r\n221 ofmipd.local\r\n")


def test_a_client_that_hangs_up_has_sent_nothing(suite: Suite) -> None:
    suite.start().wait_for("status: local 0/")
    for lines in (["MAIL FROM:<a>", "RCPT TO:<b>", "DATA", "x: y", "", "half"], ["MAIL FROM:<a>"]):
        talk = Talk(suite)
        talk.say(*lines)
        assert talk.end() == (1, b"")
    suite.send("postmaster@me.ex", text="the only one\n")
    suite.wait_for("success: did_1+0+0/")
    assert len(suite.mailbox) == 1


@pytest.mark.parametrize(
    ("control", "text", "said"),
    [("rewrite", "nonsense\n", "control/rewrite:1: "), ("databytes", "x\n", "control/databytes:1")],
)
def test_a_bad_control_file_sends_clients_away(
    suite: Suite, control: str, text: str, said: str
) -> None:
    suite.control(control, text)
    talk = Talk(suite)
    assert talk.say("QUIT") == b"451 unable to read configuration (#4.3.0)\r\n"
    code, wrong = talk.end()
    assert (code, said in wrong.decode()) == (1, True)


def test_a_missing_or_broken_table_sends_clients_away(suite: Suite) -> None:
    for path in ("/nonexistent/names.cdb", str(suite.home / "control/me")):
        talk = Talk(suite, path)
        assert talk.say("QUIT") == b"451 unable to read configuration (#4.3.0)\r\n"
        code, wrong = talk.end()
        assert (code, path in wrong.decode()) == (1, True)


@pytest.mark.root
def test_it_does_not_run_as_root(suite: Suite) -> None:
    if not IS_ROOT:
        pytest.skip("only root can start it as root")
    talk = Talk(suite, root=True)
    assert talk.say("QUIT") == b"421 ofmipd.local does not run as root (#4.3.0)\r\n"
    code, wrong = talk.end()
    assert (code, b"does not run as root" in wrong) == (111, True)


def test_wrong_usage_is_told(suite: Suite) -> None:
    talk = Talk(suite, "a", "b")
    assert talk.say() == b""
    assert talk.end() == (100, b"ofmipd: usage: ofmipd [ name.cdb ]\n")


def test_tcpserver_keeps_the_world_out_as_the_page_says(suite: Suite) -> None:
    if shutil.which("tcpserver") is None or shutil.which("tcprules") is None:
        pytest.skip("tcpserver is not installed: ofmipd is not tried under it")
    page = (Path(__file__).resolve().parents[2] / "docs/submission.md").read_text()
    (shown,) = re.findall(r"\$ cat /etc/ofmip\.rules\n(.*?)\$ ", page, re.DOTALL)
    # An address of this machine that the rules have no line for.
    rules = shown.replace("127.:allow", "127.0.0.1:allow")
    table = suite.home / "ofmip.cdb"
    making = ["tcprules", str(table), f"{table}.tmp"]
    subprocess.run(making, input=rules.encode(), check=True)
    table.chmod(0o644)
    suite.start().wait_for("status: local 0/")
    server = subprocess.Popen(
        ["tcpserver", "-1vRHl0", "-x", str(table), *AS_USER,
         "127.0.0.1", "0", str(suite.bin / "ofmipd")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "QMAIL_HOME": str(suite.home)},
    )  # fmt: skip
    try:
        assert server.stdout is not None
        assert is_readable(server.stdout.fileno(), WAIT_S)
        port = int(server.stdout.readline())
        with smtplib.SMTP("127.0.0.1", port, timeout=WAIT_S) as smtp:
            assert smtp.sendmail("joe", ["postmaster@me.ex"], "Subject: x\n\nby smtplib\n") == {}
        source = ("127.0.0.9", 0)
        with socket.create_connection(("127.0.0.1", port), WAIT_S, source) as stranger:
            assert stranger.recv(100) == b""
    finally:
        server.terminate()
        server.communicate(timeout=WAIT_S)
    suite.wait_for("success: did_1+0+0/")
    assert b"Received: (ofmipd 127.0.0.1); " in suite.mailbox[0]


# --- in this process: what takes long, or a large memory ----------------------------------------


class Post:
    """A conversation over a socket with the queue in memory."""

    def __init__(self, home: Path, names: str | None = None, result: object = None) -> None:
        (home / "control").mkdir(exist_ok=True)
        self.messages: list[bytes] = []
        self.envelopes: list[Envelope] = []
        self._result = result
        self._home = home
        self._names = names

    def _submit(self, parts: Iterator[bytes], envelope: Envelope) -> Outcome:
        message = b"".join(parts)
        self.messages.append(message)
        self.envelopes.append(envelope)
        return Outcome(self._result, 7)  # type: ignore[arg-type]

    def _client(self, ours: socket.socket, sent: bytes) -> None:
        ours.sendall(sent)
        ours.shutdown(socket.SHUT_WR)
        while ours.recv(65536):
            continue

    def talk(self, sent: bytes, *, limit_s: float = WAIT_S, hangs_up: bool = True) -> bytes:
        """Say something; return all that is said."""
        ours, theirs = socket.socketpair()
        with ours, theirs, pytest.MonkeyPatch.context() as patch:
            patch.setattr(ofmipd_talk, "LINGER_S", 0.01)
            ours.settimeout(WAIT_S)
            here = os.getcwd()
            policy = read_policy(str(self._home), self._names)
            os.chdir(here)
            client = threading.Thread(target=self._client, args=(ours, sent))
            if hangs_up:
                client.start()
            else:
                # It is there before anybody waits for it, and short.
                ours.sendall(sent)
            wire = TimedWire(theirs.fileno(), theirs.fileno(), Limits(limit_s, limit_s))
            self.said = b""
            write = wire.write

            def keep(data: bytes) -> None:
                self.said += data
                write(data)

            patch.setattr(wire, "write", keep)
            with wire:
                Conversation(wire, policy, self._submit, lambda: 1_700_000_000.0).run()
            theirs.close()
            if hangs_up:
                client.join(WAIT_S)
        return self.said


START = b"MAIL FROM:<joe>\nRCPT TO:<a>\nDATA\n"


def test_a_sender_in_the_table_gets_another_name(tmp_path: Path) -> None:
    (tmp_path / "control").mkdir()
    (tmp_path / "control/me").write_text("me.ex\n")
    names = str(tmp_path / "names")
    write_cdb(names, f"{names}.tmp", read_names(b"joe@me.ex:Joe S:j.s@corp.ex:\n"))
    post = Post(tmp_path, names)
    post.talk(START + b"From: x\n\n.\nQUIT\n")
    assert post.envelopes == [Envelope(b"j.s@corp.ex", (b"a@me.ex",))]
    assert b'\nFrom: "Joe S" <j.s@corp.ex>\n' in post.messages[0]


def test_large_messages_and_headers_are_refused_at_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = Post(tmp_path)
    monkeypatch.setenv("DATABYTES", "1000")
    said = post.talk(START + b"x: y\n\n" + b"z" * 2000 + b"\n.\n" + START + b"x: y\n.\nQUIT\n")
    assert said.count(b"552 message too big (#5.3.4)\r\n") == 1
    assert said.endswith(b"qp 7\r\n221 ofmipd.local\r\n")
    assert len(post.messages) == 1
    monkeypatch.setenv("DATABYTES", "0")
    said = post.talk(START + b"x: y\n y\n" * 150_000 + b"\n.\nQUIT\n")
    assert b"554 header too big (#5.3.4)\r\n221" in said
    said = post.talk(START + b"x: y\n\na\rb\n.\nQUIT\n")
    assert b"554 a CR inside a line (#5.6.0)\r\n221" in said
    assert len(post.messages) == 1


def test_what_the_queue_says_is_passed_on(tmp_path: Path) -> None:
    post = Post(tmp_path, result=deferred(b"qq write error\nor disk full (#4.3.0)"))
    said = post.talk(START + b"x: y\n.\nQUIT\n")
    assert b"451 qq write error or disk full (#4.3.0)\r\n221" in said


def test_a_silent_client_is_told_and_left(tmp_path: Path) -> None:
    post = Post(tmp_path)
    assert post.talk(b"NOOP\n", limit_s=0.05, hangs_up=False).endswith(
        b"250 ok\r\n421 ofmipd.local timeout (#4.4.2)\r\n"
    )
    assert post.talk(START + b"x: y\n", limit_s=0.05, hangs_up=False).endswith(b"(#4.4.2)\r\n")
    assert post.messages == []


def test_addresses_that_are_too_long_are_refused(tmp_path: Path) -> None:
    (tmp_path / "control").mkdir()
    (tmp_path / "control/rewrite").write_text("")
    long = b"x" * 895
    said = Post(tmp_path).talk(
        b"MAIL FROM:<" + long + b"@h.ex>\nMAIL FROM:<" + long[:894] + b"@h.ex>\n"
        b"RCPT TO:<" + long + b"@h.ex>\nRCPT TO:<" + long[:894] + b"@h.ex>\nRCPT TO:<>\nQUIT\n"
    )
    assert [line[:3] for line in said.split(b"\r\n")[1:-2]] == [
        b"555", b"250", b"555", b"250", b"555",
    ]  # fmt: skip


def test_trouble_that_nobody_foresaw_is_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(ofmipd_talk, "look_up", fail)
    assert Post(tmp_path).talk(b"MAIL FROM:<a>\nQUIT\n").endswith(b"internal trouble (#4.3.0)\r\n")
    assert "ZeroDivisionError" in capfd.readouterr().err
