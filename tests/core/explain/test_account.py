"""What `qmail explain` says of whose address it is (spec/delivery.md 2)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.core.addresses.assign import ASSIGN, assignments, lines_of, records
from qmail.core.addresses.owners import Owners
from qmail.core.addresses.users import Directory, answer_for
from qmail.core.cdb import write_cdb
from qmail.core.explain.account import AccountSources, explain_account
from qmail.core.explain.explanation import Part
from qmail.core.local.route import TRASH, local_route, wrong_with_recipient
from qmail.core.smtp.verification import by_owner
from qmail.protocol.exits import Exit
from qmail.protocol.local_door import Owner, Target
from qmail.protocol.verify_door import Verdict, verdict_of


class Accounts:
    """A list of accounts; each has a home of its own unless `homes` says otherwise."""

    def __init__(self, **uids: int) -> None:
        self.uids = {"alias": 900} | uids
        self.homes: dict[bytes, int | OSError | None] = {}
        self.is_down = False

    def account(self, name: bytes) -> Owner | None:
        if self.is_down:
            raise OSError(5, "Input/output error")
        uid = self.uids.get(name.decode("latin-1"))
        return None if uid is None else Owner(name, uid, uid, b"/home/" + name, b"", b"")

    def folder_owner(self, path: bytes) -> int | None:
        found = self.homes.get(path, self.uids.get(path.decode("latin-1").removeprefix("/home/")))
        if isinstance(found, OSError):
            raise found
        return found


NO_HOME: Final = Path("/nonexistent")
JOE: Final = Accounts(joe=1001, root=0, sys=50)


def explain(recipient: bytes, accounts: Accounts = JOE, home: Path = NO_HOME) -> Part:
    def read_assign() -> Iterator[bytes]:
        with (home / ASSIGN).open("rb") as file:
            yield from lines_of(file)

    def make_owners(directory: Directory) -> Owners:
        return Owners(str(home), directory)

    has_cdb = (home / "users/cdb").exists()
    sources = AccountSources(accounts, make_owners, has_cdb, read_assign)
    return explain_account(recipient, sources)


def said(part: Part) -> list[str]:
    return [step.text for step in part.steps]


def test_delivery_2_a_user_of_that_name() -> None:
    part = explain(b"Joe@here.example")
    assert said(part) == ["joe (uid 1001, home /home/joe)"]
    target = Target(b"joe", b"/home/joe", b"Joe", b"", b"", b"here.example")
    assert part.facts == (b"K", b"1001", b"1001", target.pack())


def test_delivery_2_the_names_that_were_tried_and_the_extension() -> None:
    assert said(explain(b"joe-a-B@here.example")) == [
        "no account joe-a-b, joe-a",
        'joe (uid 1001, home /home/joe), ext "a-B"',
    ]


def test_delivery_2_what_is_nobodys_belongs_to_alias() -> None:
    assert said(explain(b"info@here.example")) == [
        "no account info",
        'alias (uid 900, home /home/alias), ext "info"',
    ]


def test_delivery_2_root_gets_no_mail() -> None:
    assert said(explain(b"root@here.example"))[0] == "root (uid 0): root gets no mail"


@pytest.mark.parametrize(
    ("owner", "text"),
    [
        (None, "sys (uid 50): the home /home/sys is not there"),
        (0, "sys (uid 50): the home /home/sys belongs to uid 0"),
    ],
)
def test_delivery_2_an_account_whose_home_is_not_its_own(owner: int | None, text: str) -> None:
    accounts = Accounts(sys=50)
    accounts.homes[b"/home/sys"] = owner
    assert said(explain(b"sys@here.example", accounts)) == [
        text,
        'alias (uid 900, home /home/alias), ext "sys"',
    ]


def test_a_persons_home_that_is_not_there_puts_the_mail_off() -> None:
    accounts = Accounts(joe=1001)
    accounts.homes[b"/home/joe"] = None
    part = explain(b"joe@here.example", accounts)
    assert part.verdict is Exit.TEMPORARY
    assert said(part)[0] == "joe (uid 1001): the home /home/joe is not there"
    assert verdict_of(part.facts[0]) is Verdict.UNSURE


def test_trouble_is_told_as_what_it_makes_of_the_mail() -> None:
    accounts = Accounts(joe=1001)
    accounts.homes[b"/home/joe"] = OSError(116, "Stale file handle")
    part = explain(b"joe@here.example", accounts)
    assert part.verdict is Exit.TEMPORARY
    assert said(part)[0].endswith("the home /home/joe does not answer: Stale file handle")
    accounts.is_down = True
    part = explain(b"joe@here.example", accounts)
    assert part.verdict is Exit.TEMPORARY
    assert "the list of accounts does not answer" in said(part)[0]


def test_delivery_2_an_empty_local_part_is_trash() -> None:
    part = explain(b"@here.example")
    assert part.verdict is Exit.OK
    assert part.facts == (TRASH,)
    assert "trash" in said(part)[0]


def test_delivery_10_an_address_without_domain_bounces() -> None:
    assert explain(b"joe").verdict is Exit.PERMANENT


# --- users/cdb ----------------------------------------------------------------------------------

LINES: Final = (
    b"=joe:joe:1001:1001:/home/joe:::\n"
    b"+joe-:joe:1001:1001:/home/joe:-::\n"
    b"+shop-:vpop:500:500:/home/vpop:-:shop-:\n"
    b"=shop-root:r:0:0:/root:::\n"
    b"=joe:other:7:7:/home/other:::\n"
    b".\n"
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a users/cdb of LINES."""
    (tmp_path / "users").mkdir()
    (tmp_path / ASSIGN).write_bytes(LINES)
    cdb = tmp_path / "users/cdb"
    found = records(assignments(LINES.splitlines(keepends=True)))
    write_cdb(str(cdb), f"{cdb}.tmp", found)
    return tmp_path


