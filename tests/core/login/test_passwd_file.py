"""users/passwd as a whole: found, read again, edited."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.core.login.passwd_file import (
    PasswdFile,
    find_line,
    passwd_lines,
    with_line,
    with_secret,
    without_name,
    wrong_lines,
)
from qmail.core.login.passwd_line import PasswdLineError
from qmail.protocol.scram_keys import ITERATIONS, make_keys


def secret(iterations: int) -> bytes:
    return b"{SCRAM-SHA-256}" + make_keys(b"x", b"salt", iterations).text()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "users").mkdir()
    return tmp_path


def write(home: Path, data: bytes) -> None:
    new = home / "users/new"
    new.write_bytes(data)
    new.rename(home / "users/passwd")


def test_file_that_is_missing_knows_nobody_until_it_is_there(home: Path) -> None:
    file = PasswdFile(str(home))
    assert file.look(b"joe") is None
    assert file.usual_iterations == ITERATIONS
    write(home, b"joe:!\n")
    entry = file.look(b"joe")
    assert entry is not None
    assert entry.name == b"joe"
    (home / "users/passwd").unlink()
    assert file.look(b"joe") is None


def test_comments_empty_lines_and_line_ends(home: Path) -> None:
    write(home, b"#joe:!\n\n  \r\nann:!\r\nJoe:!:1:1::/a\njoe:!:2:2::/b")
    file = PasswdFile(str(home))
    assert file.look(b"ann") is not None
    entry = file.look(b"joe")
    assert entry is not None
    assert entry.uid == 1
    assert file.look(b"#joe") is None


def test_bad_line_is_an_error_for_its_name_alone(home: Path) -> None:
    write(home, b"ann:!\njoe:{X}y\n")
    file = PasswdFile(str(home))
    assert file.look(b"ann") is not None
    with pytest.raises(PasswdLineError, match="users/passwd:2: field 2"):
        file.look(b"joe")
    assert file.look(b"jane") is None


def test_file_that_can_t_be_read_is_an_error(home: Path) -> None:
    (home / "users/passwd").mkdir()
    with pytest.raises(OSError, match="not a file"):
        PasswdFile(str(home)).look(b"joe")


def test_usual_iterations_are_those_of_most_lines(home: Path) -> None:
    write(home, b"a:%b\nb:%b\nc:%b\n" % (secret(5000), secret(4096), secret(5000)))
    file = PasswdFile(str(home))
    file.look(b"a")
    assert file.usual_iterations == 5000


def test_many_threads_see_one_change(home: Path) -> None:
    file = PasswdFile(str(home))
    for turn in range(20):
        write(home, b"".join(b"u%d:!:%d:1::/h\n" % (n, turn + 1) for n in range(200)))
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda n: file.look(b"u%d" % n), range(200)))
        assert {entry and entry.uid for entry in found} == {turn + 1}


FILE = b"# who\njoe:old:1:2::/h:s:x=y\n\nann:!\nJOE:!\n"


def test_line_is_replaced_in_its_place_and_later_ones_go() -> None:
    assert with_line(FILE, b"joe", b"joe:new") == b"# who\njoe:new\n\nann:!\n"
    assert with_line(FILE, b"new", b"new:x") == FILE + b"new:x\n"
    assert with_line(b"", b"joe", b"joe:x") == b"joe:x\n"
    assert with_line(b"ann:!", b"joe", b"joe:x") == b"ann:!\njoe:x\n"


def test_name_is_removed_with_all_its_lines() -> None:
    assert without_name(FILE, b"joe") == b"# who\n\nann:!\n"
    assert without_name(FILE, b"jane") is None
    assert without_name(FILE, b"# who") is None


def test_line_of_a_name_and_its_secret() -> None:
    assert find_line(FILE, b"joe") == (2, b"joe:old:1:2::/h:s:x=y")
    assert find_line(FILE, b"jane") is None
    assert with_secret(b"joe:old:1:2::/h:s:x=y", b"new") == b"joe:new:1:2::/h:s:x=y"
    assert with_secret(b"joe:old", b"new") == b"joe:new"
    assert with_secret(b"joe", b"new") == b"joe:new"


def test_wrong_lines_are_listed_with_those_that_nobody_sees() -> None:
    weak, twice = wrong_lines(FILE)
    assert weak.startswith("users/passwd:2: field 2 (password): the hash is too weak: ")
    assert twice == "users/passwd:5: field 1 (name): line 2 has it already"
    assert wrong_lines(b"joe:!\n") == []


@given(st.lists(st.sampled_from([b"joe:!", b"JOE:x:1", b"ann:!", b"#joe:!", b"", b":", b"\xff:x"])))
def test_edits_touch_no_other_name(lines: list[bytes]) -> None:
    data = b"".join(line + b"\n" for line in lines)
    edited = with_line(data, b"joe", b"joe:new")
    assert find_line(edited, b"joe") is not None
    others = [line for line in lines if not line.lower().startswith(b"joe:")]
    assert [line for line in edited.split(b"\n")[:-1] if line != b"joe:new"] == others
    removed = without_name(edited, b"joe")
    assert removed is not None
    assert find_line(removed, b"joe") is None
    assert [line for _, line in passwd_lines(removed)] == [
        line for _, line in passwd_lines(b"\n".join(others))
    ]
