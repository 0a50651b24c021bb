"""qmail-popup for one conversation, the real command: spec/smtp.md E.1, spec/oddities.md 9."""

import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.certificates import client_context, write_pem
from tests.fakes.door import WAIT_S_MAX
from tests.programs.pop3_world import (
    IS_ROOT,
    OK,
    OWNER,
    POP3D,
    POPUP,
    Conversation,
    maildir_of_owner,
    names,
    popup,
    put,
)

from qmail.programs import popup_single
from qmail.protocol import pop3_replies as replies
from qmail.protocol.pop3_login import Login

CHECKER = """\
import os, signal, sys
proof = os.read(3, 4096)
while more := os.read(3, 4096):
    proof += more
with open({seen!r}, "ab") as file:
    file.write(proof + b"|")
name, secret = proof.split(b"\\0")[:2]
if name == b"crash":
    os.kill(os.getpid(), signal.SIGTERM)
if name.isdigit():
    sys.exit(int(name))
if secret != b"open sesame ":
    sys.exit(1)
if {owner} and os.getuid() == 0:
    os.setgroups([])
    os.setgid({owner})
    os.setuid({owner})
os.execv(sys.argv[1], sys.argv[1:])
"""


class Checker:
    """A login program: its command line, and what it was given."""

    def __init__(self, folder: Path, *then: str) -> None:
        self.seen = folder / "seen"
        script = folder / "checker.py"
        script.write_text(CHECKER.format(seen=str(self.seen), owner=OWNER if IS_ROOT else 0))
        self.words = [sys.executable, str(script), *then]

    def proofs(self) -> list[bytes]:
        """Return what came on descriptor 3, by call."""
        return self.seen.read_bytes().split(b"|")[:-1] if self.seen.exists() else []


@pytest.fixture
def root() -> Iterator[Path]:
    with maildir_of_owner() as maildir:
        put(maildir, "new/1.m", b"Subject: a\n\none\n", 1_700_000_001)
        yield maildir


@pytest.fixture
def checker(root: Path) -> Checker:
    return Checker(root.parent, sys.executable, "-c", POP3D, str(root))


def test_e1_a_good_password_starts_the_session_and_nothing_is_lost(
    checker: Checker, root: Path
) -> None:
    with popup("mail.example", *checker.words) as session:
        # Everything at once: what stands behind the password is the session's.
        said = session.play(
            b"CAPA\r\nUSER joe\r\nPASS open sesame \r\nSTAT\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n"
        )
        assert session.end() == (1, b"")
    greeting, _, rest = said.partition(b"\r\n")
    assert greeting == b"+OK mail.example"
    capa, _, rest = rest.partition(b"\r\n.\r\n")
    assert capa.split(b"\r\n") == [
        b"+OK ", b"TOP", b"UIDL", b"RESP-CODES", b"AUTH-RESP-CODE", b"PIPELINING", b"UTF8",
        b"EXPIRE NEVER", b"IMPLEMENTATION qmail", b"USER", b"SASL PLAIN",
    ]  # fmt: skip
    assert rest == b"".join([
        OK, OK, b"+OK 1 19\r\n", OK, b"Subject: a\r\n\r\none\r\n.\r\n", OK, OK,
    ])  # fmt: skip
    assert names(root) == []
    (proof,) = checker.proofs()
    assert re.fullmatch(rb"joe\0open sesame \0<[0-9a-f]{24}@mail\.example>\0", proof)


def test_e1_apop_where_it_is_asked_for(checker: Checker) -> None:
    challenges = set()
    for _ in range(2):
        with popup("mail.example", *checker.words, APOP="") as session:
            greeting = session.line()
            found = re.fullmatch(rb"\+OK (<[0-9a-f]{24}@mail\.example>)\r\n", greeting)
            assert found is not None
            challenges.add(found[1])
            session.send(b"APOP joe 00FF")
            assert session.line() == replies.LOGIN_REFUSED.wire
        assert checker.proofs()[-1] == b"joe\x0000ff\0" + found[1] + b"\0"
    # oddities 9: nobody can tell what comes next.
    assert len(challenges) == 2


def test_oddities_9_apop_is_off(checker: Checker, tmp_path: Path) -> None:
    with popup("mail.example", *checker.words) as session:
        session.line()
        session.send(b"APOP joe 00ff")
        assert session.line() == replies.NO_APOP.wire
    (tmp_path / "control").mkdir()
    (tmp_path / "control/apop").write_text("secrets\n")
    with popup("mail.example", *checker.words, QMAIL_HOME=str(tmp_path)) as session:
        assert session.line().startswith(b"+OK <")


