"""Plays the cases of inject.jsonl, of which another qmail-inject has made messages and envelopes.

Message, envelope and exit code are the same, byte for byte; texts of errors are our own. What
differs on purpose is in DIFFERENCES, with its reason, and all but that is compared as well.
"""

import json
import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.corpus.generate_inject import (
    COUNT,
    PLAIN_FIELDS,
    RESENT_FIELDS,
    SENDER_FIELDS,
    Case,
    cases,
    make_case,
)
from tests.corpus.inject_stage import ours
from tests.corpus.record_inject import even
from tests.fakes.homes import open_folder
from tests.programs.injection import Injection

from qmail.protocol.address_list import AddressSyntaxError, Token, tokenise

RECORD = Path(__file__).with_name("inject.jsonl")
SEED = 1
KEYS = ("exit", "shown_exit", "shown", "envelope")


class Difference(NamedTuple):
    """Where we do otherwise: in which cases, and what of theirs and ours is not compared then."""

    reason: str
    applies: Callable[[Case, Case], bool]
    """Is told the case, and what ours says."""
    edit: Callable[[Case, Case], None]
    """Changes theirs and ours so that they are the same if nothing else differs."""


# --- what is edited ------------------------------------------------------------------------------


def refuse(theirs: Case, _found: Case) -> None:
    """Ours takes no such message."""
    theirs.update(exit=100, shown_exit=100, shown="")
    theirs.pop("envelope", None)


def recipients(found: Case) -> list[str]:
    envelope: str = found.get("envelope", "F\0\0")
    return envelope.split("\0")[1:-2]


def set_recipients(found: Case, wanted: list[str]) -> None:
    if "envelope" in found:
        sender = found["envelope"].partition("\0")[0]
        found["envelope"] = "\0".join((sender, *wanted, "", ""))


def edit_header(found: Case, change: Callable[[str], str]) -> None:
    header, empty, body = found["shown"].partition("\n\n")
    found["shown"] = change(header + "\n").removesuffix("\n") + empty + body


def without_fields(*names: str) -> Callable[[Case, Case], None]:
    """Leave these fields out of both headers."""
    # They let a backslash take a line end along.
    rest = r"(?:.*\\\n(?=\"))*.*\n(?:[ \t].*\n)*"
    pattern = re.compile(rf"^(?:{'|'.join(names)})[ \t]*:{rest}", re.MULTILINE | re.IGNORECASE)

    def edit(theirs: Case, found: Case) -> None:
        for one in (theirs, found):
            edit_header(one, lambda header: pattern.sub("", header))

    return edit


def letters(theirs: Case, found: Case) -> None:
    """Compare headers without quotes, backslashes, blanks and the forms of encoded words."""
    for one in (theirs, found):
        edit_header(one, lambda header: re.sub(r'[\s"\\]', "", decoded(header)))


def decoded(header: str) -> str:
    # Blanks between encoded words do not count.
    header = re.sub(r"\?=\s+=\?utf-8\?q\?", "", header)
    return re.sub(r"=\?(?:utf-8|unknown-8bit)\?q\?(.*?)\?=", lambda word: plain(word[1]), header)


def plain(text: str) -> str:
    return re.sub("=(..)", lambda code: chr(int(code[1], 16)), text.replace("_", " "))


def without_comments(theirs: Case, found: Case) -> None:
    for one in (theirs, found):
        edit_header(one, lambda header: re.sub(r"\s*\((?:[^()\\]|\\.)*\)", "", header))


def fewer_recipients(theirs: Case, found: Case) -> None:
    """Of theirs, those count that ours has as well, in the same order."""
    theirs_left = (one.replace("\n", "") for one in recipients(theirs))
    # Each is found after the one before.
    set_recipients(theirs, [one for one in recipients(found) if one in theirs_left])


