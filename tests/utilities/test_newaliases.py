"""newaliases (spec/companion.md 2.3)."""

import os
from pathlib import Path

import pytest
from tests.programs.injection import Ended
from tests.utilities.line_tools import Line

from qmail.core.cdb import Cdb

MODERN = """\
# /etc/aliases, as packages leave it: fast überall
mailer-daemon: postmaster
Postmaster:    root
nobody: root
root: \\joe,
    # a copy for the pager
    ann@far.ex

tickets: "|/usr/bin/rt --queue 'General, Other'"
backup: |"/usr/bin/tar xf -"
joe.doe: joe
owner-all: joe
all: "Doe, Joe" <joe@far.ex>, ann
"""


def aliases(line: Line, text: str, *options: str) -> Ended:
    (line.home / "aliases").write_text(text)
    return line.run(["newaliases", *options, str(line.home / "aliases")])


def table(line: Line) -> dict[bytes, bytes]:
    with Cdb(str(line.home / "aliases.cdb")) as found:
        return dict(found.items())


def test_a_modern_alias_file_becomes_a_table(line: Line) -> None:
    ended = aliases(line, MODERN)
    assert ended == (0, b"", b"")
    assert table(line) == {
        b":mailer-daemon@": b"&postmaster@dh.ex\0",
        b":postmaster@": b"&root@dh.ex\0",
        b":nobody@": b"&root@dh.ex\0",
        b":root@": b"&ann@far.ex\0&joe@dh.ex\0",
        b":tickets@": b"!/usr/bin/rt --queue 'General, Other'\0",
        b":backup@": b"!/usr/bin/tar xf -\0",
        b":joe.doe@": b"&joe@dh.ex\0",
        b"?all@": b"owner-all@dh.ex",
        b":owner-all@": b"&joe@dh.ex\0",
        b":all@": b"&ann@dh.ex\0&joe@far.ex\0",
    }


def test_the_table_is_for_everybody_to_read_and_nothing_else_is_left(line: Line) -> None:
    before = os.umask(0o077)
    try:
        assert aliases(line, MODERN).code == 0
    finally:
        os.umask(before)
    assert (line.home / "aliases.cdb").stat().st_mode & 0o777 == 0o644
    assert not (line.home / "aliases.tmp").exists()


def test_the_caller_does_not_choose_the_hosts(line: Line) -> None:
    line.environ["QMAILDEFAULTHOST"] = "other.ex"
    assert aliases(line, "a: b\n").code == 0
    assert table(line)[b":a@"] == b"&b@dh.ex\0"


def test_bad_lines_are_told_with_their_numbers_and_the_old_table_stays(line: Line) -> None:
    assert aliases(line, "a: b\n").code == 0
    ended = aliases(line, "a: c\n\nnull: /dev/null\nx\n")
    file = line.home / "aliases"
    start = f"newaliases: fatal: {file}"
    assert ended.code == 111
    assert ended.err.decode().split("\n") == [
        f'{start}:3: file delivery /dev/null is not supported: to throw mail away write "|exit 0"',
        f"{start}:4: no colon: an alias is written NAME: ADDRESS, ADDRESS ...",
        f"newaliases: {file}.cdb stays as it was",
        "",
    ]
    assert table(line)[b":a@"] == b"&b@dh.ex\0"


def test_an_address_that_is_too_long_ends_with_100(line: Line) -> None:
    ended = aliases(line, f"a: {'b' * 900}\n")
    assert ended.code == 100
    assert b"aliases:1: an address is longer than 800 bytes" in ended.err
    assert aliases(line, f"a: {'b' * 900}\nx\n").code == 111


def test_of_many_bad_lines_the_rest_is_counted(line: Line) -> None:
    ended = aliases(line, "x\n" * 60)
    assert ended.err.count(b"no colon") == 50
    assert b"aliases: 10 more lines like these\n" in ended.err


def test_warnings_do_not_stop_it(line: Line) -> None:
    ended = aliases(line, "a: b\na: c\n#d: e,\n  f\n")
    file = line.home / "aliases"
    assert ended.code == 0
    assert ended.err.decode().split("\n") == [
        f"newaliases: warning: {file}:2: a is defined in line 1, and that one counts",
        f"newaliases: warning: {file}:4: this line continues a comment, so it is one too",
        "",
    ]
    assert table(line) == {b":a@": b"&b@dh.ex\0"}


