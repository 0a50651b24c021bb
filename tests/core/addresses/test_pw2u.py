"""Accounts as lines of users/assign: every rule of qmail-pw2u (spec/programs.md 3)."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.core.addresses.assign import AssignError, assignments
from qmail.core.addresses.pw2u import (
    Homes,
    Rules,
    StoppedError,
    assign_lines,
    parse_mailnames,
    parse_names,
    parse_subusers,
)
from qmail.core.settings.controls import split_lines
from qmail.protocol.local_door import Owner

ALIAS = b"alias:x:7790:2108:qmail alias:/var/qmail/alias:/bin/true\n"
JOE = b"joe:x:1001:100:Joe,,,:/home/joe:/bin/sh\n"
ALIAS_LINES = [
    b"+:alias:7790:2108:/var/qmail/alias:-::\n",
    b"=alias:alias:7790:2108:/var/qmail/alias:::\n",
    b"+alias-:alias:7790:2108:/var/qmail/alias:-::\n",
]
JOE_LINES = [b"=joe:joe:1001:100:/home/joe:::\n", b"+joe-:joe:1001:100:/home/joe:-::\n"]


class Folders:
    """The owners of homes: 1001 has /home/joe, alias its own; /home/down does not answer."""

    def account(self, name: bytes) -> Owner | None:
        raise AssertionError(f"pw2u asked for {name!r}: the accounts are its input")

    def folder_owner(self, path: bytes) -> int | None:
        if path == b"/home/down":
            raise OSError(errno.ESTALE, "stale")
        return {b"/home/joe": 1001, b"/var/qmail/alias": 7790, b"/home/Upper": 1003}.get(path)


def lines(*passwd: bytes, rules: Rules | None = None) -> list[bytes]:
    return list(assign_lines([ALIAS, *passwd], rules or Rules(), Folders()))


def of_joe(rules: Rules) -> list[bytes]:
    return lines(JOE, rules=rules)[len(lines(rules=rules)) :]


def test_alias_has_all_addresses_and_its_own() -> None:
    assert lines() == ALIAS_LINES


def test_a_user_has_an_address_and_its_extensions() -> None:
    assert lines(JOE) == [*ALIAS_LINES, *JOE_LINES]


def test_users_come_in_the_order_of_the_input() -> None:
    assert list(assign_lines([JOE, ALIAS], Rules(), Folders())) == [*JOE_LINES, *ALIAS_LINES]


@pytest.mark.parametrize(
    "passwd",
    [
        b"root:x:0:0:root:/home/joe:/bin/sh\n",
        b"joe:x::100:Joe:/home/joe:/bin/sh\n",
        b"joe:x:no:100:Joe:/home/joe:/bin/sh\n",
        b"joe:x:1001::Joe:/home/joe:/bin/sh\n",
        b"joe:x:4294967295:100:Joe:/home/joe:/bin/sh\n",
        b":x:1001:100:Joe:/home/joe:/bin/sh\n",
        b"joe:x:1001:100:Joe:home/joe:/bin/sh\n",
        b"jo\0e:x:1001:100:Joe:/home/joe:/bin/sh\n",
        b"joe:x:1001:100\n",
        b"+::::::\n",
        b"\n",
    ],
)
def test_what_is_no_user_of_mail_is_left_out(passwd: bytes) -> None:
    assert lines(passwd, rules=Rules(homes=Homes.IGNORE)) == ALIAS_LINES


@pytest.mark.parametrize("allows", [True, False])
def test_option_u_upper_case_names_are_left_out_unless_allowed(*, allows: bool) -> None:
    found = lines(b"Upper:x:1003:100::/home/Upper:\n", rules=Rules(allows_upper=allows))
    assert (b"=Upper:Upper:1003:100:/home/Upper:::\n" in found) is allows


# --- homes --------------------------------------------------------------------------------------

GONE = b"gone:x:1002:100::/home/gone:\n"
GUEST = b"guest:x:1004:100::/home/joe:\n"


def test_option_o_a_user_whose_home_is_missing_or_anothers_is_left_out() -> None:
    assert lines(GONE, GUEST) == ALIAS_LINES


def test_option_h_a_missing_home_stops_it_and_anothers_is_left_out() -> None:
    rules = Rules(homes=Homes.STOP)
    assert lines(GUEST, rules=rules) == ALIAS_LINES
    with pytest.raises(StoppedError, match='"/home/gone" of "gone" is missing'):
        lines(GONE, rules=rules)


def test_option_capital_h_homes_are_not_looked_at() -> None:
    rules = Rules(homes=Homes.IGNORE)
    down = b"down:x:1005:100::/home/down:\n"
    found = lines(GONE, GUEST, down, rules=rules)
    for name in (b"gone", b"guest", b"down"):
        assert any(line.startswith(b"=" + name + b":") for line in found)


@pytest.mark.parametrize("homes", [Homes.SKIP, Homes.STOP])
def test_a_home_that_does_not_answer_stops_it(homes: Homes) -> None:
    with pytest.raises(OSError, match="stale"):
        lines(b"down:x:1005:100::/home/down:\n", rules=Rules(homes=homes))


# --- the files ----------------------------------------------------------------------------------


def test_include_names_all_that_count() -> None:
    rules = Rules(include=parse_names(split_lines(b"alias\n")))
    assert of_joe(rules) == []
    assert of_joe(Rules(include=parse_names(split_lines(b"JOE\nAlias \n#x\n\n")))) == JOE_LINES


def test_exclude_leaves_out() -> None:
    assert of_joe(Rules(exclude=parse_names(split_lines(b"Joe\n")))) == []


def test_mailnames_stand_in_place_of_the_users_name() -> None:
    names = parse_mailnames(split_lines(b"joe:no\nJoe:joe.shmoe:js:\n"), "users/mailnames")
    assert of_joe(Rules(mailnames=names)) == [
        b"=joe.shmoe:joe:1001:100:/home/joe:::\n",
        b"+joe.shmoe-:joe:1001:100:/home/joe:-::\n",
        b"=js:joe:1001:100:/home/joe:::\n",
        b"+js-:joe:1001:100:/home/joe:-::\n",
    ]
    assert of_joe(Rules(mailnames={b"joe": ()})) == []


def test_subusers_are_extensions_of_a_user_after_all_users() -> None:
    subusers = parse_subusers(split_lines(b"sales:Joe:s:\n"), "users/subusers")
    assert of_joe(Rules(subusers=())) == JOE_LINES
    found = lines(JOE, rules=Rules(subusers=subusers))
    assert found[5:] == [
        b"=sales:joe:1001:100:/home/joe:-:s:\n",
        b"+sales-:joe:1001:100:/home/joe:-:s-:\n",
    ]


def test_a_subuser_of_an_unknown_user_stops_it() -> None:
    subusers = parse_subusers(split_lines(b"# x\nsales:joe:s:\n"), "users/subusers")
    with pytest.raises(AssignError, match=r'^users/subusers:2: "joe"'):
        lines(rules=Rules(subusers=subusers))


@pytest.mark.parametrize("text", [b"joe", b"joe\n"])
def test_mailnames_without_a_colon_are_named(text: bytes) -> None:
    with pytest.raises(AssignError, match=r"^users/mailnames:1: "):
        parse_mailnames(split_lines(text), "users/mailnames")


@pytest.mark.parametrize("text", [b"sales", b"sales:joe:s", b":joe:s:"])
def test_subusers_with_too_few_colons_are_named(text: bytes) -> None:
    with pytest.raises(AssignError, match=r"^users/subusers:1: "):
        parse_subusers(split_lines(text), "users/subusers")


# --- break and dash -----------------------------------------------------------------------------


def test_option_c_another_break_character_and_dash_stays_a_dash() -> None:
    subusers = parse_subusers(split_lines(b"sales:joe:s:\n"), "x")
    rules = Rules(break_=b"+", subusers=subusers)
    assert b"+joe+:joe:1001:100:/home/joe:-::\n" in lines(JOE, rules=rules)
    assert b"+sales+:joe:1001:100:/home/joe:-:s-:\n" in lines(JOE, rules=rules)


def test_option_capital_c_no_lines_for_extensions() -> None:
    rules = Rules(break_=b"", subusers=parse_subusers(split_lines(b"sales:joe:s:\n"), "x"))
    assert [line for line in lines(JOE, rules=rules) if line.startswith(b"+")] == [ALIAS_LINES[0]]


def test_option_slash_extensions_are_files_in_a_folder() -> None:
    subusers = parse_subusers(split_lines(b"sales:joe:s:\n"), "x")
    found = lines(JOE, rules=Rules(dash=b"-/", subusers=subusers))
    assert found[0] == b"+:alias:7790:2108:/var/qmail/alias:-/::\n"
    assert JOE_LINES[0] in found
    assert b"+joe-:joe:1001:100:/home/joe:-/::\n" in found
    assert b"=sales:joe:1001:100:/home/joe:-/:s:\n" in found


# --- alias --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rules", [Rules(exclude=frozenset({b"alias"})), Rules(alias_home=b"/home/gone")]
)
def test_without_an_account_alias_it_stops(rules: Rules) -> None:
    with pytest.raises(StoppedError, match="no account alias"):
        lines(rules=rules)


def test_alias_has_the_home_that_deliveries_give_it() -> None:
    found = lines(rules=Rules(alias_home=b"/home/gone", homes=Homes.IGNORE))
    assert found[0] == b"+:alias:7790:2108:/home/gone:-::\n"


def test_a_line_of_passwd_that_is_too_long_is_named() -> None:
    with pytest.raises(AssignError, match=r"^standard input:2: longer"):
        lines(b"x" * 9000)


@given(passwd=st.lists(st.binary(max_size=40).map(lambda one: one.replace(b"\n", b"") + b"\n")))
def test_fuzz_whatever_is_made_is_a_sound_users_assign(passwd: list[bytes]) -> None:
    made = lines(*passwd, JOE, rules=Rules(homes=Homes.IGNORE, allows_upper=True))
    assert len(list(assignments([*made, b".\n"]))) == len(made)
