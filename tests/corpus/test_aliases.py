"""Plays the cases of aliases.jsonl, which fastforward and dot-forward have decided, with ours.

Tables and lists are the same byte for byte, and so is what is said with -n; of refusals the exit
code is the same. For equal names only the first record counts, and ours has no other.
"""

import json
import os
from pathlib import Path

import pytest
from tests.corpus.generate_aliases import HOST, HOSTS, USER, Case, cases

from qmail.core.aliases.dot_forward import ForwardFileError, Owner, plan_dot_forward
from qmail.core.aliases.forward_source import SourceError, TableError, read_source, write_source
from qmail.core.aliases.forward_table import ForwardError, plan_forward
from qmail.core.aliases.list_files import MailList, read_include, read_plain
from qmail.core.aliases.source import read_aliases
from qmail.core.inject.rewriting import Rewriter
from qmail.core.settings.hosts import read_hosts
from qmail.utilities import dotforward, fastforward

RECORD = Path(__file__).with_name("aliases.jsonl")
SEED = 1
REWRITER = Rewriter(
    read_hosts({}, {name: f"{host}\n".encode() for name, host in HOSTS.items()}.get)
)


def recorded() -> list[Case]:
    with open(RECORD, encoding="ascii") as file:
        return [json.loads(line) for line in file]


def of_kind(kind: str) -> pytest.MarkDecorator:
    found = [case for case in recorded() if case["kind"] == kind]
    return pytest.mark.parametrize("case", found, ids=lambda case: str(case["number"]))


def records(case: Case) -> dict[bytes, bytes]:
    """Return the records that count."""
    found: dict[bytes, bytes] = {}
    for key, data in case["table"]:
        found.setdefault(key.encode("latin-1"), data.encode("latin-1"))
    return found


def test_the_record_is_of_the_cases_that_are_made_now() -> None:
    made = json.loads(json.dumps(list(cases(SEED))))
    assert [
        {key: case[key] for key in now} for case, now in zip(recorded(), made, strict=True)
    ] == (made)


@of_kind("aliases")
def test_newaliases_makes_the_same_table(case: Case) -> None:
    table = read_aliases(case["text"].encode(), REWRITER)
    codes = {problem.code for problem in table.problems}
    assert (111 if 111 in codes else max(codes, default=0)) == case["made"]["exit"]
    if not codes:
        assert list(table.records) == list(records(case).items())


@of_kind("aliases")
def test_fastforward_says_the_same(case: Case, capfd: pytest.CaptureFixture[str]) -> None:
    table = records(case) if "table" in case else {}
    for (recipient, sender), told in zip(case["asks"], case.get("told", ()), strict=False):
        try:
            plan = plan_forward(recipient.encode(), sender.encode(), table.get, unreadable)
            code = fastforward.show(plan) if plan.is_known else 100
        except ForwardError:
            code = 111
        assert (code, capfd.readouterr().err) == (told["exit"], told["said"])


def unreadable(path: bytes) -> bytes:
    raise ForwardError(f"unable to read {os.fsdecode(path)}")


@of_kind("source")
def test_setforward_and_printforward_do_the_same(case: Case) -> None:
    try:
        made = read_source(case["text"].encode())
    except SourceError:
        assert case["made"]["exit"] == 100
        return
    assert case["made"]["exit"] == 0
    assert made == [(key.encode(), data.encode()) for key, data in case["table"]]
    try:
        printed = {"exit": 0, "said": b"".join(write_source(made)).decode()}
    except TableError:
        printed = {"exit": 100, "said": ""}
    assert printed == case["printed"]


@of_kind("include")
def test_newinclude_and_setmaillist_store_the_same(case: Case) -> None:
    made = read_include(case["text"].encode(), REWRITER)
    assert outcome(made) == {"exit": case["made"]["exit"], "list": case.get("list", "")}
    plain = read_plain(case["text"].encode())
    assert outcome(plain) == {"exit": case["plain"]["exit"], "list": case["plain"]["list"]}


def outcome(made: MailList) -> Case:
    return {"exit": 111, "list": ""} if made.problems else {"exit": 0, "list": made.binary.decode()}


@of_kind("forward")
def test_dot_forward_says_the_same(case: Case, capfd: pytest.CaptureFixture[str]) -> None:
    owner = Owner(USER.encode(), HOST.encode())
    try:
        plan = plan_dot_forward(
            [b"/tmp/f"], owner, REWRITER, lambda _file: bytes(case["text"], "ascii")
        )
        code = dotforward.show(plan)
    except ForwardFileError:
        code = 111
    assert (code, capfd.readouterr().err) == (case["told"]["exit"], case["told"]["said"])
