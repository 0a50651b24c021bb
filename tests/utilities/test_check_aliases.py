"""`qmail check` on the alias table that alias/.qmail-default asks."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from qmail.core.cdb import write_cdb
from qmail.edge.machine.accounts import accounts_of
from qmail.edge.machine.passwd import Machine
from qmail.protocol.local_door import Owner
from qmail.utilities import check_aliases as module
from qmail.utilities.check_aliases import check_aliases
from qmail.utilities.check_controls import check_controls
from qmail.utilities.check_report import Report

Check = Callable[[], Report]
OLD = (1, 1)


@pytest.fixture
def check(home: Path) -> Check:
    def run() -> Report:
        report = Report()
        check_aliases(report, str(home), accounts_of(str(home)))
        return report

    return run


@pytest.fixture
def aliases(home: Path) -> Path:
    """An alias file with its table, which alias/.qmail-default asks."""
    path = home / "aliases"
    path.write_text("joe: ann\n")
    (home / "alias/.qmail-default").write_text(f"|fastforward -d {path}.cdb\n")
    fill(path, [(b":joe@", b"&ann@x\0")])
    return path


def fill(path: Path, records: list[tuple[bytes, bytes]]) -> None:
    write_cdb(f"{path}.cdb", f"{path}.tmp", records)


def test_without_a_table_there_is_nothing_to_say(home: Path, check: Check) -> None:
    assert check() == Report()
    (home / "alias/.qmail-default").write_text("joe\n|other -d x.cdb\n|fastforward -z\n")
    assert check() == Report()


def test_a_table_that_is_new_is_fine(aliases: Path, check: Check) -> None:
    assert check() == Report(good=["the alias table"])


def test_a_table_that_is_missing_is_an_error(aliases: Path, check: Check) -> None:
    os.unlink(f"{aliases}.cdb")
    [finding] = check().findings
    assert finding.startswith(f"error: {aliases}.cdb is missing, and alias/.qmail-default asks it")
    assert finding.endswith(f"run 'newaliases {aliases}'")


def test_a_table_that_is_old_is_a_warning(aliases: Path, check: Check) -> None:
    os.utime(f"{aliases}.cdb", OLD)
    [finding] = check().findings
    assert finding.startswith(f"warning: {aliases}.cdb is older than {aliases}: run 'newaliases ")


def test_a_table_that_is_damaged_is_an_error(aliases: Path, check: Check) -> None:
    Path(f"{aliases}.cdb").write_bytes(b"x" * 3000)
    [finding] = check().findings
    assert finding.startswith(f"error: {aliases}.cdb: ")
    assert "damaged" in finding


def test_a_table_that_is_closed_is_an_error(aliases: Path, check: Check) -> None:
    os.chmod(f"{aliases}.cdb", 0o600)
    [finding] = check().findings
    assert finding == (
        f"error: {aliases}.cdb is not for everybody to read: run 'chmod a+r {aliases}.cdb'"
    )


def test_lists_are_looked_at_too(home: Path, aliases: Path, check: Check) -> None:
    for name in ("fresh", "old", "closed", "none"):
        (home / name).write_text("ann\n")
    for name in ("fresh", "old", "closed", "alias/alone"):
        (home / f"{name}.bin").write_bytes(b"&ann@x\0")
    os.utime(home / "old.bin", OLD)
    os.chmod(home / "closed.bin", 0o640)
    names = [f"{home}/{name}.bin" for name in ("fresh", "old", "closed", "none")]
    data = "".join(f"{name}\0" for name in (*names, "./alone.bin")).encode()
    fill(aliases, [(b":staff@", data), (b"?staff@", b"/no/list\0")])
    assert check().findings == [
        f"error: {home}/closed.bin is not for everybody to read: run 'chmod a+r {home}/closed.bin'",
        (
            f"error: {home}/none.bin is missing: mail for that list waits:"
            f" run 'newinclude {home}/none'"
        ),
        f"warning: {home}/old.bin is older than {home}/old: run 'newinclude {home}/old'",
    ]


def test_entries_that_a_file_comes_before_are_told(home: Path, aliases: Path, check: Check) -> None:
    (home / "alias/.qmail-joe:doe").write_text("")
    fill(aliases, [(b":root@", b"&a@x\0"), (b":joe.doe@", b"&a@x\0"), (b":a/b@", b"&a@x\0")])
    report = check()
    assert report.findings == []
    assert report.notes == [
        f"note: the entry root of {aliases} does not count: {home}/alias/.qmail-root comes first",
        (
            f"note: the entry joe.doe of {aliases} does not count:"
            f" {home}/alias/.qmail-joe:doe comes first"
        ),
    ]


def test_entries_of_accounts_are_told_and_many_are_counted(
    home: Path, aliases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def account(_self: Machine, name: bytes) -> Owner | None:
        return None if name == b"free" else Owner(name, 1000, 1000, b"/", b"", b"")

    monkeypatch.setattr(Machine, "account", account)
    monkeypatch.setattr(Machine, "folder_owner", lambda _self, _path: 1000)
    separate = replace(accounts_of(str(home)), separate=True)
    names = [b"free", *(b"u%d" % number for number in range(8))]
    fill(aliases, [(b":" + name + b"@", b"&a@x\0") for name in names])
    report = Report()
    check_aliases(report, str(home), separate)
    assert report.notes[0] == (
        f"note: the entry u0 of {aliases} does not count:"
        " the account u0 has that name, and its own files decide"
    )
    assert len(report.notes) == module.SHOWN_MAX + 1
    assert report.notes[-1].startswith("note: 3 more such entries")


def test_a_default_delivery_that_says_nothing_is_an_error(home: Path) -> None:
    (home / "control/defaultdelivery").write_text("# later\n")
    report = Report()
    check_controls(report, str(home), accounts_of(str(home)))
    assert any("control/defaultdelivery says nothing" in finding for finding in report.findings)
