"""What a table of names says of a recipient whose .qmail-default asks nothing else."""

from pathlib import Path

import pytest

from qmail.core.cdb import write_cdb
from qmail.core.local.dotqmail import parse
from qmail.core.local.home_files import StoppedError
from qmail.core.local.plan import Plan
from qmail.core.local.table_answer import ask_table
from qmail.protocol.exits import Exit
from qmail.protocol.local_door import Target


@pytest.fixture
def home(tmp_path: Path) -> Path:
    records = [(b":joe@", b"&a@x\0"), (b":ann@h.ex", b"&a@x\0"), (b":@v.ex", b"&a@x\0")]
    write_cdb(str(tmp_path / "t.cdb"), str(tmp_path / "t"), [*records, (b"?own@", b"o@x")])
    return tmp_path


def ask(
    home: Path, text: str, local: str, *, domain: str = "h.ex", default: str | None = None
) -> Exit:
    name = local if default is None else default
    target = Target(b"alias", bytes(home), local.encode(), b"-", local.encode(), domain.encode())
    plan = Plan(parse(text.format(home=home).encode(), forward_only=False), name.encode())
    try:
        ask_table(plan, target)
    except StoppedError as stopped:
        is_unknown = b"(#5.1.1)" in stopped.text
        return stopped.code if is_unknown is (stopped.code is Exit.PERMANENT) else Exit.STOP
    return Exit.OK


LINE = "|fastforward -d {home}/t.cdb\n"


@pytest.mark.parametrize(
    ("local", "domain", "is_there"),
    [
        ("joe", "any.ex", True),
        ("JOE", "h.ex", True),
        ("Ann", "H.EX", True),
        ("ann", "any.ex", False),
        ("nobody", "h.ex", False),
        ("nobody", "v.ex", True),
        ("own", "h.ex", False),
        ("joe-x", "h.ex", False),
    ],
)
def test_the_names_of_the_table_exist_and_no_others(
    home: Path, local: str, domain: str, *, is_there: bool
) -> None:
    found = ask(home, LINE, local, domain=domain)
    assert found is (Exit.OK if is_there else Exit.PERMANENT)


def test_the_name_is_what_fastforward_looks_up(home: Path) -> None:
    assert ask(home, LINE, "prefix-joe", default="joe") is Exit.OK
    assert ask(home, "|fastforward {home}/t.cdb\n", "joe", default="x") is Exit.OK
    assert ask(home, "|fastforward -dD {home}/t.cdb\n", "x-joe", default="joe") is Exit.PERMANENT


@pytest.mark.parametrize(
    "text",
    [
        LINE,
        "# the aliases\n\n|fastforward -d {home}/t.cdb\n# that is all\n",
        "|/usr/bin/fastforward -d {home}/t.cdb",
        "|fastforward -d t.cdb",
        "| fastforward -N -P -d '{home}/t.cdb'",
    ],
)
def test_a_line_that_asks_the_table_is_known_however_it_is_written(home: Path, text: str) -> None:
    if text.startswith("#"):
        text = text.replace("\n\n", "\n")
    assert ask(home, text, "joe") is Exit.OK
    assert ask(home, text, "nobody") is Exit.PERMANENT


@pytest.mark.parametrize(
    "text",
    [
        "|fastforward -pd {home}/t.cdb\n",
        "|fastforward -pd {home}/t.cdb\n./Maildir/\n",
        "|fastforward -d {home}/t.cdb\n./Maildir/\n",
        "|fastforward -nd {home}/t.cdb\n",
        "|fastforward -d {home}/t.cdb || exit 0\n",
        "|fastforward -d $TABLE\n",
        "|fastforward -x {home}/t.cdb\n",
        "|fastforward\n",
        "|fastforward -d {home}/t.cdb {home}/u.cdb\n",
        "|slowforward -d {home}/t.cdb\n",
        "./Maildir/\n",
        "joe\n",
        "",
    ],
)
def test_what_may_do_something_else_with_a_name_counts_as_yes(home: Path, text: str) -> None:
    assert ask(home, text, "nobody") is Exit.OK


def test_a_file_for_one_name_counts_as_yes(home: Path) -> None:
    target = Target(b"alias", bytes(home), b"nobody", b"-", b"nobody", b"h.ex")
    ask_table(Plan(parse(LINE.format(home=home).encode(), forward_only=False), None), target)


def test_a_table_that_can_not_be_read_tells_nothing(home: Path) -> None:
    assert ask(home, "|fastforward -d {home}/none.cdb\n", "joe") is Exit.TEMPORARY
    (home / "t.cdb").write_bytes(b"x" * 3000)
    assert ask(home, LINE, "joe") is Exit.TEMPORARY
