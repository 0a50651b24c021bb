"""A home of one account to look at, made the way `qmail init` makes it for an ordinary user."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.utilities.line_tools import Line

from qmail.utilities import init

NOBODY = 65534


def make_ordinary_home(
    home: Path, monkeypatch: pytest.MonkeyPatch, *more: str, sendmail: str = ""
) -> list[str]:
    """Run `init` as an ordinary user would; under root as if root were nobody."""
    said: list[str] = []
    with monkeypatch.context() as patch:
        if os.geteuid() == 0:
            patch.setattr(os, "geteuid", lambda: NOBODY)
            patch.setattr(os, "getegid", lambda: NOBODY)
        host = more[0] if more else "mx.example.org"
        init.make_home(str(home), host=host, listeners=more[1:], say=said.append, sendmail=sendmail)
    return said


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every account can reach."""
    folder = tempfile.mkdtemp(prefix="qmail-test-")
    os.chmod(folder, 0o755)
    yield Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def home(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of one account; QMAIL_HOME names it."""
    folder = open_folder / "home"
    make_ordinary_home(folder, monkeypatch)
    monkeypatch.setenv("QMAIL_HOME", str(folder))
    return folder


@pytest.fixture
def line(tmp_path: Path) -> Line:
    """Runs the commands of `.qmail` lines."""
    return Line(tmp_path)
