"""Tools that look at every file of a queue say on a terminal, and only there, how far they are."""

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.fakes.homes import GID, IS_ROOT, UID, make_home, open_folder
from tests.fakes.planted_queue import Planted
from tests.fakes.terminal import Terminal

from qmail.edge.tools import progress
from qmail.utilities import queue_check, queue_export, queue_import

OWNER = (UID, GID) if IS_ROOT else None
Tool = Callable[[Path], int]


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(progress, "AFTER_S", 0)
    monkeypatch.setattr(progress, "EVERY_S", 0)
    with open_folder() as found:
        for name in ("home", "other"):
            make_home(found / name)
        planted = Planted(found / "home/queue", OWNER)
        for index in range(6):
            planted.add(index)
        yield found


def check(folder: Path) -> int:
    return queue_check.main("check", ["--home", str(folder / "home")])


def repair(folder: Path) -> int:
    return queue_check.main("check", ["--repair", "--home", str(folder / "home")])


def export(folder: Path) -> int:
    return queue_export.main("export", ["--home", str(folder / "home"), str(folder / "archive")])


def import_(folder: Path) -> int:
    return queue_import.main("import", ["--home", str(folder / "other"), str(folder / "archive")])


TOOLS: dict[str, tuple[Tool, str]] = {
    "check": (check, "5 of 6 messages"),
    "repair": (repair, "5 of 6 messages"),
    "export": (export, "5 of 6 messages"),
    "import": (import_, "0 MB"),
}


@pytest.mark.parametrize("name", TOOLS)
def test_a_terminal_is_told_how_far_it_is(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tool, words = TOOLS[name]
    if name == "import":
        assert export(folder) == 0
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert tool(folder) == 0
    text = terminal.getvalue()
    assert words in text
    # Every line that stays begins where the bar was.
    assert progress.CLEAR in text
    assert "messages" not in text.rpartition(progress.CLEAR)[2].partition("exported")[2]
    assert progress.CLEAR not in capsys.readouterr().out


@pytest.mark.parametrize("name", TOOLS)
def test_a_pipe_is_told_nothing_of_it(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "import":
        assert export(folder) == 0
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    assert TOOLS[name][0](folder) == 0
    assert "[" not in pipe.getvalue()
    assert progress.CLEAR not in pipe.getvalue()


def test_an_archive_without_a_size_counts_messages(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert export(folder) == 0
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    stream = io.BytesIO((folder / "archive").read_bytes())
    assert queue_import.import_archive(str(folder / "other"), stream) == 6
    assert "5 messages" in terminal.getvalue()
