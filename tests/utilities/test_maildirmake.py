"""maildirmake (spec/programs.md 7)."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from qmail.utilities import maildirmake


@pytest.fixture(autouse=True)
def _same_umask() -> Iterator[None]:
    mask = os.umask(0o022)
    yield
    os.umask(mask)


def test_makes_four_folders_for_the_owner_only(tmp_path: Path) -> None:
    assert maildirmake.main([str(tmp_path / "Maildir")]) == 0
    for part in ("", "tmp", "new", "cur"):
        assert (tmp_path / "Maildir" / part).stat().st_mode & 0o7777 == 0o700


def test_existing_folder_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert maildirmake.main([str(tmp_path)]) == 111
    assert "file exists" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [[], ["a", "b"]])
def test_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert maildirmake.main(argv) == 100
    assert "usage" in capsys.readouterr().err
