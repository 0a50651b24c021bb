"""qmail-pop3d, the real command: spec/smtp.md E.3, spec/oddities.md 9."""

import os
import poplib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.fakes.door import wait_until
from tests.programs.pop3_world import (
    IS_ROOT,
    OK,
    POP3D,
    Conversation,
    maildir_of_owner,
    names,
    pop3d,
    put,
)

from qmail.protocol import pop3_replies as replies

LONG = b"Subject: long\n\n" + b"".join(b"%07d\n" % number for number in range(1_000_000))


class PopClient(poplib.POP3):
    """Python's own client, on a connection that is there already."""

    def __init__(self, sock: socket.socket) -> None:
        self._given = sock
        super().__init__("127.0.0.1")

    def _create_socket(self, _timeout: float) -> socket.socket:
        return self._given


@pytest.fixture
def root() -> Iterator[Path]:
    with maildir_of_owner() as maildir:
        put(maildir, "new/1.m", b"Subject: a\n\none\n.two\n", 1_700_000_001)
        put(maildir, "cur/2.m:2,S", b"X: y\n\nbody", 1_700_000_002)
        put(maildir, "new/3.m,S=5,W=6", b"a: b\n", 1_700_000_003)
        yield maildir


def test_e3_a_session_from_list_to_quit(root: Path) -> None:
    with pop3d(root) as session:
        script = b"STAT\r\nLIST\r\nUIDL\r\nRETR 2\r\nTOP 1 1\r\nDELE 2\r\nSTAT\r\nQUIT\r\n"
        said = session.play(script)
        assert session.end() == (0, b"")
    assert said == b"".join([
        OK,
        b"+OK 3 45\r\n",
        b"+OK \r\n1 25\r\n2 14\r\n3 6\r\n.\r\n",
        b"+OK \r\n1 1.m\r\n2 2.m\r\n3 3.m,S=5,W=6\r\n.\r\n",
        b"+OK \r\nX: y\r\n\r\nbody\r\n.\r\n",
        b"+OK \r\nSubject: a\r\n\r\none\r\n.\r\n",
        OK,
        b"+OK 2 31\r\n",
        OK,
    ])  # fmt: skip
    assert names(root) == ["cur/1.m:2,", "cur/3.m,S=5,W=6:2,"]


def test_e3_the_end_of_input_deletes_and_moves_nothing(root: Path) -> None:
    before = names(root)
    with pop3d(root) as session:
        assert session.play(b"DELE 1\r\nDELE 2\r\nRETR 3\r\nQUIT") == OK * 4 + b"a: b\r\n.\r\n"
        assert session.end() == (0, b"")
    assert names(root) == before


def test_a_client_that_vanishes_is_no_quit_either(root: Path) -> None:
    before = names(root)
    with pop3d(root) as session:
        session.send(b"DELE 1")
        assert session.line() + session.line() == OK + OK
        session.sock.close()
        assert session.end() == (0, b"")
    assert names(root) == before


def test_a_message_that_another_program_removes_is_told_to_be_gone(root: Path) -> None:
    with pop3d(root) as session:
        assert session.line() == OK
        (root / "cur/2.m:2,S").unlink()
        (root / "new/1.m").rename(root / "cur/1.m:2,RS")
        session.send(b"RETR 2", b"RETR 1", b"DELE 1", b"QUIT")
        said = session.rest()
    assert said.startswith(replies.GONE.wire + OK + b"Subject: a\r\n")
    assert said.endswith(b"..two\r\n.\r\n" + OK + OK)
    assert names(root) == ["cur/3.m,S=5,W=6:2,"]


@pytest.mark.skipif(IS_ROOT, reason="root may read and remove everything")
def test_what_can_t_be_read_or_removed_is_told(root: Path) -> None:
    (root / "new/1.m").chmod(0)
    with pop3d(root) as session:
        assert session.line() == replies.MAILDIR_TROUBLE.wire
    (root / "new/1.m").chmod(0o600)
    with pop3d(root) as session:
        assert session.line() == OK
        (root / "new/1.m").chmod(0)
        (root / "new").chmod(0o500)
        session.send(b"RETR 1", b"DELE 1", b"QUIT")
        refusals = replies.UNREADABLE.wire, OK, replies.SOME_NOT_REMOVED.wire
        assert session.rest() == b"".join(refusals)
    (root / "new").chmod(0o700)


def test_a_long_message_arrives_whole_and_takes_little_memory(root: Path) -> None:
    put(root, "cur/0.long:2,", LONG, 1_600_000_000)
    with pop3d(root) as session:
        assert session.line() == OK
        session.send(b"RETR 1", b"NOOP")
        assert session.line() == OK
        status = Path(f"/proc/{session.process.pid}/status").read_text()
        session.send(b"QUIT")
        said = session.rest()
        peak_kb = int(status.partition("VmHWM:")[2].split()[0])
    assert said == LONG.replace(b"\n", b"\r\n") + b".\r\n" + OK + OK
    assert peak_kb < 40_000


def test_e3_no_argument_and_no_maildir_are_told_with_exit_0(root: Path) -> None:
    for words in ([], [str(root / "none")], [str(root / "cur")], [str(root / "new/1.m")]):
        command = [sys.executable, "-c", POP3D, *words]
        with Conversation(command, as_owner=True) as session:
            assert session.rest() == replies.NO_MAILDIR.wire
            code, errors = session.end()
        assert code == 0
        assert errors.startswith(b"qmail-pop3d: ")


@pytest.mark.root
def test_e3_root_is_refused(root: Path) -> None:
    with Conversation([sys.executable, "-c", POP3D, str(root)]) as session:
        assert session.rest() == b""
        code, errors = session.end()
    assert (code, errors.count(b"\n")) == (1, 1)
    assert b"never as root" in errors