def more_recipients(theirs: Case, found: Case) -> None:
    if theirs["exit"] == 100:
        # They see a group inside a group there.
        theirs.update(found)
    # One with < in it has run together of several.
    real = {one for one in recipients(theirs) if one != "T" and "<" not in one}
    if real <= set(recipients(found)):
        set_recipients(theirs, recipients(found))


def both(*edits: Callable[[Case, Case], None]) -> Callable[[Case, Case], None]:
    def edit(theirs: Case, found: Case) -> None:
        for one in edits:
            one(theirs, found)

    return edit


BROKEN = "unable to parse this line"


# --- what differs on purpose --------------------------------------------------------------------


def message_has(pattern: str) -> Callable[[Case, Case], bool]:
    """In the header, unfolded."""
    wanted = re.compile(pattern, re.MULTILINE | re.IGNORECASE)
    return lambda case, _found: bool(wanted.search(unfolded(case["message"])))


def unfolded(message: str) -> str:
    return re.sub(r"\r?\n(?=[ \t])", "", message.partition("\n\n")[0])


def said(*reasons: str) -> Callable[[Case, Case], bool]:
    return lambda _case, found: any(one in line for one in reasons for line in found["said"])


def environ_has(pattern: str, *names: str) -> Callable[[Case, Case], bool]:
    def applies(case: Case, _found: Case) -> bool:
        given = [case["environ"].get(name, "") for name in names or case["environ"]]
        return any(re.search(pattern, value) for value in given)

    return applies


def is_foreign(case: Case, _found: Case) -> bool:
    texts = [case["message"], *case["environ"].values(), *words(case)]
    return any(not text.isascii() for text in texts)


def has_group_without_comma(case: Case, _found: Case) -> bool:
    """Before a group's name, with no comma between, stands another group or an address in <>."""
    names = {name.lower() for name in ADDRESS_FIELDS}
    for line in unfolded(case["message"]).split("\n"):
        name, _, value = line.partition(":")
        is_after = False
        for token in tokens(value) if name.rstrip().lower() in names else ():
            if token.kind == ":" and is_after:
                return True
            is_after = token.kind != "," and (is_after or token.kind in (";", ">"))
    return False


def tokens(value: str) -> list[Token]:
    try:
        return tokenise(value.encode("latin-1"))
    except AddressSyntaxError:
        return []


def words(case: Case) -> list[str]:
    return [*case["options"], *case["arguments"]]


def unbracket(theirs: Case, _found: Case) -> None:
    theirs["shown"] = re.sub(
        '^(Return-Path: <)"<(.*?)>?"(.*?)>?>$', _bare, theirs["shown"], flags=re.MULTILINE
    )
    if "envelope" in theirs:
        theirs["envelope"] = re.sub("(?<=[FT])<(.*?)>.*?(?=\0)", r"\1", theirs["envelope"])


def _bare(sender: re.Match[str]) -> str:
    return f"{sender[1]}{sender[2]}{sender[3] if sender[2] else ''}>"


def blank_for_line_end(theirs: Case, _found: Case) -> None:
    theirs["shown"] = theirs["shown"].replace("line\\\nbreak", "line break")


def null_sender_of_each_recipient(case: Case, _found: Case) -> bool:
    return "r" in case["environ"].get("QMAILINJECT", "")


def null_stays_null(theirs: Case, _found: Case) -> None:
    theirs["shown"] = theirs["shown"].replace('Return-Path: <""-@[]>\n', "Return-Path: <>\n")
    theirs["shown"] = theirs["shown"].replace("Return-Path: <-@[]>\n", "Return-Path: <>\n")
    if "envelope" in theirs:
        theirs["envelope"] = re.sub("^F-@\\[]\0", "F\0", theirs["envelope"])


def nobody_is_left(case: Case, found: Case) -> bool:
    return found["exit"] == 100 and said("no recipients", "unable to parse this line")(case, found)


def refuse_to_queue(theirs: Case, _found: Case) -> None:
    if not recipients(theirs) and theirs["exit"] == 0:
        theirs["exit"] = 100
        theirs.pop("envelope")


