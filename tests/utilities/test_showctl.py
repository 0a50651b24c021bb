"""qmail-showctl tells every setting (spec/programs.md 4)."""

import os
from pathlib import Path

import pytest

from qmail.core.settings.controls import settings
from qmail.core.settings.programs import PROGRAM_CONTROLS
from qmail.utilities import newmrh, showctl


def blocks(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Run it; return its blocks by the name that each begins with."""
    assert showctl.main([]) == 0
    found = capsys.readouterr().out.split("\n\n")
    return {text.partition(":")[0]: text.rstrip("\n") for text in found}


def test_every_setting_of_every_program_has_a_block_in_order(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    owners = PROGRAM_CONTROLS.values()
    names = sorted({setting.name for owner in owners for setting in settings(owner)})
    assert list(blocks(capsys))[1:] == names


def test_a_file_shows_its_value_and_a_missing_one_its_default(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "control/databytes").write_text("5000\n")
    found = blocks(capsys)
    assert found["databytes"] == "databytes: Largest message; 0 is no limit. It is 5000 bytes."
    assert found["queuelifetime"].startswith("queuelifetime: (Default.) ")
    assert found["queuelifetime"].endswith("It is 604800 seconds.")


def test_a_default_of_me_says_where_it_comes_from(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert blocks(capsys)["helohost"].endswith("It is mx.example.org. This is control/me.")


def test_a_list_shows_each_entry(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "control/smtproutes").write_text("b.example:relay:2525\n:[2001:db8::1]\n")
    (home / "control/virtualdomains").write_text("a@v.example:joe\nw.example:\n")
    (home / "control/relayclients").write_text("10.0.0.0/8\n")
    found = blocks(capsys)
    assert found["smtproutes"].split("\n")[1:] == [
        "Entry: b.example:relay:2525.",
        "Entry: :[2001:db8::1]:25.",
    ]
    assert found["virtualdomains"].split("\n")[1:] == [
        "Entry: a@v.example:joe.",
        "Entry: w.example:.",
    ]
    assert found["relayclients"].split("\n")[1:] == ["Entry: 10.0.0.0/8."]


def test_the_greeting_is_shown_as_it_is_sent(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "control/smtpgreeting").write_text("mx.example.org no UCE\n")
    assert "220 mx.example.org no UCE." in blocks(capsys)["smtpgreeting"]


def test_a_bad_file_says_oops_and_the_rest_is_shown(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "control/databytes").write_text("much\n")
    (home / "control/queuelifetime").mkdir()
    found = blocks(capsys)
    assert found["databytes"].startswith("databytes: Oops! control/databytes:1:")
    assert found["queuelifetime"].startswith("queuelifetime: Oops! Trouble reading")
    assert "timeoutsmtpd" in found


def test_a_file_nobody_reads_is_unknown(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "control/zzz").write_text("x\n")
    assert blocks(capsys)["zzz"].startswith("zzz: unknown")


def test_the_heading_names_the_ids_in_the_classic_order(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    owner = os.stat(home / "queue")
    found = blocks(capsys)["qmail home"]
    assert f"user ids: {', '.join([str(owner.st_uid)] * 8)}." in found
    assert f"group ids: {owner.st_gid}, {owner.st_gid}." in found
    assert "subdirectory split: 23." in found
    assert "paternalism (in decimal): 2." in found


def test_bytes_that_do_not_print_are_shown_as_question_marks(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "control/smtpgreeting").write_bytes(b"a\xff\x1bb\n")
    assert "It is 220 a??b." in blocks(capsys)["smtpgreeting"]


def test_without_a_home_it_ends_with_111(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QMAIL_HOME", str(tmp_path / "none"))
    assert showctl.main([]) == 111
    assert "No such file" in capsys.readouterr().err


def test_the_split_of_a_queue_that_is_closed_is_what_the_control_file_says(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.rename(home / "queue/mess", home / "queue/elsewhere")
    assert "subdirectory split: 23." in blocks(capsys)["qmail home"]
    (home / "control/split").write_text("many\n")
    assert "subdirectory split: Oops! control/split:1: " in blocks(capsys)["qmail home"]


def test_what_the_original_was_compiled_with_comes_from_the_control_files(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "control/break").write_text("+\n")
    (home / "control/patrn").write_text("022\n")
    found = blocks(capsys)
    assert "user-ext delimiter: +.\npaternalism (in decimal): 18.\n" in next(iter(found.values()))
    assert found["break"].endswith("It is +.")
    assert found["patrn"].endswith("It is 022.")


def test_a_bad_break_or_patrn_is_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "control/patrn").write_text("write\n")
    found = blocks(capsys)
    assert "paternalism: Oops! control/patrn:1: " in next(iter(found.values()))
    assert found["patrn"].startswith("patrn: Oops! control/patrn:1: ")


def test_programs_4_morercpthosts_cdb_is_there_and_newer_or_not(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def last() -> str:
        return blocks(capsys)["morercpthosts"].split("\n")[-1]

    source = home / "control/morercpthosts"
    assert last().endswith("There is none.")
    source.write_text("b.example\n")
    assert last() == "Oops! morercpthosts.cdb is missing: run qmail-newmrh."
    assert newmrh.main([]) == 0
    assert last() == "morercpthosts.cdb is there and up to date."
    assert "Entry: b.example." in blocks(capsys)["morercpthosts"]
    os.utime(source, (2**31, 2**31))
    assert last() == "Oops! morercpthosts.cdb is older than morercpthosts: run qmail-newmrh."
    source.unlink()
    assert "its source is gone" in last()
    assert "unknown" not in blocks(capsys)
