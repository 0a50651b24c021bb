"""setmaillist and printmaillist (spec/companion.md 2.4)."""

from pathlib import Path

import pytest
from tests.utilities.line_tools import Line
from tests.utilities.tables import make_list


def test_a_list_of_plain_lines_is_stored_for_all_to_read(line: Line, tmp_path: Path) -> None:
    stored = make_list(line, tmp_path / "l.bin", "# x\nann@x \n\n&bob@y\n./m.bin\nJoe <j@z>\n")
    assert stored.read_bytes() == b"&ann@x\0&bob@y\0./m.bin\0&Joe <j@z>\0"
    assert stored.stat().st_mode & 0o777 == 0o644


def test_what_is_printed_makes_the_same_list(line: Line, tmp_path: Path) -> None:
    first = make_list(line, tmp_path / "l.bin", "ann@x\n/m\n").read_bytes()
    ended = line.run(["printmaillist"], first)
    assert ended == (0, b"&ann@x\n/m\n", b"")
    assert make_list(line, tmp_path / "l.bin", ended.out.decode()).read_bytes() == first


@pytest.mark.parametrize("text", ["ok\na\0b\n", f"ok\n{'a' * 801}\n"])
def test_a_bad_line_is_told_and_the_old_list_stays(line: Line, tmp_path: Path, text: str) -> None:
    stored = make_list(line, tmp_path / "l.bin", "ann@x\n")
    ended = line.run(["setmaillist", str(stored), f"{stored}.tmp"], text.encode())
    assert ended.code == 111
    assert ended.err.startswith(b"setmaillist: fatal: line 2: ")
    assert stored.read_bytes() == b"&ann@x\0"


def test_what_is_no_stored_list_is_not_printed(line: Line) -> None:
    ended = line.run(["printmaillist"], b"ann@x\nbob@x\n")
    assert ended.code == 100
    assert ended.err.startswith(b"printmaillist: fatal: bad format: not a list")


def test_a_list_that_can_not_be_written_ends_with_111(line: Line) -> None:
    assert line.run(["setmaillist", "/nowhere/l", "/nowhere/t"], b"a\n").code == 111


@pytest.mark.parametrize(
    "argv", [["setmaillist"], ["setmaillist", "a"], ["setmaillist", "-h"], ["printmaillist", "x"]]
)
def test_wrong_usage_ends_with_100(line: Line, argv: list[str]) -> None:
    ended = line.run(argv)
    assert (ended.code, ended.err.startswith(f"{argv[0]}: usage: ".encode())) == (100, True)
