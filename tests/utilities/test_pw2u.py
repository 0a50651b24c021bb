"""qmail-pw2u, the command: options, files of users/, exit codes (spec/programs.md 3)."""

import io
import sys
from pathlib import Path

import pytest

from qmail.utilities import newu, pw2u

ALIAS = b"alias:x:7790:2108::/var/qmail/alias:\n"
JOE = b"joe:x:1001:100::/home/joe:\n"
Run = tuple[int, str, str]


@pytest.fixture
def said(capfdbinary: pytest.CaptureFixture[bytes]) -> pytest.CaptureFixture[bytes]:
    return capfdbinary


def run(
    monkeypatch: pytest.MonkeyPatch, said: pytest.CaptureFixture[bytes], *argv: str
) -> tuple[int, list[bytes], bytes]:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(ALIAS + JOE)))
    code = pw2u.main(argv)
    sys.stdout.flush()
    out, err = said.readouterr()
    return code, out.splitlines(keepends=True), err


Patch = pytest.MonkeyPatch
Said = pytest.CaptureFixture[bytes]


def test_it_ends_with_a_dot(home: Path, monkeypatch: Patch, said: Said) -> None:
    code, lines, err = run(monkeypatch, said, "-H")
    assert (code, lines[-1], err) == (0, b".\n", b"")
    assert lines[0] == b"+:alias:7790:2108:%b:-::\n" % bytes(home / "alias")
    assert b"+joe-:joe:1001:100:/home/joe:-::\n" in lines


def test_qmail_newu_takes_what_it_makes(home: Path, monkeypatch: Patch, said: Said) -> None:
    _, lines, _ = run(monkeypatch, said, "-H/")
    (home / "users/assign").write_bytes(b"".join(lines))
    assert newu.main([]) == 0


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["-H", "-c", "+"], b"+joe+:joe:1001:100:/home/joe:-::\n"),
        (["-Hc+"], b"+joe+:joe:1001:100:/home/joe:-::\n"),
        (["-H/"], b"+joe-:joe:1001:100:/home/joe:-/::\n"),
        (["-HC", "-c-"], b"+joe-:joe:1001:100:/home/joe:-::\n"),
        (["-hHuU"], b"=joe:joe:1001:100:/home/joe:::\n"),
    ],
)
def test_options(home: Path, monkeypatch: Patch, said: Said, argv: list[str], line: bytes) -> None:
    code, lines, _ = run(monkeypatch, said, *argv)
    assert code == 0
    assert line in lines


def test_of_options_that_differ_the_last_counts(home: Path, monkeypatch: Patch, said: Said) -> None:
    _, lines, _ = run(monkeypatch, said, "-H", "-c+", "-C")
    assert not any(line.startswith(b"+joe") for line in lines)
    code, _, err = run(monkeypatch, said, "-Hh")
    assert code == 111
    assert b'the home "/home/joe" of "joe" is missing' in err


def test_control_break_is_the_default(home: Path, monkeypatch: Patch, said: Said) -> None:
    (home / "control/break").write_text("+\n")
    assert b"+joe+:joe:1001:100:/home/joe:-::\n" in run(monkeypatch, said, "-H")[1]
    assert b"+joe=:joe:1001:100:/home/joe:-::\n" in run(monkeypatch, said, "-H", "-c=")[1]


def test_the_files_of_users_have_their_say(home: Path, monkeypatch: Patch, said: Said) -> None:
    (home / "users/mailnames").write_text("joe:js\n")
    (home / "users/subusers").write_text("sales:joe:s:\n")
    (home / "users/append").write_text("+v-:v:5:5:/v:-::\n# as it is")
    _, lines, _ = run(monkeypatch, said, "-H")
    assert b"=js:joe:1001:100:/home/joe:::\n" in lines
    assert lines[-5:] == [
        b"=sales:joe:1001:100:/home/joe:-:s:\n",
        b"+sales-:joe:1001:100:/home/joe:-:s-:\n",
        b"+v-:v:5:5:/v:-::\n",
        b"# as it is\n",
        b".\n",
    ]
    (home / "users/include").write_text("alias\n")
    (home / "users/subusers").unlink()
    assert not any(b":joe:" in line for line in run(monkeypatch, said, "-H")[1])
    (home / "users/exclude").write_text("alias\n")
    assert run(monkeypatch, said, "-H")[0] == 111


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("users/mailnames", "joe\n", b"users/mailnames:1: "),
        ("users/subusers", "a:nobody:x:\n", b'users/subusers:1: "nobody"'),
        ("control/break", "no\n", b"control/break:1: "),
    ],
)
def test_trouble_is_exit_111_and_no_last_dot(
    home: Path, monkeypatch: Patch, said: Said, name: str, text: str, place: bytes
) -> None:
    (home / name).write_text(text)
    code, lines, err = run(monkeypatch, said, "-H")
    assert code == 111
    assert b".\n" not in lines
    assert err.startswith(b"qmail-pw2u: fatal: " + place)


def test_a_file_that_can_not_be_read_is_exit_111(
    home: Path, monkeypatch: Patch, said: Said
) -> None:
    (home / "users/include").mkdir()
    code, _, err = run(monkeypatch, said, "-H")
    assert code == 111
    assert b"users/include: Is a directory" in err


@pytest.mark.parametrize("argv", [["-x"], ["-c"], ["-c", "ab"], ["-H", "file"], ["--help"]])
def test_wrong_usage_is_exit_100(
    home: Path, monkeypatch: Patch, said: Said, argv: list[str]
) -> None:
    code, lines, err = run(monkeypatch, said, *argv)
    assert (code, lines) == (100, [])
    assert b"usage: qmail-pw2u" in err
