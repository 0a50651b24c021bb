"""qmail-newu: users/assign to users/cdb (spec/programs.md 3, spec/control-files.md 5)."""

import os
from pathlib import Path

import pytest

from qmail.core.cdb import Cdb
from qmail.utilities import newu

JOE = "=joe:joe:1001:100:/home/joe:::\n"
WILD = "+joe-:joe:1001:100:/home/joe:-::\n"


def assign(home: Path, text: str | bytes) -> int:
    (home / "users/assign").write_bytes(text.encode() if isinstance(text, str) else text)
    return newu.main([])


def records(home: Path) -> list[tuple[bytes, bytes]]:
    with Cdb(str(home / "users/cdb")) as cdb:
        return list(cdb.items())


def test_assign_becomes_cdb(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert assign(home, JOE + WILD + ".\n") == 0
    assert records(home) == [
        (b"!joe\0", b"joe\x001001\x00100\0/home/joe\0\0"),
        (b"!joe-", b"joe\x001001\x00100\0/home/joe\0-\0"),
        (b"", b"-"),
    ]
    assert capsys.readouterr() == ("", "")
    assert (home / "users/cdb").stat().st_mode & 0o777 == 0o644
    assert sorted(os.listdir(home / "users")) == ["assign", "cdb"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (JOE, "users/assign:2: the last line must be a dot"),
        (JOE + "nonsense\n.\n", "users/assign:2: "),
        (JOE.replace("1001", "joe") + ".\n", "users/assign:1: the uid"),
        (JOE + "=" + "x" * 9000 + "\n.\n", "users/assign:2: longer than"),
        ("", "users/assign:1: "),
    ],
)
def test_a_format_error_names_file_and_line_and_the_old_cdb_stays(
    home: Path, text: str, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert assign(home, WILD + ".\n") == 0
    before = records(home)
    assert assign(home, text) == 111
    said = capsys.readouterr().err
    assert said.startswith(f"qmail-newu: fatal: {place}")
    assert "users/cdb is as it was" in said
    assert records(home) == before
    assert sorted(os.listdir(home / "users")) == ["assign", "cdb"]


def test_a_missing_assign_is_exit_111(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert newu.main([]) == 111
    assert f"{home}/users/assign: No such file" in capsys.readouterr().err


def test_any_bytes_but_nul_may_stand_in_a_name(home: Path) -> None:
    assert assign(home, b"=j\xf6e:j\xf6e:1001:100:/home/j\xf6e:::\n.\n") == 0
    assert records(home)[0][0] == b"!j\xf6e\0"


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert newu.main(["x"]) == 100
    assert "usage" in capsys.readouterr().err
