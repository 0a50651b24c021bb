"""What keeps other accounts out is named."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from qmail.edge.machine.openness import closed_below, closed_part


@pytest.fixture
def tree() -> Iterator[Path]:
    """A package in an open folder: tree/package/part/file."""
    top = Path(os.path.realpath(tempfile.mkdtemp(prefix="qmail-test-")))
    (top / "package/part/__pycache__").mkdir(parents=True)
    (top / "package/part/file").write_text("x")
    (top / "package/part/__pycache__/file.pyc").write_text("x")
    for folder, _, names in os.walk(top):
        for path in (folder, *(f"{folder}/{name}" for name in names)):
            os.chmod(path, 0o755 if path == folder else 0o644)
    yield top
    os.chmod(top, 0o755)
    shutil.rmtree(top)


def test_an_open_tree_has_no_closed_part(tree: Path) -> None:
    assert closed_part(str(tree / "package/part/file")) == ""
    assert closed_below(str(tree / "package")) == ""


@pytest.mark.parametrize(
    ("closed", "mode"), [("", 0o700), ("package", 0o754), ("package/part", 0o750)]
)
def test_a_folder_on_the_way_that_others_may_not_pass_is_named(
    tree: Path, closed: str, mode: int
) -> None:
    os.chmod(tree / closed, mode)
    assert closed_part(str(tree / "package/part/file")) == str(tree / closed)


def test_a_folder_that_others_pass_and_do_not_list_is_open_on_the_way_only(tree: Path) -> None:
    os.chmod(tree / "package", 0o711)
    assert closed_part(str(tree / "package/part/file")) == ""
    assert closed_part(str(tree / "package")) == str(tree / "package")


def test_a_file_that_others_may_not_read_is_named(tree: Path) -> None:
    os.chmod(tree / "package/part/file", 0o640)
    assert closed_part(str(tree / "package/part/file")) == str(tree / "package/part/file")
    assert closed_below(str(tree / "package")) == str(tree / "package/part/file")


def test_compiled_files_do_not_count(tree: Path) -> None:
    os.chmod(tree / "package/part/__pycache__/file.pyc", 0o600)
    assert closed_below(str(tree / "package")) == ""


def test_links_are_followed_to_where_they_lead(tree: Path) -> None:
    (tree / "open").mkdir(mode=0o755)
    (tree / "open/link").symlink_to(tree / "package/part")
    os.chmod(tree / "package", 0o700)
    assert closed_part(str(tree / "open/link/file")) == str(tree / "package")
