"""What `qmail explain` says of fastforward and dot-forward (spec/companion.md 1 and 2)."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from qmail.core.aliases.source import read_aliases
from qmail.core.cdb import write_cdb
from qmail.core.explain.aliases import STEPS_SHOWN_MAX
from qmail.core.explain.command import tell_command
from qmail.core.explain.tools import Command
from qmail.core.inject.rewriting import Hosts, Rewriter
from qmail.protocol.exits import Exit

HOST: Final = b"here.example"
CONTROLS: Final = {"me": b"here.example\n", "defaulthost": b"here.example\n"}
REWRITER: Final = Rewriter(Hosts(HOST, HOST, HOST, HOST))
SENDER: Final = b"someone@far.example"
ALIASES: Final = b"""\
# Sendmail's customs
root: joe
postmaster: root, ann@far.example
list: "|archive", bob@far.example
owner-list: joe
"""
Tell = Callable[..., Command]


@pytest.fixture
def tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tell:
    """Says what a line would do, with the home as its working folder."""
    monkeypatch.chdir(tmp_path)

    def begin(line: bytes, **variables: bytes) -> Command:
        environ = {
            b"RECIPIENT": b"list@here.example",
            b"EXT": b"list",
            b"HOST": HOST,
            b"USER": b"joe",
            b"SENDER": SENDER,
            b"NEWSENDER": SENDER,
        } | {name.encode(): value for name, value in variables.items()}
        found = tell_command(line, environ, CONTROLS.get)
        assert found is not None
        return found

    return begin


@pytest.fixture
def aliases(tmp_path: Path) -> Path:
    """An alias file and its table."""
    return store(tmp_path / "aliases", ALIASES)


def store(path: Path, text: bytes) -> Path:
    """Write an alias file, and make its table as newaliases does."""
    path.write_bytes(text)
    table = read_aliases(text, REWRITER)
    assert table.problems == ()
    write_cdb(f"{path}.cdb", f"{path}.tmp", table.records)
    return path


def said(command: Command, folder: Path) -> list[str]:
    return [
        " | ".join(filter(None, (step.where.replace(f"{folder}/", ""), step.text)))
        for step in command.steps
    ]


def test_companion_2_each_record_comes_with_its_line(
    tell: Tell, aliases: Path, tmp_path: Path
) -> None:
    found = tell(b"fastforward aliases.cdb", RECIPIENT=b"postmaster@here.example")
    assert said(found, tmp_path) == [
        "aliases:3 | fastforward: postmaster@here.example is in the table",
        "aliases:3 | fastforward: sends it to root@here.example",
        "aliases:3 | fastforward: sends it to ann@far.example",
    ]
    assert sorted(found.onward) == [
        (SENDER, b"ann@far.example"),
        (SENDER, b"root@here.example"),
    ]
    assert found.exit is Exit.OK


def test_companion_2_programs_and_the_owner_of_a_list(
    tell: Tell, aliases: Path, tmp_path: Path
) -> None:
    found = tell(b"fastforward aliases.cdb")
    assert said(found, tmp_path) == [
        "aliases:5 | fastforward: bounces go to owner-list@here.example",
        "aliases:4 | fastforward: list@here.example is in the table",
        "aliases:4 | fastforward: runs a program: archive",
        "aliases:4 | fastforward: sends it to bob@far.example",
    ]
    assert found.onward == [(b"owner-list@here.example", b"bob@far.example")]


def test_companion_2_an_included_list_is_named(tell: Tell, tmp_path: Path) -> None:
    people = tmp_path / "people"
    people.write_bytes(b"bob@far.example\ncarol@far.example\n")
    store(tmp_path / "aliases", f"all: :include:{people}\n".encode())
    stored = tmp_path / "people.bin"
    stored.write_bytes(b"&bob@far.example\0&carol@far.example\0")
    stored.chmod(0o644)
    found = tell(b"fastforward aliases.cdb", RECIPIENT=b"all@here.example")
    assert said(found, tmp_path)[1:] == [
        f"aliases:1 | fastforward: takes the addresses of {stored}",
        "people.bin | fastforward: sends it to carol@far.example",
        "people.bin | fastforward: sends it to bob@far.example",
    ]


def test_companion_2_an_unknown_recipient_bounces_or_is_left_to_the_next_line(
    tell: Tell, aliases: Path, tmp_path: Path
) -> None:
    found = tell(b"fastforward aliases.cdb", RECIPIENT=b"x@here.example")
    assert said(found, tmp_path)[-1] == "fastforward: it bounces (#5.1.1)"
    assert found.exit is Exit.PERMANENT
    found = tell(b"fastforward -p aliases.cdb", RECIPIENT=b"x@here.example")
    assert said(found, tmp_path)[-1] == "fastforward -p: the next line has it"
    assert found.exit is Exit.OK


def test_companion_2_the_options_count(tell: Tell, aliases: Path, tmp_path: Path) -> None:
    found = tell(b"fastforward -pd aliases.cdb", DEFAULT=b"root")
    assert found.exit is Exit.STOP
    assert found.onward == [(SENDER, b"joe@here.example")]
    found = tell(b"fastforward -n aliases.cdb")
    assert found.onward == []
    assert said(found, tmp_path)[-1] == "fastforward -n: only says so, and does nothing"


def test_companion_2_a_table_that_cannot_be_used_puts_off(tell: Tell, tmp_path: Path) -> None:
    assert tell(b"fastforward none.cdb").exit is Exit.TEMPORARY
    (tmp_path / "bad.cdb").write_bytes(b"x")
    found = tell(b"fastforward bad.cdb")
    assert found.exit is Exit.TEMPORARY
    assert "bad.cdb: too short for a cdb file" in said(found, tmp_path)[0]


def test_companion_2_wrong_usage_bounces(tell: Tell) -> None:
    assert tell(b"fastforward -z aliases.cdb").exit is Exit.PERMANENT
    assert tell(b"fastforward a b").exit is Exit.PERMANENT


def test_a_table_of_something_else_has_no_lines(tell: Tell, tmp_path: Path) -> None:
    write_cdb("table", "table.tmp", [(b":list@", b"&bob@far.example\0")])
    found = tell(b"fastforward table")
    assert said(found, tmp_path)[0] == "table | fastforward: list@here.example is in the table"


def test_of_a_long_list_some_are_shown_and_all_are_followed(tell: Tell, tmp_path: Path) -> None:
    many = b", ".join(b"u%d@far.example" % number for number in range(500))
    store(tmp_path / "aliases", b"list: " + many + b"\n")
    found = tell(b"fastforward aliases.cdb")
    assert len(found.onward) == 500
    assert said(found, tmp_path)[-1] == f"{501 - STEPS_SHOWN_MAX} more"


# --- dot-forward --------------------------------------------------------------------------------


def test_companion_1_every_word_with_its_line(tell: Tell, tmp_path: Path) -> None:
    (tmp_path / ".forward").write_bytes(b'# out\n\\joe, bob@far.example\n"|vacation joe"\n')
    found = tell(b"dot-forward .forward")
    assert said(found, tmp_path) == [
        ".forward:2 | dot-forward: sends it to bob@far.example",
        ".forward:2 | dot-forward: keeps it for joe",
        ".forward:3 | dot-forward: runs a program: vacation joe",
        "dot-forward: and the next line has it too",
    ]
    assert found.onward == [(SENDER, b"bob@far.example")]
    assert found.exit is Exit.OK


def test_companion_1_without_oneself_the_next_lines_are_skipped(tell: Tell, tmp_path: Path) -> None:
    (tmp_path / ".forward").write_bytes(b"bob@far.example\n")
    found = tell(b"dot-forward .none .forward")
    assert found.exit is Exit.STOP
    assert said(found, tmp_path)[-1] == "dot-forward: nothing that follows is done"
    assert tell(b"dot-forward -n .forward").onward == []


def test_companion_1_files_that_say_nothing(tell: Tell, tmp_path: Path) -> None:
    (tmp_path / ".forward").write_bytes(b"# nothing\n")
    assert said(tell(b"dot-forward .forward"), tmp_path) == [
        ".forward | dot-forward: says nothing",
        "dot-forward: no file says anything: the next line has it",
    ]


@pytest.mark.parametrize(
    ("text", "mode", "wrong"),
    [
        (b"/var/mail/joe\n", 0o600, ".forward:1: "),
        (b"bob@far.example\n", 0o602, "others may write to .forward"),
    ],
)
def test_companion_1_a_file_that_cannot_be_used_puts_off(
    tell: Tell, tmp_path: Path, *, text: bytes, mode: int, wrong: str
) -> None:
    (tmp_path / ".forward").write_bytes(text)
    (tmp_path / ".forward").chmod(mode)
    found = tell(b"dot-forward .forward")
    assert found.exit is Exit.TEMPORARY
    assert wrong in said(found, tmp_path)[0]


def test_companion_1_wrong_usage_bounces(tell: Tell) -> None:
    assert tell(b"dot-forward -z .forward").exit is Exit.PERMANENT
