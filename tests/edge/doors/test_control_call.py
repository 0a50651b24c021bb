"""A tool asks qmail-send: how far that is shows on a terminal, and never reaches the caller."""

import socket
import sys
from collections.abc import Iterator

import pytest
from tests.fakes.terminal import Terminal

from qmail.edge.doors import control_call
from qmail.edge.doors.control_call import CallError, ControlCall
from qmail.edge.tools import progress
from qmail.protocol.control_door import Answer, Question
from qmail.protocol.queue_filter import Filter

QUESTION = Question(tag=1, verb="list", filter=Filter())


def called(monkeypatch: pytest.MonkeyPatch) -> tuple[ControlCall, Terminal]:
    """Call from a terminal where everything takes long."""
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setattr(progress, "AFTER_S", 0)
    monkeypatch.setattr(progress, "EVERY_S", 0)
    return ControlCall("/nowhere"), shown


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    near, far = socket.socketpair()
    monkeypatch.setattr(control_call, "knock", lambda *_: near)
    yield far
    far.close()


def answer(far: socket.socket, *answers: Answer) -> None:
    far.sendall(b"".join(each.pack() for each in answers))


def test_a_look_at_very_many_messages_shows_how_far_it_is(
    far: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, terminal = called(monkeypatch)
    done = Answer(1, "done", (b"0", b"0"))
    answer(far, *[Answer(1, "progress", (b"%d" % n, b"3000")) for n in (1000, 2000)], done)
    assert list(call.ask(QUESTION)) == [done]
    text = terminal.getvalue()
    assert "1,000 of 3,000 messages" in text
    assert "2,000 of 3,000 messages" in text
    assert text.endswith(progress.CLEAR)
    call.close()


def test_nothing_of_the_bar_is_left_where_it_goes_wrong(
    far: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, terminal = called(monkeypatch)
    answer(far, Answer(1, "progress", (b"1", b"2")), Answer(1, "error", (b"no such thing",)))
    with pytest.raises(CallError, match="no such thing"):
        list(call.ask(QUESTION))
    assert terminal.getvalue().endswith(progress.CLEAR)
    call.close()


@pytest.mark.parametrize("fields", [(), (b"1",), (b"x", b"2"), (b"1", b"2", b"3")])
def test_progress_that_says_nothing_is_passed_over(
    far: socket.socket, monkeypatch: pytest.MonkeyPatch, fields: tuple[bytes, ...]
) -> None:
    call, terminal = called(monkeypatch)
    done = Answer(1, "done", ())
    answer(far, Answer(1, "progress", fields), done)
    assert list(call.ask(QUESTION)) == [done]
    assert terminal.getvalue() == ""
    call.close()
