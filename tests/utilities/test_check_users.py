"""What `qmail check` says of users/ and of domains, each with what to do."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from qmail.core.cdb import write_cdb
from qmail.edge.machine.accounts import MissingAccountError, accounts_of, separate_accounts
from qmail.utilities import newmrh, newu
from qmail.utilities.check_domains import check_domains
from qmail.utilities.check_report import Report
from qmail.utilities.check_users import SHOWN_MAX, check_users

LATER = 2**31


@pytest.fixture
def me(home: Path) -> tuple[int, int]:
    """The account that runs the home."""
    sole = accounts_of(str(home)).sole
    assert sole is not None
    return sole


@pytest.fixture
def found(home: Path) -> Callable[[], list[str]]:
    """Run both checks; return all that they found, notes too."""

    def run() -> list[str]:
        report = Report()
        accounts = accounts_of(str(home))
        check_users(report, str(home), accounts)
        check_domains(report, str(home), accounts)
        return [*report.findings, *report.notes]

    return run


Found = Callable[[], list[str]]


def assign(home: Path, *lines: str) -> None:
    (home / "users/assign").write_text("".join(f"{line}\n" for line in (*lines, ".")))


def line(address: str, me: tuple[int, int]) -> str:
    return f"{address}:u:{me[0]}:{me[1]}:/u:-::"


# --- users --------------------------------------------------------------------------------------


def test_a_home_without_users_and_virtual_domains_has_nothing_to_say(found: Found) -> None:
    assert found() == []


def test_users_cdb_that_is_up_to_date_is_in_order(
    home: Path, me: tuple[int, int], found: Found
) -> None:
    assign(home, line("=joe", me), line("+joe-", me))
    assert newu.main([]) == 0
    assert found() == []


def test_users_assign_that_was_never_made_into_a_cdb(
    home: Path, me: tuple[int, int], found: Found
) -> None:
    assign(home, line("=joe", me))
    assert found() == ["warning: users/assign counts for nothing yet: run qmail-newu"]


def test_users_cdb_older_than_users_assign(home: Path, me: tuple[int, int], found: Found) -> None:
    assign(home, line("=joe", me))
    assert newu.main([]) == 0
    os.utime(home / "users/assign", (LATER, LATER))
    assert found() == ["warning: users/cdb is older than users/assign: run qmail-newu"]


def test_users_cdb_without_its_source(home: Path, me: tuple[int, int], found: Found) -> None:
    assign(home, line("=joe", me))
    assert newu.main([]) == 0
    (home / "users/assign").unlink()
    assert found() == ["note: users/cdb counts, its source users/assign is gone"]


def test_a_line_of_users_assign_that_stops_qmail_newu(home: Path, found: Found) -> None:
    assign(home, "=joe:joe:1:1:/joe::")
    text = found()[0]
    assert text.startswith("error: users/assign:1: ")
    assert text.endswith("mend it, then run qmail-newu")


def test_lines_that_do_not_do_what_they_seem_to_say(
    home: Path, me: tuple[int, int], found: Found
) -> None:
    other = me[0] + 1, me[1]
    assign(
        home,
        line("=joe", me),
        line("+JoE", me),
        line("=JOE", me),
        line("=ann", (0, 0)),
        line("=bob", other),
    )
    assert newu.main([]) == 0
    says = [
        "2: +joe ends in an upper-case letter: no address is ever found by it",
        "3: =joe is there before: the first of equal lines counts",
        "4: =ann belongs to root: its mail waits and is never delivered",
        "5: =bob names another account than the one that runs this home: it does not count",
    ]
    assert found() == [f"warning: users/assign:{what}" for what in says]


def test_of_many_lines_with_the_same_fault_some_are_named(
    home: Path, me: tuple[int, int], found: Found
) -> None:
    assign(home, *(line("=joe", me) for _ in range(SHOWN_MAX + 4)))
    assert newu.main([]) == 0
    assert len(found()) == SHOWN_MAX + 1
    assert found()[-1] == "warning: users/assign: 3 more such lines"


@pytest.mark.parametrize(
    ("records", "what"),
    [
        ([(b"!joe\0", b"joe"), (b"", b"")], "=joe is a wrong record: 1 fields"),
        ([(b"!joe\0", b"u\x001\x001\0/u\0\0")], "was not made by qmail-newu"),
    ],
)
def test_a_users_cdb_that_qmail_newu_did_not_make(
    home: Path, found: Found, records: list[tuple[bytes, bytes]], what: str
) -> None:
    write_cdb(str(home / "users/cdb"), str(home / "users/tmp"), records)
    text, *more = found()
    assert text.startswith("error: ")
    assert what in text
    assert more == ["note: users/cdb counts, its source users/assign is gone"]
    assert text.endswith("run qmail-newu")


def test_a_damaged_users_cdb_stops_all_local_mail(home: Path, found: Found) -> None:
    for damage in (b"", b"x" * 3000):
        (home / "users/cdb").write_bytes(damage)
        assert found()[0].startswith(f"error: {home}/users/cdb: ")
        assert "all local mail waits until qmail-newu has made it anew" in found()[0]
    (home / "users/cdb").unlink()
    (home / "users/cdb").mkdir()
    assert "all local mail waits" in found()[0]


def test_a_users_cdb_that_others_may_write(home: Path, me: tuple[int, int], found: Found) -> None:
    assign(home, line("=joe", me))
    assert newu.main([]) == 0
    path = home / "users/cdb"
    path.chmod(0o664)
    assert found() == [f"error: {path} can be written by others: run 'chmod go-w {path}'"]


@pytest.mark.root
def test_root_users_cdb_of_separate_accounts_is_roots_and_open_to_qmailp(home: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    try:
        accounts = separate_accounts()
    except MissingAccountError as missing:
        pytest.skip(str(missing))
    assign(home, "=joe:joe:1001:100:/home/joe:::")
    assert newu.main([]) == 0
    path = home / "users/cdb"
    report = Report()
    check_users(report, str(home), accounts)
    assert report.findings == []
    assert report.good == ["1 assignments"]
    path.chmod(0o600)
    os.chown(path, accounts["qmailp"].uid, -1)
    check_users(report, str(home), accounts)
    assert [what.partition(": run ")[2] for what in report.findings] == [
        f"'chown root {path}'",
        f"'chmod a+r {path}'",
    ]


# --- domains ------------------------------------------------------------------------------------


def control(home: Path, **files: str) -> None:
    for name, text in files.items():
        (home / "control" / name).write_text(text)


def test_morercpthosts_is_up_to_date_older_never_made_or_alone(home: Path, found: Found) -> None:
    control(home, morercpthosts="b.example\n")
    assert found() == ["warning: control/morercpthosts counts for nothing yet: run qmail-newmrh"]
    assert newmrh.main([]) == 0
    assert found() == []
    os.utime(home / "control/morercpthosts", (LATER, LATER))
    older = "control/morercpthosts.cdb is older than its source"
    assert found() == [f"warning: {older}: run qmail-newmrh"]
    (home / "control/morercpthosts").unlink()
    gone = "control/morercpthosts.cdb counts, its source control/morercpthosts is gone"
    assert found() == [f"note: {gone}"]


def test_a_damaged_morercpthosts_cdb(home: Path, found: Found) -> None:
    (home / "control/morercpthosts.cdb").write_bytes(b"short")
    assert found()[0].startswith(f"error: {home}/control/morercpthosts.cdb: ")
    assert "run qmail-newmrh; until then clients are sent away with 421" in found()[0]


def test_morercpthosts_cdb_without_rcpthosts_counts_for_nothing(home: Path, found: Found) -> None:
    control(home, morercpthosts="b.example\n")
    assert newmrh.main([]) == 0
    (home / "control/rcpthosts").unlink()
    assert "warning: control/morercpthosts.cdb counts only beside control/rcpthosts" in found()[0]


def test_a_domain_in_locals_and_virtualdomains(home: Path, found: Found) -> None:
    control(home, virtualdomains="MX.example.org:postmaster\njoe@mx.example.org:postmaster\n")
    says = "is never asked for: mx.example.org is local; remove one of them"
    assert found() == [
        f'warning: control/virtualdomains:1: "mx.example.org" {says}',
        f'warning: control/virtualdomains:2: "joe@mx.example.org" {says}',
    ]


def test_a_key_of_virtualdomains_that_comes_again(home: Path, found: Found) -> None:
    control(home, virtualdomains="v.example:postmaster\nV.Example:\n", rcpthosts="v.example\n")
    text = found()
    assert 'warning: control/virtualdomains:1: "v.example" counts for nothing: line 2' in text[0]


@pytest.mark.parametrize(
    ("key", "is_taken"),
    [
        ("v.example", True),
        ("joe@v.example", True),
        (".w.example", True),
        ("x.w.example", True),
        ("", True),
        ("more.example", True),
        ("far.example", False),
        ("joe@far.example", False),
        (".v.example", False),
    ],
)
def test_rcpthosts_lacks_a_virtual_domain(
    home: Path, found: Found, key: str, is_taken: bool
) -> None:
    control(home, rcpthosts="mx.example.org\nv.example\n.w.example\n", morercpthosts="more.example")
    assert newmrh.main([]) == 0
    (home / "alias/.qmail-default").touch()
    control(home, virtualdomains=f"{key}:joe\n")
    line = f'note: control/virtualdomains:1: "{key}" is not in control/rcpthosts'
    assert found() == ([] if is_taken else [f"{line}: no mail for it from outside"])
    control(home, virtualdomains=f"{key}:\n")
    assert found() == []


@pytest.mark.parametrize(
    ("key", "files", "is_somebody"),
    [
        ("v.example", [], False),
        ("v.example", [".qmail-sales-info"], True),
        ("v.example", [".qmail-sales-default"], True),
        ("v.example", [".qmail-default"], True),
        ("v.example", [".qmail-sales", ".qmail-salesman-x", ".qmail-other-default"], False),
        ("info@v.example", [".qmail-sales-info"], True),
        ("info@v.example", [".qmail-sales-other"], False),
        ("In.Fo@v.example", [".qmail-sales-in:fo"], True),
        ("info@v.example", [".qmail-sales-default"], True),
    ],
)
def test_a_prepend_leads_to_nobody(
    home: Path, found: Found, key: str, files: list[str], is_somebody: bool
) -> None:
    control(home, virtualdomains=f"{key}:Sales\n", rcpthosts="mx.example.org\nv.example\n")
    for name in files:
        (home / "alias" / name).touch()
    says = [what for what in found() if "which is nobody's" in what]
    assert (says == []) is is_somebody
    assert is_somebody or says[0].startswith(f'warning: control/virtualdomains:1: "{key.lower()}"')


def test_a_prepend_that_users_cdb_knows_is_somebody(
    home: Path, me: tuple[int, int], found: Found
) -> None:
    control(home, virtualdomains="v.example:sales\n", rcpthosts="mx.example.org\nv.example\n")
    assert any("which is nobody's" in what for what in found())
    assign(home, line("+sales-", me))
    assert newu.main([]) == 0
    assert found() == []


def test_bad_files_are_left_to_the_check_of_their_lines(home: Path, found: Found) -> None:
    control(
        home, virtualdomains="no colon\nv.example:postmaster\n", locals="b c\n", rcpthosts="@\n"
    )
    assert all("no colon" not in what and "b c" not in what for what in found())
