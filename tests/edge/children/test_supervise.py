"""Children of qmail-start: under which signals and descriptors they start, when they come back."""

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace

import pytest

from qmail.edge.children.supervise import (
    HANDLED,
    RESTART_S_MAX,
    RESTART_S_MIN,
    STEADY_S,
    Child,
    Program,
    describe_end,
    descriptor_words,
    ended,
    start,
)
from qmail.edge.machine.accounts import Account


def child_of(code: str, descriptors: Sequence[int] = ()) -> Child:
    """Make a child that would run `code` as who we are."""
    return Child(
        Program(
            name="qmail-test",
            path=sys.executable,
            args=["-IS", "-c", code],
            account=Account("x", os.getuid(), os.getgid()),
            keeps_root=True,
            descriptors=descriptors,
            environ={"HERE": "yes"},
            descriptor_variable="QMAIL_DOOR",
        )
    )


def output_of(child: Child) -> bytes:
    """Start the child; return what it wrote to its log."""
    reader, writer = os.pipe()
    start(child, writer)
    os.close(writer)
    with open(reader, "rb") as log:
        text = log.read()
    assert os.waitpid(child.pid, 0) == (child.pid, 0)
    return text


def test_a_child_gets_its_descriptors_by_number_and_no_others() -> None:
    given, kept = os.pipe()
    try:
        code = (
            "import os; listed = os.listdir('/proc/self/fd')\n"
            "print(os.environ['QMAIL_DOOR'], [n for n in map(int, listed) if os.path.exists("
            "f'/proc/self/fd/{n}')])"
        )
        os.set_inheritable(kept, True)
        text = output_of(child_of(code, [given]))
        assert text.decode().strip() == f"{given} {[0, 1, 2, given]}"
    finally:
        os.close(given)
        os.close(kept)


def test_a_child_is_a_session_of_its_own_and_starts_with_default_signals() -> None:
    before = {number: signal.getsignal(number) for number in HANDLED}
    try:
        for number in HANDLED:
            signal.signal(number, lambda _number, _frame: None)
        code = (
            "import os, signal;"
            " print(os.getsid(0) == os.getpid(), os.getcwd(), os.umask(0) == 0o77,"
            f" [n for n in {[int(number) for number in HANDLED]} if n != signal.SIGINT"
            " and signal.getsignal(n) != signal.SIG_DFL],"
            " signal.pthread_sigmask(signal.SIG_BLOCK, []))"
        )
        assert output_of(child_of(code)).decode().strip() == "True / True [] set()"
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_signals_are_not_held_back_after_a_start() -> None:
    output_of(child_of("pass"))
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & set(HANDLED)


def test_a_program_that_cannot_be_started_ends_with_111() -> None:
    child = child_of("pass")
    child.program = Program(
        name="qmail-test",
        path="/nowhere/qmail-test",
        args=[],
        account=child.program.account,
        keeps_root=True,
        descriptors=(),
        environ={},
        descriptor_variable="QMAIL_DOOR",
    )
    reader, writer = os.pipe()
    start(child, writer)
    os.close(writer)
    with open(reader, "rb") as log:
        assert b"qmail-start: fatal: /nowhere/qmail-test: " in log.read()
    assert describe_end(os.waitpid(child.pid, 0)[1]) == "exit 111"


def test_no_process_to_be_had_leaves_the_child_to_be_started_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    child = child_of("pass")
    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(BlockingIOError):
        start(child, 1)
    assert child.pid == 0
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & set(HANDLED)


def test_a_child_that_dies_again_and_again_rests_longer_each_time() -> None:
    child, rests, now = child_of("pass"), list[float](), 1000.0
    for _ in range(10):
        child.started = now
        ended(child, now + 1)
        assert child.start_at is not None
        rests.append(child.start_at - now - 1)
        now = child.start_at
    assert rests[:3] == pytest.approx([RESTART_S_MIN, 2 * RESTART_S_MIN, 4 * RESTART_S_MIN])
    assert rests[-1] == pytest.approx(RESTART_S_MAX)
    child.started = now
    ended(child, now + STEADY_S)
    assert child.start_at == pytest.approx(now + STEADY_S + RESTART_S_MIN)


def test_an_end_is_told_in_words() -> None:
    assert describe_end(0) == "exit 0"
    assert describe_end(111 << 8) == "exit 111"
    assert describe_end(9) == "killed by signal 9"


def test_descriptors_of_several_kinds_are_told_with_what_they_are() -> None:
    program = child_of("", (7, 9)).program
    assert descriptor_words(program) == "7 9"
    assert descriptor_words(replace(program, labels=("pop3", "pop3s"))) == "pop3:7 pop3s:9"
