"""A question to a child under another account: bounded in bytes and in time."""

import os
import time

import pytest

from qmail.edge.children.answer import NoAnswerError, ask_child

IS_ROOT = os.geteuid() == 0
SPARE = (54329, 54329)
OWN = SPARE if IS_ROOT else (os.getuid(), os.getgid())


def ask(work: object, bytes_max: int = 100_000, wait_s: float = 20) -> bytes:
    assert callable(work)
    return ask_child(OWN, work, bytes_max=bytes_max, wait_s=wait_s)


def test_the_answer_comes_back_whole() -> None:
    assert ask(lambda: b"") == b""
    assert ask(lambda: bytes(range(256)) * 300) == bytes(range(256)) * 300


def test_the_child_is_the_account_and_has_no_other_group() -> None:
    answer = ask(lambda: repr((os.getresuid(), os.getresgid(), os.getgroups())).encode())
    uid, gid = OWN
    assert answer.startswith(repr(((uid,) * 3, (gid,) * 3)).encode()[:-1])
    if IS_ROOT:
        assert answer.endswith(b", [%d])" % gid)


def test_the_child_has_none_of_our_descriptors() -> None:
    fd = os.open("/dev/null", os.O_RDONLY)
    try:
        assert ask(lambda: b"%d" % (str(fd) in os.listdir("/proc/self/fd") and fd > 3)) == b"0"
    finally:
        os.close(fd)


def test_a_child_never_answers_as_root() -> None:
    with pytest.raises(NoAnswerError, match="ended without a whole answer"):
        ask_child((0, 0), lambda: b"x", bytes_max=10, wait_s=20)


def test_a_child_that_breaks_gives_no_answer() -> None:
    def broken() -> bytes:
        raise ValueError

    with pytest.raises(NoAnswerError, match="ended without a whole answer"):
        ask(broken)


def test_a_child_that_is_killed_gives_no_answer() -> None:
    def killed() -> bytes:
        os.kill(os.getpid(), 9)
        return b"never"

    with pytest.raises(NoAnswerError, match="ended without a whole answer"):
        ask(killed)


def test_an_answer_of_too_many_bytes_is_none() -> None:
    assert ask(lambda: b"x" * 50, bytes_max=50) == b"x" * 50
    with pytest.raises(NoAnswerError):
        ask(lambda: b"x" * 5_000_000, bytes_max=50)


def test_a_child_that_takes_too_long_is_killed() -> None:
    begun = time.monotonic()

    def late() -> bytes:
        time.sleep(60)
        return b"late"

    with pytest.raises(NoAnswerError, match=r"no answer within 0\.05 seconds"):
        ask(late, wait_s=0.05)
    assert time.monotonic() - begun < 30
