"""qmail-qstat counts what is there (spec/programs.md 4)."""

from pathlib import Path

import pytest

from qmail.utilities import qstat


def test_an_empty_queue_counts_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert qstat.main([]) == 0
    assert capsys.readouterr().out == (
        "messages in queue: 0\nmessages in queue but not yet preprocessed: 0\n"
    )


def test_messages_and_todo_entries_are_counted(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 24, 7):
        (home / f"queue/mess/{number % 23}/{number}").write_bytes(b"x")
    (home / "queue/mess/3/not-a-number").write_bytes(b"x")
    (home / "queue/todo/24").write_bytes(b"x")
    assert qstat.main([]) == 0
    assert capsys.readouterr().out == (
        "messages in queue: 3\nmessages in queue but not yet preprocessed: 1\n"
    )


def test_without_a_queue_it_ends_with_111(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QMAIL_HOME", str(tmp_path))
    assert qstat.main([]) == 111
    assert "No such file" in capsys.readouterr().err


def test_arguments_are_wrong_usage(home: Path) -> None:
    assert qstat.main(["-x"]) == 100
