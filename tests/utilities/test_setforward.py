"""setforward, and its round trip with printforward (spec/companion.md 2.2)."""

import os
from pathlib import Path

import pytest
from tests.utilities.line_tools import Line
from tests.utilities.tables import make_table

from qmail.core.cdb import Cdb, write_cdb

TEXT = "Joe@: ann@x, |prog\\ one, ./l.bin; # rest\nl@x: ?owner-l@x, &a, !p;\n"
RECORDS = [
    (b":joe@", b"&ann@x\0|prog one\0./l.bin\0"),
    (b"?l@x", b"owner-l@x"),
    (b":l@x", b"&a\0!p\0"),
]


def test_a_table_is_made_and_can_be_read_by_all(line: Line) -> None:
    path = make_table(line, TEXT)
    with Cdb(path) as table:
        assert list(table.items()) == RECORDS
    assert os.stat(path).st_mode & 0o777 == 0o644
    assert not os.path.exists(f"{line.home}/table.tmp")


def test_what_is_printed_makes_the_same_table(line: Line) -> None:
    path = Path(make_table(line, TEXT))
    first = path.read_bytes()
    ended = line.run(["printforward"], first)
    assert (ended.code, ended.err) == (0, b"")
    assert Path(make_table(line, ended.out.decode())).read_bytes() == first


def test_the_table_of_newaliases_makes_the_same_table(line: Line) -> None:
    (line.home / "aliases").write_text('a: b, "|x y; z, #"\nowner-l: c\nl: :include:/l m\\:n@x\n')
    assert line.run(["newaliases", str(line.home / "aliases")]).code == 111
    (line.home / "aliases").write_text('a: b, "|x y; z, #"\nowner-l: c\nl: "m:n"@x\n')
    assert line.run(["newaliases", str(line.home / "aliases")]).code == 0
    first = (line.home / "aliases.cdb").read_bytes()
    printed = line.run(["printforward"], first).out.decode()
    assert Path(make_table(line, printed)).read_bytes() == first


@pytest.mark.parametrize("text", ["a: b", "a: b: c;", "a, b: c;", "a\0: b;", f"a: {'b' * 801};"])
def test_what_is_no_table_ends_with_100_and_the_old_one_stays(line: Line, text: str) -> None:
    first = Path(make_table(line, TEXT)).read_bytes()
    ended = line.run(["setforward", f"{line.home}/table.cdb", f"{line.home}/t"], text.encode())
    assert ended.code == 100
    assert ended.err.startswith(b"setforward: fatal: line 1: ")
    assert (line.home / "table.cdb").read_bytes() == first


def test_a_table_that_can_not_be_written_ends_with_111(line: Line) -> None:
    ended = line.run(["setforward", "/nowhere/t.cdb", "/nowhere/t.tmp"], b"")
    assert ended.code == 111
    assert b"/nowhere/t.tmp: no such file" in ended.err


@pytest.mark.parametrize("argv", [[], ["a"], ["a", "b", "c"], ["-h"]])
def test_wrong_usage_ends_with_100(line: Line, argv: list[str]) -> None:
    ended = line.run(["setforward", *argv])
    assert (ended.code, ended.err) == (100, b"setforward: usage: setforward data.cdb data.tmp\n")


def test_the_empty_text_makes_an_empty_table(line: Line) -> None:
    assert os.path.getsize(make_table(line, "")) == 2048
    assert line.run(["printforward"], (line.home / "table.cdb").read_bytes()) == (0, b"", b"")


def test_a_long_table_is_printed_whole(line: Line) -> None:
    text = "".join(f"name{number}@:\n, &to{number}@far.example.org\n;\n" for number in range(4000))
    path = Path(make_table(line, text))
    assert line.run(["printforward"], path.read_bytes()).out.decode() == text


@pytest.mark.parametrize(
    ("data", "code", "shown"),
    [
        (b"", 100, b"bad format: input too short for a cdb file"),
        (b"x" * 3000, 100, b"bad format: input damaged"),
    ],
)
def test_what_is_no_cdb_is_not_printed(line: Line, data: bytes, code: int, shown: bytes) -> None:
    ended = line.run(["printforward"], data)
    assert ended.code == code
    assert shown in ended.err


def test_what_is_another_table_is_not_printed(line: Line, tmp_path: Path) -> None:
    path = tmp_path / "t.cdb"
    write_cdb(str(path), str(tmp_path / "t"), [(b"!joe-", b"x\0")])
    ended = line.run(["printforward"], path.read_bytes())
    assert ended.code == 100
    assert b'bad format: "!joe-" is no record of a forwarding table' in ended.err


def test_printforward_takes_no_argument(line: Line) -> None:
    ended = line.run(["printforward", "x"])
    assert (ended.code, b"usage: printforward < data.cdb" in ended.err) == (100, True)