def drop_empty(theirs: Case, _found: Case) -> None:
    def followup(field: re.Match[str]) -> str:
        return ",\n  ".join(one for one in re.split(r",\n  ", field[0]) if one)

    pattern = re.compile(r"(?<=^Mail-Followup-To: )(?:.*,\n  )+.*", re.MULTILINE)
    edit_header(theirs, lambda header: pattern.sub(followup, header))
    set_recipients(theirs, [one for one in recipients(theirs) if one != "T"])


def they_escape_a_line_end(case: Case, _found: Case) -> bool:
    return "\\\n" in case["shown"] or "\n" in case.get("envelope", "")


def unfold_envelopes(theirs: Case, found: Case) -> None:
    for one in (theirs, found):
        if "envelope" in one:
            one["envelope"] = re.sub(r"\s", "", one["envelope"])


def no_line_of_blanks(theirs: Case, _found: Case) -> None:
    edit_header(theirs, lambda header: header.replace(",\n \n", ",\n"))


ADDRESS_FIELDS = (*PLAIN_FIELDS, *RESENT_FIELDS, *SENDER_FIELDS)
DIFFERENCES = (
    Difference(
        "no address has a line end in it, nor the blank that continued its line",
        they_escape_a_line_end,
        unfold_envelopes,
    ),
    Difference(
        "a wrong argument is refused, not made into an address that was never meant",
        said("unable to parse this address", "an empty address among the arguments"),
        refuse,
    ),
    Difference(
        "brackets around an argument are no part of its address",
        lambda case, _found: any(word.endswith(">") for word in words(case)),
        unbracket,
    ),
    Difference(
        "a field of senders that no address can be made of is refused",
        lambda case, found: found["shown_exit"] == 100 and said(BROKEN)(case, found),
        refuse,
    ),
    Difference(
        "a host in the environment that is none is named and refused: two words, a comma",
        said("is not a host name"),
        refuse,
    ),
    Difference("a line end in a name is a blank", environ_has("\n"), blank_for_line_end),
    Difference(
        "a comment inside <> stands after the address and hides no part of it",
        message_has(r"<[^>]*\("),
        without_comments,
    ),
    Difference(
        "oddities 8: Apparently-To is deleted, it tells who is blind",
        message_has("^apparently-to[ \t]*:"),
        without_fields("apparently-to"),
    ),
    Difference(
        "a From field with a blank before its colon is one (RFC 5322 4.5.2), no mailbox line",
        lambda case, _found: bool(re.search("^From [ \t]*:", case["message"], re.MULTILINE)),
        without_fields("from", "mbox-line"),
    ),
    Difference(
        "of a field that breaks off in the middle, nobody is a recipient",
        said(BROKEN),
        both(fewer_recipients, without_fields("mail-followup-to")),
    ),
    Difference(
        "what no address can be made of does not become another address",
        said("misplaced", "> without <", "a line ends", "a backslash at the end", "NUL byte"),
        both(fewer_recipients, without_fields(*ADDRESS_FIELDS)),
    ),
    Difference(
        "members of a group are not lost where no comma parts it from the next one",
        has_group_without_comma,
        both(more_recipients, without_fields(*ADDRESS_FIELDS, "mail-followup-to")),
    ),
    Difference("the empty address is nobody", message_has("[@<.]"), drop_empty),
    Difference(
        "a null sender stays one: nobody counts its bounces",
        null_sender_of_each_recipient,
        null_stays_null,
    ),
    Difference(
        "what was quoted or escaped and goes on in the next line is unfolded (RFC 5322 3.2.2)",
        they_escape_a_line_end,
        letters,
    ),
    Difference(
        "oddities 8: blanks around the dots of a name stay",
        message_has(r"(?:[ \t]\.|\.[ \t])[^\n]*[<:]"),
        letters,
    ),
    Difference(
        "oddities 8, RFC 2047, RFC 6532: names beyond ASCII are encoded, addresses are not quoted",
        is_foreign,
        letters,
    ),
    Difference("oddities 8: what was escaped in an atom is quoted", message_has(r"\\"), letters),
    Difference(
        "oddities 8: QMAILHOST may be a literal",
        environ_has(r"\[", "QMAILHOST", "MAILHOST", "QMAILSHOST"),
        letters,
    ),
    Difference(
        "a comma at the end is followed by no line of blanks (RFC 5322 3.2.2)",
        message_has(",[ \t]*$"),
        no_line_of_blanks,
    ),
    Difference(
        "oddities 8: a message for nobody is refused with 100", nobody_is_left, refuse_to_queue
    ),
)


