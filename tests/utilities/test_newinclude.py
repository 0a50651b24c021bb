"""newinclude (spec/companion.md 2.4)."""

from pathlib import Path

import pytest
from tests.utilities.line_tools import Line


@pytest.fixture
def list_file(tmp_path: Path) -> Path:
    return tmp_path / "list"


def test_a_list_is_stored_beside_its_text(line: Line, list_file: Path) -> None:
    list_file.write_text("# all\nann, Bob <bob@far>\n\n:include:/l.bin\n")
    assert line.run(["newinclude", str(list_file)]) == (0, b"", b"")
    stored = list_file.with_name("list.bin")
    assert stored.read_bytes() == b"&bob@far.dh.ex\0&ann@dh.ex\0/l.bin\0"
    assert stored.stat().st_mode & 0o777 == 0o644
    assert not list_file.with_name("list.tmp").exists()


def test_the_caller_may_choose_the_hosts(line: Line, list_file: Path) -> None:
    list_file.write_text("ann, bob@far, carl@x+\n")
    line.environ |= {
        "QMAILDEFAULTHOST": "eh.ex", "QMAILDEFAULTDOMAIN": "ed.ex", "QMAILPLUSDOMAIN": "ep.ex",
    }  # fmt: skip
    assert line.run(["newinclude", str(list_file)]).code == 0
    stored = list_file.with_name("list.bin").read_bytes()
    assert stored == b"&carl@x.ep.ex\0&bob@far.ed.ex\0&ann@eh.ex\0"


def test_bad_lines_are_told_and_the_old_list_stays(line: Line, list_file: Path) -> None:
    stored = list_file.with_name("list.bin")
    stored.write_bytes(b"&old@x\0")
    list_file.write_text("ann\n/file\n|prog\n")
    ended = line.run(["newinclude", str(list_file)])
    assert ended.code == 111
    lines = ended.err.decode().split("\n")
    assert [text.partition(" deliv")[0] for text in lines] == [
        f"newinclude: fatal: {list_file}:2: file", f"newinclude: fatal: {list_file}:3: program", "",
    ]  # fmt: skip
    assert stored.read_bytes() == b"&old@x\0"


def test_a_list_in_it_that_is_named_as_text_is_warned_of(line: Line, list_file: Path) -> None:
    list_file.write_text(":include:/l\n")
    ended = line.run(["newinclude", str(list_file)])
    assert ended.code == 0
    assert f"newinclude: warning: {list_file}:1: /l is read as it".encode() in ended.err


def test_a_list_that_is_not_there_is_told(line: Line, list_file: Path) -> None:
    ended = line.run(["newinclude", str(list_file)])
    assert ended.code == 111
    assert ended.err == f"newinclude: fatal: {list_file}: no such file or directory\n".encode()


@pytest.mark.parametrize("argv", [[], ["a", "b"], ["-h"]])
def test_wrong_usage_ends_with_100(line: Line, argv: list[str]) -> None:
    ended = line.run(["newinclude", *argv])
    assert (ended.code, ended.err) == (100, b"newinclude: usage: newinclude list\n")
