"""docs/explain.md shows what `qmail explain` prints, to the letter."""

import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.utilities.explained_host import CONTROLS, FILES, PLACES, explained_host

from qmail.utilities import front

PAGE: Final = Path(__file__).resolve().parents[2] / "docs/explain.md"
BLOCK: Final = re.compile(
    r"^```console\n\$ (qmail explain [^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
BLOCKS: Final = BLOCK.findall(PAGE.read_text())


@pytest.fixture(scope="module")
def host() -> Iterator[None]:
    """The host of the page."""
    folder = tempfile.mkdtemp(prefix="qmail-test-")
    os.chmod(folder, 0o755)
    with pytest.MonkeyPatch.context() as patch, explained_host(Path(folder), patch):
        yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize(("command", "output"), BLOCKS, ids=[command for command, _ in BLOCKS])
def test_the_page_shows_what_is_printed(
    host: None, capsys: pytest.CaptureFixture[str], command: str, output: str
) -> None:
    front.main(shlex.split(command)[1:])
    assert capsys.readouterr().out == output


def test_the_page_shows_every_kind_of_address() -> None:
    words = " ".join(command for command, _ in BLOCKS)
    for kind in (
        "here.example",
        "Shop.Example",
        "club.example",
        "wild.example",
        "support@",
        "--follow",
    ):
        assert kind in words


def test_the_page_shows_the_files_of_the_host() -> None:
    page = PAGE.read_text()
    for name, text in CONTROLS.items():
        assert f"control/{name}:\n{text}" in page
    for name, text in FILES.items():
        assert f"{place_of(name)}:\n{text}" in page


def place_of(name: str) -> str:
    """Return where a file of the host lies as people see it."""
    top, _, rest = name.partition("/")
    return f"{PLACES[top]}/{rest}"