def test_a_file_that_is_not_there_is_told(line: Line) -> None:
    ended = line.run(["newaliases", str(line.home / "none")])
    assert ended.code == 111
    assert ended.err == f"newaliases: fatal: {line.home}/none: no such file or directory\n".encode()


def test_a_bad_control_file_is_told(line: Line) -> None:
    (line.home / "control/plusdomain").write_text("a b\n")
    ended = aliases(line, "a: b\n")
    assert (ended.code, b"control/plusdomain:1: " in ended.err) == (111, True)


@pytest.mark.parametrize("argv", [["a", "b"], [""], ["-x"], ["--help"], ["-h"]])
def test_wrong_usage_ends_with_100(line: Line, argv: list[str]) -> None:
    ended = line.run(["newaliases", *argv])
    assert ended.code == 100
    assert ended.err.endswith(b"newaliases: usage: newaliases [ file ]\n")


def test_option_v_is_taken_as_sendmail_takes_it(line: Line) -> None:
    assert aliases(line, "a: b\n", "-v") == (0, b"", b"")


# --- :include: files ----------------------------------------------------------------------------


def store(line: Line, folder: Path, text: str = "ann\nbob@x\n") -> Ended:
    (folder / "all").write_text(text)
    return aliases(line, f"# x\nall: :include:{folder}/all\n")


def test_a_list_in_a_folder_of_ours_is_stored_on_the_way(line: Line, own_folder: Path) -> None:
    ended = store(line, own_folder)
    assert (ended.code, ended.err) == (0, f"newaliases: stored {own_folder}/all.bin\n".encode())
    assert (own_folder / "all.bin").read_bytes() == b"&ann@dh.ex\0&bob@x.dh.ex\0"
    # Once it is, nothing is said; a newer list is stored anew.
    assert aliases(line, f"all: :include:{own_folder}/all\n") == (0, b"", b"")
    (own_folder / "all").write_text("carl@x.y\n")
    os.utime(own_folder / "all", ns=(2**62, 2**62))
    assert aliases(line, f"all: :include:{own_folder}/all\n").code == 0
    assert (own_folder / "all.bin").read_bytes() == b"&carl@x.y\0"


def test_a_bad_line_of_a_list_is_told_and_no_table_made(line: Line, own_folder: Path) -> None:
    ended = store(line, own_folder, "ann\n|prog\n")
    assert ended.code == 111
    assert f"fatal: {own_folder}/all:2: program deliveries are not supp".encode() in ended.err
    assert f"aliases:2: :include:{own_folder}/all is not stored".encode() in ended.err
    assert not (line.home / "aliases.cdb").exists()
    assert not (own_folder / "all.bin").exists()


def test_a_link_in_place_of_a_list_is_not_followed(line: Line, own_folder: Path) -> None:
    (own_folder / "secret").write_text("root\n")
    (own_folder / "all").symlink_to("secret")
    ended = aliases(line, f"all: :include:{own_folder}/all\n")
    assert ended.code == 111
    assert sorted(os.listdir(own_folder)) == ["all", "secret"]


@pytest.mark.parametrize("mode", [0o775, 0o777])
def test_where_others_may_write_it_says_who_has_to_store_the_list(
    line: Line, own_folder: Path, mode: int
) -> None:
    own_folder.chmod(mode)
    ended = store(line, own_folder)
    assert ended.code == 0
    assert f"aliases:2: :include:{own_folder}/all: not stored, for {own_folder} is".encode() in (
        ended.err
    )
    assert f"run 'newinclude {own_folder}/all' as ".encode() in ended.err
    assert os.listdir(own_folder) == ["all"]
    assert table(line)[b":all@"] == f"{own_folder}/all.bin".encode() + b"\0"


def test_a_list_that_is_not_there_is_warned_of(line: Line) -> None:
    ended = aliases(line, "all: :include:none/all\n")
    assert ended.code == 0
    assert b"aliases:1: :include:none/all: no such file or directory" in ended.err
    assert table(line)[b":all@"] == b"./none/all.bin\0"


def test_a_stored_list_without_its_text_is_fine(line: Line) -> None:
    (line.home / "alias").mkdir()
    (line.home / "alias/all.bin").write_bytes(b"&a@x\0")
    assert aliases(line, "all: :include:all\n") == (0, b"", b"")