@pytest.mark.parametrize(
    ("recipient", "line", "text"),
    [
        (b"Joe@here.example", 1, "=joe -> joe (uid 1001, home /home/joe)"),
        (b"joe-A@here.example", 2, '+joe- -> joe (uid 1001, home /home/joe), ext "A"'),
        (
            b"shop-info@here.example",
            3,
            '+shop- -> vpop (uid 500, home /home/vpop), ext "shop-info"',
        ),
    ],
)
def test_delivery_2_the_line_of_users_assign_that_decides(
    home: Path, recipient: bytes, line: int, text: str
) -> None:
    part = explain(recipient, home=home)
    assert [(step.where, step.text) for step in part.steps] == [(f"users/assign:{line}", text)]
    assert part.verdict is Exit.OK


def test_delivery_2_what_is_not_assigned_is_looked_up_as_an_account(home: Path) -> None:
    part = explain(b"info@here.example", home=home)
    assert [(step.file, step.text) for step in part.steps] == [
        ("users/cdb", "nothing is assigned for info"),
        ("passwd", "no account info"),
        ("passwd", 'alias (uid 900, home /home/alias), ext "info"'),
    ]


def test_delivery_2_root_gets_no_mail_by_assignment_either(home: Path) -> None:
    part = explain(b"shop-root@here.example", home=home)
    assert part.verdict is Exit.TEMPORARY
    assert part.steps[0].where == "users/assign:4"
    assert "root never receives mail" in part.steps[-1].text


@pytest.mark.parametrize("change", [(b"1001", b"1002"), (b"=joe:", b"=jim:")])
def test_a_users_assign_that_differs_is_told(home: Path, change: tuple[bytes, bytes]) -> None:
    (home / ASSIGN).write_bytes(LINES.replace(*change))
    part = explain(b"joe@here.example", home=home)
    assert part.steps[0].file == "users/cdb"
    assert part.steps[0].text.endswith("; users/assign says otherwise: run qmail-newu")


@pytest.mark.parametrize("text", [None, b"nonsense\n"])
def test_only_the_cdb_counts(home: Path, text: bytes | None) -> None:
    (home / ASSIGN).unlink()
    if text is not None:
        (home / ASSIGN).write_bytes(text)
    part = explain(b"joe@here.example", home=home)
    assert [(step.where, step.text) for step in part.steps] == [
        ("users/cdb", "=joe -> joe (uid 1001, home /home/joe)")
    ]


def test_a_damaged_cdb_puts_the_mail_off(home: Path) -> None:
    (home / "users/cdb").write_bytes(b"x")
    part = explain(b"joe@here.example", home=home)
    assert part.verdict is Exit.TEMPORARY
    assert "too short for a cdb file" in part.steps[0].text
    assert "users/cdb" in part.steps[-1].text


# --- any input ----------------------------------------------------------------------------------


@given(recipient=st.binary(max_size=30))
def test_the_account_told_is_the_one_that_gets_it(recipient: bytes) -> None:
    part = explain(recipient)
    wrong = wrong_with_recipient(recipient)
    if wrong is None:
        answer = answer_for(recipient.rpartition(b"@")[0], JOE)
        route = local_route(answer, recipient)
        assert not isinstance(route, bytes)
        (uid, gid), target = route
        assert part.facts[1:] == (b"%d" % uid, b"%d" % gid, target)
        assert part.facts[0] == (by_owner(recipient, answer) or b"")
    else:
        assert part.facts == (wrong,)
    assert Part.unpack(part.pack()) == part