def test_auth_plain_is_name_and_password_as_well(checker: Checker) -> None:
    words = b64encode(b"\0joe\0open sesame ")
    with popup("mail.example", *checker.words) as session:
        session.line()
        session.send(b"AUTH PLAIN", words, b"STAT", b"QUIT")
        assert session.rest() == b"+ \r\n" + OK + b"+OK 1 19\r\n" + OK
    assert checker.proofs()[0].startswith(b"joe\0open sesame \0<")


@pytest.mark.parametrize(
    ("message", "proof"),
    [
        (b"\0joe\0x", b"joe\0x\0c\0"),
        (b"joe\0joe\0x", b"joe\0x\0c\0"),
        (b"root\0joe\0x", None),
        (b"joe\0x", None),
        (b"\0\0x", None),
        (b"\0joe\0x\0y", None),
        (b"", None),
    ],
)
def test_rfc4616_2_messages_of_plain(message: bytes, proof: bytes | None) -> None:
    assert popup_single.proof_of(Login(b"PLAIN", message), b"c") == proof


@pytest.mark.parametrize(
    ("name", "reply"),
    [
        (b"joe", replies.LOGIN_REFUSED),
        (b"1", replies.LOGIN_REFUSED),
        (b"77", replies.LOGIN_REFUSED),
        (b"2", replies.LOGIN_TROUBLE),
        (b"111", replies.LOGIN_TROUBLE),
    ],
)
def test_e2_exit_codes_of_the_login_program(
    checker: Checker, name: bytes, reply: replies.Reply
) -> None:
    with popup("mail.example", *checker.words) as session:
        session.line()
        session.send(b"USER " + name, b"PASS x")
        assert session.line() + session.line() == OK + reply.wire
        # oddities 9: the client may try again.
        session.send(b"NOOP")
        assert session.line() == OK


def test_after_three_refusals_it_is_over(checker: Checker) -> None:
    with popup("mail.example", *checker.words) as session:
        said = session.play(b"USER joe\r\nPASS x\r\n" * 5)
        assert session.end()[0] == 1
    assert said.count(replies.LOGIN_REFUSED.wire) == 3
    assert len(checker.proofs()) == 3


def test_e1_a_login_program_that_crashes_is_told_and_it_is_over(checker: Checker) -> None:
    with popup("mail.example", *checker.words) as session:
        session.send(b"USER crash", b"PASS x", b"NOOP")
        said = session.rest()
        session.sock.close()
        code, errors = session.end()
    assert said.endswith(OK + replies.CHILD_CRASHED.wire)
    assert (code, errors.count(b"\n")) == (1, 1)
    assert b"signal 15" in errors


def test_a_login_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    with popup("mail.example", str(tmp_path / "none"), "x") as session:
        session.line()
        session.send(b"USER joe", b"PASS x")
        assert session.line() + session.line() == OK + replies.NO_SUBPROGRAM.wire
        session.sock.close()
        code, errors = session.end()
    assert code == 1
    assert b"unable to run" in errors


def test_e1_quit_and_the_end_of_input_end_with_1(checker: Checker) -> None:
    with popup("mail.example", *checker.words) as session:
        assert session.play(b"QUIT\r\nNOOP\r\n") == b"+OK mail.example\r\n" + OK
        assert session.end() == (1, b"")
    with popup("mail.example", *checker.words) as session:
        assert session.play(b"USER joe\r\nPASS x") == b"+OK mail.example\r\n" + OK
        assert session.end() == (1, b"")
    assert checker.proofs() == []


def test_e1_words_that_are_missing_end_with_1() -> None:
    for words in ([], ["mail.example"]):
        done = subprocess.run(
            [sys.executable, "-c", POPUP, *words], capture_output=True, timeout=60, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"usage" in done.stderr


def test_pipes_do_as_well_and_nothing_is_read_too_far(tmp_path: Path) -> None:
    script = b"USER joe\r\nPASS x\r\nwhat is left\r\n"
    done = subprocess.run(
        [sys.executable, "-c", POPUP, "mail.example", "cat"], input=script, capture_output=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == b"+OK mail.example\r\n" + OK + b"what is left\r\n"
    assert done.returncode == 1


def test_the_login_program_has_a_network_that_blocks_and_signals_as_usual(tmp_path: Path) -> None:
    code = (
        "import os; "
        "print(os.get_blocking(0), os.get_blocking(1), flush=True); "
        "os.execvp('grep', ['grep', 'SigIgn', '/proc/self/status'])"
    )
    with popup("mail.example", sys.executable, "-c", code) as session:
        said = session.play(b"USER joe\r\nPASS x\r\n")
    assert b"True True\n" in said
    # Python itself ignores two; nothing else is handed down (above 31 are those of the C library).
    ignored = int(said.split(b"SigIgn:\t")[1], 16) & 0x7FFFFFFF
    assert ignored & ~(1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1) == 0


def test_under_tcpserver(checker: Checker, root: Path) -> None:
    tcpserver = shutil.which("tcpserver")
    if tcpserver is None:
        pytest.skip("tcpserver is not installed ('apt-get install ucspi-tcp')")
    listening = [tcpserver, "-1", "-RHl0", "127.0.0.1", "0", sys.executable, "-c", POPUP]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            [*listening, "mail.example", *checker.words], stdout=subprocess.PIPE, stderr=errors
        ) as server,
    ):
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S_MAX) as sock:
                sock.sendall(b"USER joe\r\nPASS open sesame \r\nDELE 1\r\nQUIT\r\n")
                said = b""
                while data := sock.recv(4096):
                    said += data
        finally:
            server.kill()
        assert said == b"+OK mail.example\r\n" + OK * 4
    assert names(root) == []


