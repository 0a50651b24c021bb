"""A POP3 session on a descriptor: what goes wrong, and what waits (spec/smtp.md E.3)."""

import errno
import os
import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import suppress

import pytest
from tests.fakes.door import WAIT_S_MAX

from qmail.edge.pop3.service import serve
from qmail.protocol import pop3_replies as replies
from qmail.protocol.pop3_mailbox import MISTAKES_MAX

OK = b"+OK \r\n"


class FakeMaildrop:
    """Two messages; what happens to them is the test's business."""

    def __init__(self, *parts: bytes | OSError) -> None:
        self.sizes = [10, 20]
        self.uids = [b"a", b"b"]
        self._parts = parts
        self.ended: list[frozenset[int]] = []
        self.left = 0

    def parts(self, _number: int) -> Iterator[bytes]:
        for part in self._parts:
            if isinstance(part, OSError):
                raise part
            yield part

    def end(self, deleted: Collection[int]) -> int:
        self.ended.append(frozenset(deleted))
        return self.left


class Served:
    """A session in a thread of the test; `said` is there before it begins."""

    def __init__(
        self,
        maildrop: FakeMaildrop | OSError,
        timeout_s: float = WAIT_S_MAX,
        said: bytes = b"",
    ) -> None:
        self._maildrop = maildrop
        self.sock, self._theirs = socket.socketpair()
        self.sock.settimeout(WAIT_S_MAX)
        self.sock.sendall(said)
        self._thread = threading.Thread(target=self._serve, args=(timeout_s,))

    def _serve(self, timeout_s: float) -> None:
        fd = self._theirs.fileno()
        serve(fd, fd, self._open, timeout_s)
        self.was_blocking = os.get_blocking(fd)
        self._theirs.close()

    def _open(self) -> FakeMaildrop:
        if isinstance(self._maildrop, OSError):
            raise self._maildrop
        return self._maildrop

    def __enter__(self) -> "Served":
        self._thread.start()
        return self

    def __exit__(self, *_trouble: object) -> None:
        self.sock.close()
        self._thread.join(WAIT_S_MAX)
        assert not self._thread.is_alive()

    def play(self, script: bytes, *, ends: bool = True) -> bytes:
        """Send everything; return everything that is said."""
        # The session may be over already.
        with suppress(BrokenPipeError):
            self.sock.sendall(script)
            if ends:
                self.sock.shutdown(socket.SHUT_WR)
        said = b""
        while data := self.sock.recv(65536):
            said += data
        return said


def no(code: int, name: str = "cur/1") -> OSError:
    return OSError(code, os.strerror(code), name)


@pytest.mark.parametrize(
    ("trouble", "reply"),
    [
        (no(errno.ENOENT), replies.NO_MAILDIR),
        (no(errno.ENOTDIR), replies.NO_MAILDIR),
        (no(errno.EACCES), replies.MAILDIR_TROUBLE),
        (no(errno.EIO), replies.MAILDIR_TROUBLE),
    ],
)
def test_a_maildir_that_can_t_be_opened_is_told(
    trouble: OSError, reply: replies.Reply, capfd: pytest.CaptureFixture[str]
) -> None:
    with Served(trouble) as served:
        assert served.play(b"") == reply.wire
    assert capfd.readouterr().err == f"qmail-pop3d: cur/1: {trouble.strerror}\n"


@pytest.mark.parametrize(
    ("trouble", "reply"),
    [(no(errno.ENOENT), replies.GONE), (no(errno.EACCES), replies.UNREADABLE)],
)
def test_a_message_that_can_t_be_opened_is_told_and_the_session_goes_on(
    trouble: OSError, reply: replies.Reply, capfd: pytest.CaptureFixture[str]
) -> None:
    with Served(FakeMaildrop(trouble)) as served:
        assert served.play(b"RETR 1\r\nNOOP\r\n") == OK + reply.wire + OK
    assert capfd.readouterr().err.count("\n") == (reply is replies.UNREADABLE)


def test_a_message_that_breaks_off_has_no_end(capfd: pytest.CaptureFixture[str]) -> None:
    maildrop = FakeMaildrop(b"one\n" * 50_000, b"two\n" * 50_000, no(errno.EIO))
    with Served(maildrop) as served:
        said = served.play(b"RETR 1\r\nDELE 1\r\nQUIT\r\n", ends=False)
    assert said.startswith(OK + OK + b"one\r\n")
    assert b"\r\n.\r\n" not in said
    assert maildrop.ended == []
    assert capfd.readouterr().err.startswith("qmail-pop3d: session: ")


def test_an_empty_message_has_an_end() -> None:
    for parts in ((), (b"",)):
        with Served(FakeMaildrop(*parts)) as served:
            assert served.play(b"RETR 1\r\n") == OK + OK + b".\r\n"


def test_quit_has_one_reply(capfd: pytest.CaptureFixture[str]) -> None:
    maildrop = FakeMaildrop()
    with Served(maildrop) as served:
        assert served.play(b"DELE 2\r\nQUIT\r\n", ends=False) == OK * 3
    maildrop.left = 1
    with Served(maildrop) as served:
        assert served.play(b"DELE 1\r\nQUIT\r\n") == OK * 2 + replies.SOME_NOT_REMOVED.wire
    assert maildrop.ended == [{2}, {1}]
    assert capfd.readouterr().err == ""


def test_e3_a_silent_client_is_told_and_nothing_is_deleted() -> None:
    maildrop = FakeMaildrop()
    with Served(maildrop, 0.2, b"DELE 1\r\nNO") as served:
        assert served.play(b"", ends=False) == OK * 2 + replies.TIMED_OUT.wire
    assert maildrop.ended == []


def test_e3_a_client_that_does_not_read_is_left(capfd: pytest.CaptureFixture[str]) -> None:
    maildrop = FakeMaildrop(*[b"x" * 100_000] * 100)
    with Served(maildrop, 0.2, b"RETR 1\r\nQUIT\r\n") as served:
        served._thread.join(WAIT_S_MAX)
        assert not served._thread.is_alive()
    assert maildrop.ended == []
    assert capfd.readouterr().err == ""


def test_a_client_that_is_sent_away_can_read_why() -> None:
    with Served(FakeMaildrop()) as served:
        said = served.play(b"XYZ\r\n" * MISTAKES_MAX * 3)
    assert said.endswith(replies.TOO_MANY_MISTAKES.wire)


def test_what_stands_behind_quit_does_not_spoil_its_reply() -> None:
    for _ in range(20):
        with Served(FakeMaildrop()) as served:
            assert served.play(b"QUIT\r\n" + b"NOOP\r\n" * 20_000) == OK * 2


def test_the_descriptor_is_left_as_it_was() -> None:
    with Served(FakeMaildrop()) as served:
        served.play(b"QUIT\r\n")
        served._thread.join(WAIT_S_MAX)
        assert served.was_blocking
