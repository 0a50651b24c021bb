"""Plays the cases of mess822.jsonl, which another mess822 has decided, with ours.

Messages, envelopes, replies, exit codes and output are the same, byte for byte. What differs on
purpose is in DIFFERENCES, with its reason, and all but that is compared as well.
"""

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.corpus.generate_mess822 import Case, cases
from tests.corpus.mess822_ours import injected, looked, talked, time_zone
from tests.fakes.homes import open_folder

RECORD = Path(__file__).with_name("mess822.jsonl")
SEED = 1
FOREIGN = ("J\xc3\xb6rg", "=?utf-8?")
LIST_FIELD = re.compile(
    r"^(?:To|Cc|From|Sender|(?:Mail-)?Reply-To|Mail-Followup-To"
    r"|Notice-Requested-Upon-Delivery-To): .*\n(?: .*\n)*",
    re.MULTILINE,
)


TWO_ATS = r"@[^\s,]*@"
NUL_SHOWN = r"\\(?:_\x08)?0(?:_\x08)?0(?:_\x08)?0"


class Difference(NamedTuple):
    """Where we do otherwise: in which cases, and what is not compared then."""

    reason: str
    applies: Callable[[Case, Case], bool]
    """Is told the case, and what ours says."""
    edit: Callable[[Case, Case], None]
    """Changes theirs and ours so that they are the same if nothing else differs."""


def without_lists(pattern: str) -> Callable[[Case, Case], None]:
    """Leave out the fields with lists in which the pattern is, in theirs or in ours."""

    def kept(text: str, dropped: set[str]) -> str:
        return LIST_FIELD.sub(
            lambda field: "" if field[0].partition(":")[0] in dropped else field[0], text
        )

    def edit(theirs: Case, found: Case) -> None:
        texts = [*messages(theirs), *messages(found)]
        dropped = {
            field[0].partition(":")[0]
            for text in texts
            for field in LIST_FIELD.finditer(text)
            if re.search(pattern, field[0])
        }
        for one in (theirs, found):
            if "shown" in one:
                one["shown"] = kept(one["shown"], dropped)
            else:
                one["queued"] = [[kept(text, dropped), to] for text, to in one["queued"]]

    return edit


def text_of(case: Case) -> str:
    text: str = case["sent"] if case["kind"] == "ofmipd" else case["message"]
    return text


def messages(found: Case) -> list[str]:
    return [found["shown"]] if "shown" in found else [text for text, _ in found.get("queued", ())]


def without_empty_recipients(theirs: Case, _found: Case) -> None:
    if "envelope" in theirs:
        theirs["envelope"] = re.sub(r"\0(?:T\0)+", "\0", theirs["envelope"])
    theirs["shown"] = theirs["shown"].replace("\n  <>,\n", "\n").replace("\n  <>,\n", "\n")


def nobody_is_refused(theirs: Case, found: Case) -> None:
    assert re.fullmatch(r"F[^\0]*\0(?:T\0)*\0", theirs["envelope"])
    assert "no recipients" in found["said"][0]
    del theirs["envelope"]
    found["exit"] = 0


def edit_text(key: str, change: Callable[[str], str]) -> Callable[[Case, Case], None]:
    def edit(theirs: Case, _found: Case) -> None:
        theirs[key] = change(theirs[key])

    return edit


def without_subject_and_date(theirs: Case, found: Case) -> None:
    for one in (theirs, found):
        one["out"] = re.sub(
            r"^(?:Subject|Date):.*\n(?:[^A-Z-].*\n)*", "", one["out"], flags=re.MULTILINE
        )


def without_empty_group(theirs: Case, found: Case) -> None:
    """Leave out the name, and the address that they print beside it."""
    name = "".join(f"_\b{letter}" for letter in "empty")
    theirs["out"] = re.sub(rf"^[A-Z].*: {name}.*\n", "", theirs["out"], flags=re.MULTILINE)
    after = re.compile(rf"^([A-Z].*: ){name}\n(?:\1 +[^ ].*\n)?", re.MULTILINE)
    found["out"] = after.sub("", found["out"])


def own_texts(theirs: Case, found: Case) -> None:
    for one in (theirs, found):
        one["said"] = re.sub(r"^(214|252) .*$", r"\1 own text", one["said"], flags=re.MULTILINE)


def has_no_received(case: Case, _found: Case) -> bool:
    return case.get("command") == ["822received"] and not re.search(
        r"^received ?:", case["message"], re.MULTILINE | re.IGNORECASE
    )


def body_without_empty_line(case: Case, _found: Case) -> bool:
    lines = re.match(r"(?:[^\n:]+ ?:.*\n|[ \t].*\n)*", case.get("message", ""))
    assert lines is not None
    rest = case.get("message", "")[lines.end() :]
    return case.get("command") == ["822print"] and rest[:1] not in ("", "\n")


