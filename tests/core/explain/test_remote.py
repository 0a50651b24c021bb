"""What `qmail explain` says of remote addresses (RFC 5321 5.1, spec/control-files.md 4.5)."""

import asyncio
from collections.abc import Mapping, Sequence
from random import Random
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.core.explain.explanation import Part, Question
from qmail.core.explain.remote import explain_remote
from qmail.core.remote.target_finder import TargetFinder
from qmail.core.settings.controls import split_lines
from qmail.core.settings.programs import parse_routes
from qmail.mail import Letter, Result
from qmail.protocol.exits import Exit
from qmail.protocol.lookups import Answer, Finding, LocalAddresses, MxRecord
from qmail.protocol.smtp_client import is_sendable

HERE: Final = LocalAddresses(frozenset({"192.0.2.1"}), has_global_ipv6=False)
FILES: Final = {
    "me": b"mx.here.example\n",
    "smtproutes": (
        b"isp.example:[192.0.2.9]:587\n.corp.example:relay.corp.example\nmx.example::26\n"
    ),
}


class Names:
    """A name server. A host that is not there does not exist; None does not answer."""

    def __init__(
        self,
        mx: Mapping[bytes, Sequence[tuple[int, str]] | None] | None = None,
        hosts: Mapping[str, Sequence[str] | None] | None = None,
    ) -> None:
        self._mx = mx or {}
        self._hosts = hosts or {}

    async def mx(self, domain: bytes) -> Answer[MxRecord]:
        found = self._mx.get(domain, ())
        if found is None:
            return Answer(Finding.TEMPORARY)
        records = tuple(MxRecord(*record) for record in found)
        return Answer(Finding.FOUND if records else Finding.NOTHING, records)

    async def addresses(self, hosts: Sequence[str]) -> list[Answer[str]]:
        return [self._address(self._hosts.get(host, ())) for host in hosts]

    @staticmethod
    def _address(found: Sequence[str] | None) -> Answer[str]:
        if found is None:
            return Answer(Finding.TEMPORARY)
        return Answer(Finding.FOUND if found else Finding.NOTHING, tuple(found))


def explain(address: bytes, names: Names | None = None, **files: bytes) -> Part:
    read_file = (FILES | files).get
    question = Question(address, b"s@here.example")
    making = explain_remote(question, read_file, names or Names(), local=HERE, random=Random(1))
    return asyncio.run(making)


def said(part: Part) -> list[tuple[str, str]]:
    return [(step.where, step.text) for step in part.steps]


TWO = Names(
    {b"far.example": [(20, "b.far.example"), (10, "a.far.example")]},
    {"a.far.example": ["192.0.2.10", "2001:db8::10"], "b.far.example": ["192.0.2.20"]},
)


def test_rfc5321_5_1_exchangers_with_addresses_in_the_order_of_trial() -> None:
    part = explain(b"joe@far.example", TWO)
    assert said(part) == [
        ("control/smtproutes", "no entry for far.example, .example, no catch-all: by MX"),
        ("DNS", "MX of far.example: 10 a.far.example, 20 b.far.example"),
        ("DNS", "a.far.example: 192.0.2.10, 2001:db8::10"),
        ("DNS", "b.far.example: 192.0.2.20"),
        ("", "tried in this order: 192.0.2.10, 2001:db8::10, 192.0.2.20"),
        ("control/me:1", "says EHLO mx.here.example"),
    ]
    assert part.verdict is Exit.OK


def test_rfc5321_5_1_equal_preferences_are_tried_by_lot() -> None:
    names = Names(
        {b"far.example": [(10, "a.example"), (10, "b.example")]},
        {"a.example": ["192.0.2.10"], "b.example": ["192.0.2.20"]},
    )
    text = said(explain(b"joe@far.example", names))[1][1]
    assert text.endswith("10 b.example; equal ones are tried in an order by lot")


@pytest.mark.parametrize(
    ("domain", "where", "text"),
    [
        (
            b"ISP.example",
            "control/smtproutes:1",
            "isp.example -> to [192.0.2.9] port 587, whatever the MX says",
        ),
        (
            b"a.corp.example",
            "control/smtproutes:2",
            ".corp.example -> to relay.corp.example port 25, whatever the MX says",
        ),
        (b"mx.example", "control/smtproutes:3", "mx.example -> by MX, at port 26"),
    ],
)
def test_control_files_4_5_the_route_that_decides(domain: bytes, where: str, text: str) -> None:
    assert said(explain(b"joe@" + domain))[0] == (where, text)


def test_control_files_4_5_the_catch_all_is_called_so() -> None:
    part = explain(b"joe@far.example", smtproutes=b":[192.0.2.9]\n")
    assert said(part)[0][1] == "the catch-all -> to [192.0.2.9] port 25, whatever the MX says"
    assert said(part)[1][1] == "tried in this order: 192.0.2.9"


def test_a_port_that_is_not_25_is_told() -> None:
    assert (
        "tried in this order: 192.0.2.9 port 587" in dict(said(explain(b"a@isp.example"))).values()
    )


def test_without_routes_there_is_nothing_to_look_for() -> None:
    part = explain(b"joe@far.example", TWO, smtproutes=b"")
    assert said(part)[0][1] == "no routes: by MX"


