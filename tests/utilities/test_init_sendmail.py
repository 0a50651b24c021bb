"""`qmail init --sendmail`: /etc/aliases and .forward files switched on with one option."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.programs.injection import Injection
from tests.utilities.conftest import make_ordinary_home

from qmail.core.cdb import Cdb
from qmail.edge.machine.home_maker import HomeError
from qmail.utilities import init
from qmail.utilities.init_sendmail import wrong_with

Make = Callable[..., list[str]]


@pytest.fixture
def aliases(open_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the alias file will be; newaliases is found."""
    programs = Injection(tmp_path).home / "bin"
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return open_folder / "aliases"


@pytest.fixture
def make(open_folder: Path, aliases: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    def run(*, sendmail: bool = True) -> list[str]:
        name = str(aliases) if sendmail else ""
        return make_ordinary_home(open_folder / "home", monkeypatch, sendmail=name)

    return run


def test_a_new_home_has_all_that_is_needed(open_folder: Path, aliases: Path, make: Make) -> None:
    aliases.write_text("joe: ann\n")
    said = make()
    home = open_folder / "home"
    assert (home / "alias/.qmail-default").read_text() == f"|fastforward -d {aliases}.cdb\n"
    delivery = (home / "control/defaultdelivery").read_text()
    assert delivery == "|dot-forward .forward\n./Maildir/\n"
    with Cdb(f"{aliases}.cdb") as table:
        assert dict(table.items()) == {b":joe@": b"&ann@mx.example.org\0"}
    for name in ("alias/.qmail-default", "control/defaultdelivery"):
        assert any(line.startswith(f"wrote {name}: ") for line in said)
    assert f"made {aliases}.cdb" in said


def test_again_changes_nothing_and_says_so(open_folder: Path, aliases: Path, make: Make) -> None:
    aliases.write_text("joe: ann\n")
    make()
    assert make()[0] == f"nothing to change in {open_folder}/home"


def test_what_the_administrator_wrote_stays_and_advice_is_given(
    open_folder: Path, aliases: Path, make: Make
) -> None:
    make(sendmail=False)
    home = open_folder / "home"
    (home / "alias/.qmail-default").write_text("joe\n")
    (home / "control/defaultdelivery").write_text("./Mailbox\n")
    said = make()
    assert (home / "alias/.qmail-default").read_text() == "joe\n"
    assert (home / "control/defaultdelivery").read_text() == "./Mailbox\n"
    advice = [line for line in said if line.startswith("note: ") and " stays as it is: " in line]
    assert [line.split()[1] for line in advice] == [
        "control/defaultdelivery", "alias/.qmail-default",
    ]  # fmt: skip
    assert f"'|fastforward -pd {aliases}.cdb' as its first line" in advice[1]


def test_a_link_in_place_of_a_file_stays_too(open_folder: Path, aliases: Path, make: Make) -> None:
    make(sendmail=False)
    link = open_folder / "home/alias/.qmail-default"
    link.symlink_to("list")
    assert any("alias/.qmail-default stays as it is" in line for line in make())
    assert link.is_symlink()
    assert aliases.exists()


def test_without_an_alias_file_one_without_entries_is_made(aliases: Path, make: Make) -> None:
    said = make()
    assert f"wrote {aliases}, with no entries" in said
    assert aliases.read_text().startswith("# NAME: ADDRESS")
    with Cdb(f"{aliases}.cdb") as table:
        assert list(table.items()) == []


def test_the_table_is_made_anew_where_the_file_is_newer(aliases: Path, make: Make) -> None:
    make()
    aliases.write_text("joe: ann\n")
    # Both may have been written within one tick of the clock.
    os.utime(f"{aliases}.cdb", (1, 1))
    assert f"made {aliases}.cdb" in make()


def test_a_bad_line_stops_it_before_mail_for_the_rest_is_taken(
    open_folder: Path, aliases: Path, make: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    aliases.write_text("joe: /var/mail/joe\n")
    with pytest.raises(HomeError, match=f"no {aliases}.cdb: mend what newaliases says"):
        make()
    assert f"{aliases}:1: file delivery" in capfd.readouterr().err
    assert not (open_folder / "home/alias/.qmail-default").exists()


def test_first_aliases_are_made_for_names_that_have_no_entry(
    open_folder: Path, aliases: Path, make: Make
) -> None:
    aliases.write_text("Root: joe\npostmaster: root\n")
    make()
    files = open_folder / "home/alias"
    assert {path.name for path in files.glob(".qmail-*")} == {
        ".qmail-default", ".qmail-mailer-daemon",
    }  # fmt: skip
    # Later runs do not bring them back, with the option or without.
    make(sendmail=False)
    make()
    assert not (files / ".qmail-root").exists()


def test_files_that_come_before_an_entry_are_told_of(aliases: Path, make: Make) -> None:
    make(sendmail=False)
    aliases.write_text("root: joe\n")
    said = make()
    assert (
        f"note: alias/.qmail-root comes before the entry root of {aliases}:"
        " remove that file to have the entry count"
    ) in said
    assert not any("postmaster" in line and line.startswith("note") for line in said)


@pytest.mark.parametrize("name", ["aliases", "/etc/my aliases", "/etc/$(x)", "/a;b"])
def test_a_name_that_the_shell_would_change_is_wrong_usage(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wrong_with(name)
    with pytest.raises(SystemExit):
        init.main(["--sendmail", name])
    assert "--sendmail: " in capsys.readouterr().err


def test_the_default_is_the_file_that_everybody_knows() -> None:
    assert wrong_with("/etc/aliases") == ""
    assert init._parse(["--sendmail"]).sendmail == "/etc/aliases"
    assert init._parse([]).sendmail == ""