def test_pipes_do_as_well(root: Path) -> None:
    if IS_ROOT:
        pytest.skip("as root the command needs another account, which the other tests show")
    done = subprocess.run(
        [sys.executable, "-c", POP3D, str(root)], input=b"STAT\r\nQUIT\r\n", capture_output=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, OK + b"+OK 3 45\r\n" + OK)


def test_two_sessions_at_once_do_no_harm(root: Path) -> None:
    with pop3d(root) as first, pop3d(root) as second:
        assert (first.line(), second.line()) == (OK, OK)
        first.send(b"DELE 1", b"DELE 2", b"QUIT")
        assert first.rest() == OK * 3
        second.send(b"RETR 1", b"RETR 3", b"DELE 2", b"DELE 3", b"QUIT")
        said = second.rest()
    assert said == replies.GONE.wire + OK + b"a: b\r\n.\r\n" + OK * 3
    assert names(root) == []


def test_a_mailbox_while_mail_arrives_and_leaves(root: Path) -> None:
    is_over = threading.Event()

    def disturb() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            put(root, f"tmp/{number}.other", b"other\n")
            (root / f"tmp/{number}.other").rename(root / f"new/{number}.other")
            # The session may have moved it already.
            with suppress(FileNotFoundError):
                (root / f"new/{number}.other").rename(root / f"cur/{number}.other:2,S")
            (*_, path) = (root / "cur").glob(f"{number}.other:*")
            path.unlink()

    other = threading.Thread(target=disturb)
    other.start()
    try:
        for _ in range(3):
            with pop3d(root) as session:
                assert session.line() == OK
                session.send(b"UIDL")
                lines = []
                while (line := session.line()) != b".\r\n":
                    assert line
                    lines.append(line)
                number = next(line.split()[0] for line in lines if line.endswith(b" 2.m\r\n"))
                session.send(b"RETR " + number, b"QUIT")
                assert session.rest() == OK + b"X: y\r\n\r\nbody\r\n.\r\n" + OK
                assert session.end() == (0, b"")
    finally:
        is_over.set()
        other.join()


def test_poplib_gets_along(root: Path) -> None:
    put(root, "new/4.m", "Subject: grüße\n\nutf-8\n".encode(), 1_700_000_004)
    with pop3d(root) as session:
        client = PopClient(session.sock)
        assert client.capa()["UIDL"] == []
        assert client.stat() == (4, 72)
        assert client.list()[1] == [b"1 25", b"2 14", b"3 6", b"4 27"]
        assert client.uidl(2) == b"+OK 2 2.m"
        assert client.retr(1)[1] == [b"Subject: a", b"", b"one", b".two"]
        assert client.top(1, 1)[1] == [b"Subject: a", b"", b"one"]
        # RFC 6856: it is sent whether the client asks for UTF-8 or not.
        assert client.retr(4)[1][0] == "Subject: grüße".encode()
        client.utf8()
        assert client.retr(4)[1][0] == "Subject: grüße".encode()
        with pytest.raises(poplib.error_proto, match="not that many"):
            client.dele(5)
        client.dele(1)
        client.rset()
        client.dele(4)
        assert client.noop() == b"+OK "
        client.quit()
    assert names(root) == ["cur/1.m:2,", "cur/2.m:2,S", "cur/3.m,S=5,W=6:2,"]


def test_a_message_of_this_second_is_there_at_the_next_login(root: Path) -> None:
    with pop3d(root) as session:
        session.line()
        put(root, "new/9.m", b"x\n", time.time() + 3600)
    with pop3d(root) as session:
        assert session.play(b"STAT\r\n").endswith(b"+OK 3 45\r\n")
    put(root, "new/9.m", b"x\n", time.time() - 2)
    with pop3d(root) as session:
        assert session.play(b"STAT\r\n").endswith(b"+OK 4 48\r\n")


def test_a_client_with_too_many_mistakes_reads_why_it_is_sent_away(root: Path) -> None:
    with pop3d(root) as session:
        said = session.play(b"XYZ\r\n" * 5000)
        assert session.end()[0] == 0
    assert said.endswith(replies.TOO_MANY_MISTAKES.wire)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_a_slow_reader_gets_everything(root: Path, family: socket.AddressFamily) -> None:
    put(root, "cur/0.long:2,", LONG[:2_000_000], 1_600_000_000)
    with pop3d(root) as session:
        if family == socket.AF_INET:
            session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        session.send(*[b"RETR 1"] * 3, b"QUIT")
        said = b""
        while data := session.sock.recv(10_000):
            said += data
    assert said.count(b"\r\n.\r\n") == 3
    assert said.endswith(b".\r\n" + OK)
    assert len(said) > 6_000_000


def test_big_maildirs_are_quick_on_the_second_visit(root: Path) -> None:
    for number in range(2000):
        put(root, f"cur/{number}.b:2,S", b"x\n" * 10, 1_600_000_000 + number)
    old = time.time() - 3600
    for part in ("new", "cur"):
        os.utime(root / part, (old, old))
    with pop3d(root) as session:
        assert session.play(b"STAT\r\n").endswith(b"+OK 2003 60045\r\n")
    cache = root / "qmail-pop3d.sizes"
    wait_until(cache.exists)
    written = cache.stat().st_mtime_ns
    with pop3d(root) as session:
        assert session.play(b"STAT\r\n").endswith(b"+OK 2003 60045\r\n")
    assert cache.stat().st_mtime_ns == written
    assert cache.stat().st_mode & 0o777 == 0o600