def compared(case: Case, found: Case) -> tuple[Case, Case, list[Difference]]:
    """Return theirs and ours as they must be the same, and which differences were looked over."""
    theirs = {key: case[key] for key in KEYS if key in case}
    mine = {key: found[key] for key in KEYS if key in found}
    used: list[Difference] = []
    for difference in DIFFERENCES:
        if theirs != mine and difference.applies(case, found):
            before = {**theirs}, {**mine}
            difference.edit(theirs, mine)
            used += [difference] if (theirs, mine) != before else []
    return theirs, mine, used


# --- the cases ----------------------------------------------------------------------------------


def recorded() -> list[Case]:
    with open(RECORD, encoding="ascii") as file:
        return [json.loads(line) for line in file]


CASES = recorded()


def played(case: Case) -> Case:
    with open_folder() as folder:
        return ours(case, folder)


@cache
def outcome(number: int) -> tuple[Case, Case, list[Difference]]:
    return compared(CASES[number], played(CASES[number]))


def test_the_record_is_of_the_cases_that_are_made_now() -> None:
    made = list(cases(SEED))
    assert len(made) == COUNT >= 300
    assert [{key: case[key] for key in now} for case, now in zip(CASES, made, strict=True)] == made


@pytest.mark.parametrize("number", range(COUNT))
def test_message_envelope_and_exit_are_as_there(number: int) -> None:
    theirs, found, _used = outcome(number)
    assert found == theirs, CASES[number]


@pytest.mark.parametrize("number", range(0, COUNT, 35))
def test_the_command_does_as_its_core(number: int, tmp_path: Path) -> None:
    case = CASES[number]
    post = Injection(tmp_path)
    del post.environ["USER"]
    (post.home / "control/me").unlink()
    for name, text in case["controls"].items():
        (post.home / "control" / name).write_bytes(text.encode("latin-1"))
    environ = {name: on_command_line(value) for name, value in case["environ"].items()}
    if case["lists"] is not None:
        environ["QMAILMFTFILE"] = str(tmp_path / "lists")
        if case["lists"]:
            (tmp_path / "lists").write_text(case["lists"])
    words = [*case["options"], "-N", "--", *case["arguments"]]
    command = ["qmail-inject", *map(on_command_line, words)]
    ended = post.run(command, case["message"].encode("latin-1"), **environ)
    found = played(case)
    assert ended.code == found["exit"]
    if ended.code == 0:
        message = even(post.message.decode("latin-1"))
        assert found["shown"].partition("\n")[2] == message
        assert even(post.envelope.pack().decode("latin-1")) == found["envelope"]


def on_command_line(text: str) -> str:
    return os.fsdecode(text.encode("latin-1"))


def test_differences_are_few_and_all_of_them_are_seen() -> None:
    used = [outcome(number)[2] for number in range(COUNT)]
    assert {difference.reason for one in used for difference in one} == {
        difference.reason for difference in DIFFERENCES
    }
    assert used.count([]) >= 300


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False))
def test_any_message_is_taken_or_refused_with_a_reason(random: Random) -> None:
    case = make_case(random)
    found = played(case)
    assert found["exit"] in (0, 100), case
    assert found["exit"] == 0 or found["said"], case
    assert "T" not in recipients(found), case
