"""qmail-newmrh: morercpthosts to morercpthosts.cdb (spec/programs.md 3, control-files.md 4.4)."""

from pathlib import Path

import pytest

from qmail.core.cdb import Cdb
from qmail.utilities import newmrh


def keys(home: Path) -> list[tuple[bytes, bytes]]:
    with Cdb(str(home / "control/morercpthosts.cdb")) as cdb:
        return list(cdb.items())


def test_control_files_4_4_lower_case_without_blanks_at_the_end_comments_and_empty_lines(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = home / "control/morercpthosts"
    source.write_bytes(b"A.Example \t\n\n# a comment\n.B.Example\nlast.example")
    assert newmrh.main([]) == 0
    assert keys(home) == [(b"a.example", b""), (b".b.example", b""), (b"last.example", b"")]
    assert capsys.readouterr() == ("", "")
    assert not (home / "control/morercpthosts.tmp").exists()


def test_an_empty_source_is_no_domain_and_not_an_empty_key(home: Path) -> None:
    (home / "control/morercpthosts").write_bytes(b"\n \n")
    assert newmrh.main([]) == 0
    assert keys(home) == []


def test_a_line_that_is_no_domain_is_named_and_the_old_file_stays(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = home / "control/morercpthosts"
    source.write_bytes(b"a.example\n")
    assert newmrh.main([]) == 0
    source.write_bytes(b"b.example\njoe@c.example\n")
    assert newmrh.main([]) == 111
    assert "control/morercpthosts:2: " in capsys.readouterr().err
    assert keys(home) == [(b"a.example", b"")]


def test_a_missing_source_is_exit_111(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert newmrh.main([]) == 111
    assert "control/morercpthosts: No such file" in capsys.readouterr().err


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert newmrh.main(["x"]) == 100
    assert "usage" in capsys.readouterr().err
