"""splogger (spec/programs.md 8)."""

import errno
import os
import syslog
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.utilities import splogger

INFO, WARNING, ALERT = syslog.LOG_INFO, syslog.LOG_WARNING, syslog.LOG_ALERT


def logged(*parts: bytes, times: Iterator[float] | None = None) -> list[tuple[int, str]]:
    """Return what is logged of these parts; the clock stands still unless `times` has others."""
    found: list[tuple[int, str]] = []
    rest = iter(parts)

    def now() -> float:
        return 5.25 if times is None else next(times)

    splogger.log(lambda: next(rest, b""), lambda *entry: found.append(entry), now)
    return found


@pytest.mark.parametrize(
    ("line", "priority"),
    [
        (b"new msg 7", INFO),
        (b"alert: oh no", ALERT),
        (b"warning: oh", WARNING),
        (b" alert: no", INFO),
        (b"Alert: no", INFO),
        (b"alert", INFO),
    ],
)
def test_the_first_word_says_how_grave_it_is(line: bytes, priority: int) -> None:
    assert logged(line + b"\n") == [(priority, "5.250000 " + line.decode())]


def test_each_line_has_the_time_at_which_it_began() -> None:
    found = logged(b"a\nb", b"b\n", b"c\n", times=iter((1.5, 1234567890.000001, 3)))
    assert [text for _, text in found] == ["1.500000 a", "1234567890.000001 bb", "3.000000 c"]


def test_a_long_line_is_cut_and_its_pieces_belong_together() -> None:
    line = b"alert: " + b"x" * 792 + b"y" * 799 + b"z"
    assert logged(line + b"\nshort\n") == [
        (ALERT, "5.250000 alert: " + "x" * 792),
        (ALERT, "5.250000+" + "y" * 799),
        (ALERT, "5.250000+z"),
        (INFO, "5.250000 short"),
    ]
    assert len(logged(b"x" * 799 + b"\n")) == 1


def test_what_can_not_be_printed_becomes_a_question_mark() -> None:
    assert logged(b"a\tb\0c\x7f\xff~ \n") == [(INFO, "5.250000 a?b?c??~ ")]


def test_empty_lines_are_dropped() -> None:
    assert [text for _, text in logged(b"\n\na\n\n\nb\n\n")] == ["5.250000 a", "5.250000 b"]
    assert logged() == logged(b"\n") == []


def test_the_last_words_of_a_program_that_died_are_logged() -> None:
    assert logged(b"a\nout of mem") == [(INFO, "5.250000 a"), (INFO, "5.250000 out of mem")]


@given(
    st.lists(st.sampled_from([b"alert:", b"\n", b"x" * 300, b"y", b"\xff"]), max_size=30),
    st.lists(st.integers(0, 3000), max_size=5),
)
def test_cuts_change_nothing(words: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(words)
    at = [0, *sorted(cut for cut in cuts if cut < len(whole)), len(whole)]
    parts = [whole[start:end] for start, end in pairwise(at) if start < end]
    assert logged(*parts) == (logged(whole) if whole else [])
    assert all(len(text) <= len("5.250000 ") + 799 for _, text in logged(whole or b"\n"))


# --- the command --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "tag", "facility"),
    [
        ([], "splogger", syslog.LOG_MAIL),
        (["qmail"], "qmail", syslog.LOG_MAIL),
        (["qmail", "3"], "qmail", syslog.LOG_DAEMON),
        (["qmail", "16"], "qmail", syslog.LOG_LOCAL0),
    ],
)
def test_tag_and_facility_are_arguments(
    argv: list[str], tag: str, facility: int, *, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[object, ...]] = []
    parts = iter([b"hello\n", b""])
    monkeypatch.setattr(syslog, "openlog", lambda *how: done.append(how))
    monkeypatch.setattr(syslog, "syslog", lambda *what: done.append(what))
    monkeypatch.setattr(os, "read", lambda _fd, _size: next(parts))
    assert splogger.main(argv) == 0
    (opened, (priority, text)) = done
    assert opened == (tag, 0, facility)
    assert priority == INFO
    assert str(text).endswith(" hello")


@pytest.mark.parametrize("argv", [["a", "mail"], ["a", "24"], ["a", "-1"], ["a", "2", "x"]])
def test_wrong_usage_ends_with_100(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert splogger.main(argv) == 100
    assert "usage" in capsys.readouterr().err


def test_a_log_that_can_not_be_read_ends_with_111(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_fd: int, _size: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "read", fail)
    assert splogger.main([]) == 111
    assert (
        capsys.readouterr().err == "splogger: fatal: unable to read the log: input/output error\n"
    )