def test_one_conversation_leaves_no_descriptor_behind(checker: Checker) -> None:
    code = "import os; print(sorted(os.listdir('/proc/self/fd')), flush=True)"
    with popup("mail.example", sys.executable, "-c", code) as session:
        said = session.play(b"USER joe\r\nPASS x\r\n")
    # 4 is the listing itself.
    assert b"['0', '1', '2', '3', '4']" in said


def test_a_wrong_password_takes_its_time(checker: Checker) -> None:
    with Conversation([sys.executable, "-c", POPUP, "h", *checker.words]) as session:
        session.line()
        began = time.monotonic()
        session.send(b"USER joe", b"PASS x")
        assert session.line() + session.line() == OK + replies.LOGIN_REFUSED.wire
    assert time.monotonic() - began > 0.9


# --- TLS ----------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "control").mkdir()
    return tmp_path


def test_rfc2595_stls_where_there_is_a_certificate(
    checker: Checker, home: Path, root: Path
) -> None:
    pem = write_pem(home / "control")
    with popup("mail.example", *checker.words, QMAIL_HOME=str(home)) as session:
        session.line()
        session.send(b"CAPA")
        assert b"STLS\r\n" in list(iter(session.line, b".\r\n"))
        session.send(b"STLS")
        assert session.line() == replies.TLS_GO_AHEAD.wire
        with client_context(pem).wrap_socket(session.sock, server_hostname="me.ex") as sock:
            sock.sendall(b"CAPA\r\nSTLS\r\nUSER joe\r\nPASS open sesame \r\n")
            sock.sendall(b"RETR 1\r\nDELE 1\r\nQUIT\r\n")
            said = b""
            while data := sock.recv(4096):
                said += data
        assert session.end() == (1, b"")
    capa, _, rest = said.partition(b"\r\n.\r\n")
    assert b"STLS" not in capa
    assert b"SASL PLAIN" in capa
    message = b"Subject: a\r\n\r\none\r\n.\r\n"
    assert rest == replies.TLS_ALREADY.wire + OK * 3 + message + OK * 2
    assert names(root) == []


def test_rfc2595_what_is_sent_in_clear_behind_stls_is_no_command(
    checker: Checker, home: Path
) -> None:
    write_pem(home / "control")
    with popup("mail.example", *checker.words, QMAIL_HOME=str(home)) as session:
        said = session.play(b"STLS\r\nUSER joe\r\nPASS open sesame \r\nSTAT\r\n")
        code, errors = session.end()
    first, second, alert = said.split(b"\r\n", 2)
    assert (first, second) == (b"+OK mail.example", b"+OK begin TLS")
    assert b"+OK" not in alert
    assert code == 1
    assert errors.startswith(b"qmail-popup: TLS: ")
    assert checker.proofs() == []


def test_without_a_certificate_there_is_no_stls(checker: Checker, home: Path) -> None:
    with popup("mail.example", *checker.words, QMAIL_HOME=str(home)) as session:
        session.line()
        session.send(b"STLS")
        assert session.line() == replies.NO_STLS.wire
        (home / "control/servercert.pem").write_text("nothing\n")
    with popup("mail.example", *checker.words, QMAIL_HOME=str(home)) as session:
        assert session.play(b"STLS\r\n").endswith(replies.TLS_GO_AHEAD.wire)
        code, errors = session.end()
    assert (code, errors.count(b"\n")) == (1, 1)
    assert errors.startswith(b"qmail-popup: fatal: no TLS: ")
    assert b"servercert.pem" in errors