def test_rfc5321_5_1_a_host_without_mx_is_its_own() -> None:
    part = explain(b"joe@far.example", Names(hosts={"far.example": ["192.0.2.7"]}))
    assert said(part)[1:4] == [
        ("DNS", "far.example has no MX: the host itself, with preference 0"),
        ("DNS", "far.example: 192.0.2.7"),
        ("", "tried in this order: 192.0.2.7"),
    ]


def test_rfc7505_a_null_mx_is_refused() -> None:
    part = explain(b"joe@far.example", Names({b"far.example": [(0, "")]}))
    assert said(part)[1] == ("DNS", "MX of far.example: 0 . (null MX)")
    assert part.verdict is Exit.PERMANENT
    assert "#5.1.10" in part.steps[-1].text


def test_rfc5321_5_1_only_what_is_better_than_this_machine_is_tried() -> None:
    mx = [(10, "a.example"), (20, "here.example"), (30, "c.example")]
    hosts = {
        "a.example": ["192.0.2.10"],
        "here.example": ["192.0.2.1"],
        "c.example": ["192.0.2.30"],
    }
    part = explain(b"joe@far.example", Names({b"far.example": mx}, hosts))
    this = "this machine, so only hosts with a lower preference are tried"
    assert ("DNS", f"here.example: 192.0.2.1: {this}") in said(part)
    assert ("", "tried in this order: 192.0.2.10") in said(part)


def test_rfc5321_5_1_the_best_exchanger_is_this_machine() -> None:
    names = Names({b"far.example": [(10, "here.example")]}, {"here.example": ["192.0.2.1"]})
    part = explain(b"joe@far.example", names)
    assert part.verdict is Exit.PERMANENT
    assert "#5.4.6" in part.steps[-1].text


def test_control_files_4_5_a_route_may_lead_to_this_machine() -> None:
    names = Names(hosts={"relay.corp.example": ["192.0.2.1"]})
    part = explain(b"joe@a.corp.example", names)
    assert part.verdict is Exit.OK
    assert ("DNS", "relay.corp.example: 192.0.2.1") in said(part)


@pytest.mark.parametrize(
    ("names", "verdict", "code"),
    [
        (Names({b"far.example": None}), Exit.TEMPORARY, "#4.1.2"),
        (
            Names({b"far.example": [(10, "a.example")]}, {"a.example": None}),
            Exit.TEMPORARY,
            "#4.1.2",
        ),
        (Names(), Exit.PERMANENT, "#5.1.2"),
        (Names({b"far.example": [(10, "a.example")]}), Exit.PERMANENT, "#5.4.4"),
    ],
)
def test_without_an_address_the_last_step_says_what_comes_of_it(
    names: Names, verdict: Exit, code: str
) -> None:
    part = explain(b"joe@far.example", names)
    assert part.verdict is verdict
    assert code in part.steps[-1].text


def test_an_address_that_smtp_cannot_carry_bounces() -> None:
    part = explain(b"jo\ne@far.example", TWO)
    assert (part.verdict, len(part.steps)) == (Exit.PERMANENT, 1)


def test_without_a_name_to_say_there_is_no_telling() -> None:
    question = Question(b"a@b", b"")
    making = explain_remote(question, lambda _name: None, Names(), local=HERE, random=Random(1))
    part = asyncio.run(making)
    assert part.verdict is Exit.TEMPORARY
    assert "qmail-rspawn goes on" in part.steps[0].text


def test_a_bad_route_is_named() -> None:
    part = explain(b"a@b", smtproutes=b"a:b\nnonsense\n")
    assert part.verdict is Exit.TEMPORARY
    assert part.steps[0].where == "control/smtproutes:2"


KNOWN: Final = (b"isp.example", b"a.corp.example", b"far.example", b"[192.0.2.1]", b"192.0.2.7")
HOSTS = st.one_of(
    # What follows the last @ has none.
    st.binary(max_size=12).map(lambda raw: raw.replace(b"@", b".")),
    st.sampled_from(KNOWN),
)
RECORDS = st.tuples(st.integers(0, 20), st.sampled_from(["", "a.example", "b.example"]))
ANSWERS = st.one_of(st.none(), st.lists(RECORDS, max_size=3))
IPS = st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1", "::1"])
ADDRESSES = st.one_of(st.none(), st.lists(IPS, max_size=2))


@settings(deadline=None)
@given(host=HOSTS, mx=ANSWERS, addresses=ADDRESSES)
def test_the_verdict_is_that_of_the_delivery(
    host: bytes, mx: list[tuple[int, str]] | None, addresses: list[str] | None
) -> None:
    names = Names({host: mx}, dict.fromkeys(("a.example", "b.example", "far.example"), addresses))
    finder = TargetFinder(
        parse_routes("smtproutes", split_lines(FILES["smtproutes"])),
        names,
        local=lambda: HERE,
        random=Random(1),
    )
    found = asyncio.run(finder.find(host))
    part = explain(b"joe@" + host, names)
    if not is_sendable(b"joe@" + host):
        assert part.verdict is Exit.PERMANENT
    elif isinstance(found, Result):
        assert part.verdict is (Exit.PERMANENT if found.letter is Letter.FAILED else Exit.TEMPORARY)
    else:
        assert part.verdict is Exit.OK
        assert part.steps[-2].text.count(", ") == len(found) - 1
    assert Part.unpack(part.pack()) == part