DIFFERENCES = (
    Difference(
        "a message for nobody is refused, not lost (spec/oddities.md 8)",
        lambda case, found: case["kind"] == "inject" and found["exit"] == 100,
        nobody_is_refused,
    ),
    Difference(
        "<> among the recipients is nobody",
        lambda case, _found: "envelope" in case and "\0T\0" in case["envelope"],
        without_empty_recipients,
    ),
    Difference(
        "names beyond ASCII are encoded words, and those that are stay it (RFC 2047)",
        lambda case, _found: case["kind"] != "tool"
        and any(word in text_of(case) for word in FOREIGN),
        without_lists("|".join(map(re.escape, FOREIGN))),
    ),
    Difference(
        "the name of an empty group is not the name of the next address",
        lambda case, _found: case["kind"] != "tool" and "empty: ;" in text_of(case),
        without_lists('"empty"'),
    ),
    Difference(
        "nor does 822print print it beside that",
        lambda case, _found: case.get("command") == ["822print"] and "empty: ;" in text_of(case),
        without_empty_group,
    ),
    Difference(
        "the host of an address stands after its last @",
        lambda case, _found: any(re.search(TWO_ATS, text) for text in messages(case)),
        without_lists(TWO_ATS),
    ),
    Difference(
        "of several dates and subjects each is shown, with no NUL between them",
        lambda case, _found: case.get("command") == ["822print"]
        and re.search(NUL_SHOWN, case["out"]) is not None,
        without_subject_and_date,
    ),
    Difference(
        "without a Received field there is nothing to print",
        has_no_received,
        edit_text("out", lambda text: text.removesuffix("\t\t\t \n")),
    ),
    Difference(
        "a body without empty line in front of it gets one",
        body_without_empty_line,
        edit_text(
            "out", lambda text: re.sub(r"\n(?=(?:body|no field here\nx)\n?\Z)", "\n\n", text)
        ),
    ),
    Difference(
        "bytes beyond ASCII are shown by their number",
        lambda case, _found: case.get("command") == ["822print"] and "/03" in case["out"],
        edit_text("out", lambda text: re.sub(r"/(_?)0(_?)3", r"3\g<1>0\g<2>3", text)
                  .replace(".66", "266").replace("._6_6", "2_6_6")),
    ),
    Difference(
        "our own texts of HELP and VRFY",
        lambda case, _found: bool(re.search(r"\r\n2(?:14|52) ", case.get("said", ""))),
        own_texts,
    ),
)  # fmt: skip


def recorded() -> list[Case]:
    with open(RECORD, encoding="ascii") as file:
        return [json.loads(line) for line in file]


def of_kind(kind: str) -> pytest.MarkDecorator:
    found = [case for case in recorded() if case["kind"] == kind]
    return pytest.mark.parametrize("case", found, ids=lambda case: str(case["number"]))


def compare(case: Case, found: Case, keys: tuple[str, ...]) -> None:
    theirs = {key: value for key, value in case.items() if key in keys}
    for difference in DIFFERENCES:
        if difference.applies(case, found):
            difference.edit(theirs, found)
    assert {key: found[key] for key in keys if key in found} == theirs


def test_the_record_is_of_the_cases_that_are_made_now() -> None:
    made = json.loads(json.dumps(list(cases(SEED))))
    assert [
        {key: case[key] for key in now} for case, now in zip(recorded(), made, strict=True)
    ] == made


@of_kind("inject")
def test_new_inject_makes_the_same(case: Case, tmp_path: Path) -> None:
    found = injected(case, tmp_path)
    case["exit"] = 0
    compare(case, found, ("exit", "shown", "envelope"))


@pytest.fixture(scope="module")
def other_clock() -> Iterator[None]:
    with time_zone("EST5EDT"):
        yield


@of_kind("tool")
def test_the_tools_print_the_same(
    case: Case, monkeypatch: pytest.MonkeyPatch, other_clock: None
) -> None:
    del other_clock
    compare(case, looked(case, monkeypatch), ("exit", "out"))


@of_kind("ofmipd")
def test_ofmipd_says_and_queues_the_same(case: Case, tmp_path: Path) -> None:
    compare(case, talked(case, tmp_path), ("exit", "said", "queued"))


@cache
def played() -> list[tuple[Case, Case]]:
    """Return every case, and what ours makes of it."""
    found = []
    with open_folder() as folder, pytest.MonkeyPatch.context() as patch, time_zone("EST5EDT"):
        for case in recorded():
            play = {"inject": injected, "ofmipd": talked}.get(case["kind"])
            found.append((case, looked(case, patch) if play is None else play(case, folder)))
    return found


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.reason)
def test_every_difference_is_one(difference: Difference) -> None:
    assert any(difference.applies(case, found) for case, found in played())
