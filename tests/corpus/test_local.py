"""Plays the cases of local.jsonl, in which another qmail has decided, and compares ours.

A decision is: how it exits, what is done in which order, where the message goes and in which form,
what programs are told, which status code an error has. Texts of errors are our own. What differs on
purpose is in DIFFERENCES, with its reason; everything else must be the same.
"""

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.corpus.generate_local import Case, home_case, owner_case, route_case
from tests.corpus.stage import FIXED_HOMES, HOMES, UID, Stage, as_bytes
from tests.fakes.homes import open_folder

from qmail.core.addresses.assign import AssignError, assignments, records
from qmail.core.addresses.owners import Owners
from qmail.core.addresses.pw2u import StoppedError, assign_lines
from qmail.core.addresses.routing import route, routes_from, verp_sender
from qmail.core.addresses.users import answer_for
from qmail.core.cdb import write_cdb
from qmail.core.local.dotqmail import candidates
from qmail.core.local.quick_delivery import QuickDelivery
from qmail.core.local.route import local_route, wrong_with_recipient
from qmail.core.settings.controls import load
from qmail.core.settings.programs import SendControls
from qmail.mail import Channel
from qmail.programs import local
from qmail.protocol.exits import Exit
from qmail.protocol.local_door import Owner, Target, Task
from qmail.protocol.local_exits import LocalExit, program_exit
from qmail.utilities import pw2u

RECORD = Path(__file__).with_name("local.jsonl")
STALE = "stale"
_STATUS = re.compile(r"^.*\((#\d\.\d\.\d)\).*$", re.MULTILINE)
_WARNING = re.compile(r"^.*warning: .*\n", re.MULTILINE | re.IGNORECASE)


def recorded(kind: str) -> list[Case]:
    with open(RECORD, encoding="ascii") as file:
        found = [json.loads(line) for line in file]
    return [case for case in found if case["kind"] == kind]


def test_there_are_enough_cases_of_every_kind() -> None:
    assert len(recorded("home")) >= 300
    assert sum(len(case["asks"]) for case in recorded("owner")) >= 300
    assert sum(len(case["mails"]) for case in recorded("route")) >= 300


# --- what differs on purpose --------------------------------------------------------------------


def governing(case: Case) -> str:
    """Return the text of the `.qmail` file that we go by, "" where there is none."""
    files = {as_bytes(file["name"]): file for file in case["files"]}
    for candidate in candidates(as_bytes(case["dash"]), as_bytes(case["ext"])):
        file = files.get(candidate.name, {"kind": ""})
        if file["kind"] == "file":
            return str(file["text"])
    return ""


def lines(case: Case) -> list[str]:
    text = governing(case) or case["default"]
    return [line.rstrip(" \t") for line in text.split("\n")]


def bare_user_has_a_default(case: Case) -> bool:
    return not case["dash"] + case["ext"] and ".qmaildefault" in [
        file["name"] for file in case["files"]
    ]


def stale_default_is_said(case: Case) -> bool:
    return "DEFAULT" in case["inherited"] and any("$DEFAULT" in line for line in lines(case))


Both = tuple[Case, Case]
"""What was decided with -n, and without."""


class Difference(NamedTuple):
    """Where we decide otherwise: in which cases, and what may come of it (ours, theirs)."""

    reason: str
    applies: Callable[[Case], bool]
    allows: Callable[[Both, Both], bool]


def same_exits(found: Both, theirs: Both) -> bool:
    return [part["exit"] for part in found] == [part["exit"] for part in theirs]


def default_is_passed_over(found: Both, _theirs: Both) -> bool:
    return ".qmaildefault" not in found[0]["said"]


def nobody_is_left_out(found: Both, theirs: Both) -> bool:
    there: str = theirs[0]["said"]
    count = there.count("forward \n")
    text = re.sub(
        r"^did (\d+)\+(\d+)",
        lambda match: f"did {match[1]}+{int(match[2]) - count}",
        there.replace("forward \n", ""),
        flags=re.MULTILINE,
    )
    return bool(found[0]["said"] == text)


def it_is_put_off(found: Both, _theirs: Both) -> bool:
    return bool(found[0]["exit"] == 111)


DIFFERENCES = (
    Difference(
        "oddities 7: a bare user has no .qmaildefault",
        bare_user_has_a_default,
        default_is_passed_over,
    ),
    Difference(
        "oddities 7: a lone & is blank", lambda case: "&" in lines(case), nobody_is_left_out
    ),
    Difference("oddities 7: a stale DEFAULT is not inherited", stale_default_is_said, same_exits),
    Difference(
        "oddities 1, NUL bytes: a line cut off by one may not be obeyed in part",
        lambda case: any("\0" in line and line[0] != "#" for line in lines(case)),
        it_is_put_off,
    ),
    Difference(
        "a folder without tmp and new is no maildir (#4.2.1), not a disk in trouble (#4.3.0)",
        lambda case: "./" in lines(case),
        same_exits,
    ),
)


def differences(case: Case) -> list[Difference]:
    return [difference for difference in DIFFERENCES if difference.applies(case)]


# --- homes --------------------------------------------------------------------------------------


Act = Callable[[list[bytes]], int]
"""A qmail-local: takes the arguments, the message on 0; says on 1 and returns how it went."""


def play(stage: Stage, act: Act) -> Case:
    """Run one of our qmail-locals in a process of its own, as whoever owns the home."""
    output = os.memfd_create("output")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            _take_place(stage, output)
            code = act(stage.arguments())
            sys.stderr.flush()
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    said = os.pread(output, 1 << 20, 0)
    os.close(output)
    return {"exit": code, "said": stage.even(said)}


def _take_place(stage: Stage, output: int) -> None:
    os.dup2(os.open(stage.message, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    os.umask(0o077)
    os.environ.clear()
    os.environ.update(stage.environment())
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(UID, UID, UID)
        os.setresuid(UID, UID, UID)


def classic(words: list[bytes]) -> int:
    return local.main(["--", *map(os.fsdecode, words)])


def classic_dry(words: list[bytes]) -> int:
    return local.main(["-n", "--", *map(os.fsdecode, words)])


SLOW = 42
EXITS = {b"K": 0, b"D": 100, b"Z": 111}


def resident(words: list[bytes]) -> int:
    """Deliver as the resident one does where all lines are maildirs; SLOW: it would pass it on."""
    user, home, local_part, dash, ext, domain, sender, default = words
    target = Target(user, home, local_part, dash, ext, domain)
    quick = QuickDelivery(default)
    reports, slow = quick.begin([(Task(1, sender, target.pack()), 0)])
    while not quick.is_idle:
        reports += quick.step()
    if slow:
        return SLOW
    ((_serial, report),) = reports
    os.write(1, report[1:])
    return EXITS[report[:1]]


def our_delivery(case: Case) -> Case:
    with open_folder() as folder:
        stage = Stage(folder, case)
        dry = play(stage, classic_dry)
        done = play(stage, classic)
        return {"dry": dry, "done": {**done, **stage.outcome()}}


def decisions(found: Case) -> Both:
    """Return the parts of an outcome, reports reduced to what was decided: errors to a status."""
    both = found["dry"], found["done"]
    for part in both:
        part["said"] = _STATUS.sub(r"\1", _WARNING.sub("", part["said"]))
    variables = found["done"].get("env", {})
    if variables.get("DEFAULT") == STALE:
        # Oddities 7: it is not inherited.
        del variables["DEFAULT"]
    return both


HOME_CASES = recorded("home")


@pytest.mark.parametrize("case", HOME_CASES, ids=lambda case: str(case["number"]))
def test_deliveries_are_decided_as_there(case: Case) -> None:
    found = decisions(our_delivery(case))
    theirs = decisions(case)
    assert found == theirs or any(
        difference.allows(found, theirs) for difference in differences(case)
    )


@pytest.mark.parametrize("case", HOME_CASES, ids=lambda case: str(case["number"]))
def test_the_resident_decides_as_the_command(case: Case) -> None:
    with open_folder() as folder:
        stage = Stage(folder, case)
        found = play(stage, resident)
        if found["exit"] == SLOW:
            assert not stage.outcome()["maildir"]
            return
        outcome = {"dry": {"said": ""}, "done": {**found, **stage.outcome()}}
    if not differences(case):
        assert decisions(outcome)[1] == decisions(case)[1]


def test_every_exit_code_of_a_program_means_what_it_means_there() -> None:
    (case,) = recorded("exits")
    assert len(case["exits"]) == 256
    for code, (exit_there, went_on) in enumerate(case["exits"]):
        meaning = program_exit(code)
        ours = Exit.OK if meaning is Exit.STOP else meaning
        assert (ours, meaning is Exit.OK) == (exit_there, went_on), code


def test_differences_are_few_and_all_of_them_are_seen() -> None:
    found = [difference for case in HOME_CASES for difference in differences(case)]
    assert set(found) == set(DIFFERENCES)
    assert len([case for case in HOME_CASES if not differences(case)]) >= 270


# --- owners -------------------------------------------------------------------------------------


class CaseDirectory:
    """The accounts of a case, and who owns their homes."""

    def __init__(self, case: Case) -> None:
        self._accounts = {as_bytes(account["name"]): account for account in case["accounts"]}

    def account(self, name: bytes) -> Owner | None:
        if name == b"root":
            return Owner(b"root", 0, 0, b"/root", b"", b"")
        found = self._accounts.get(name)
        if found is None:
            return None
        return Owner(name, found["uid"], found["gid"], home_of(name), b"", b"")

    def folder_owner(self, path: bytes) -> int | None:
        owner: int | None = self._accounts[path.rpartition(b"/")[2]]["home_of"]
        return owner


def home_of(name: bytes) -> bytes:
    return as_bytes(f"{FIXED_HOMES}/") + name


def waits_for_a_home(case: Case, recipient: str) -> bool:
    """Oddities 7: the home of a person that is not there, or root's, may be an unmounted disk."""
    lowered = recipient.lower()
    return any(
        1000 <= account["uid"] < 65534
        and account["home_of"] in (None, 0)
        and len(account["name"]) < 32
        and f"{lowered}-".startswith(f"{account['name']}-")
        for account in case["accounts"]
    )


@pytest.mark.parametrize("case", recorded("owner"), ids=lambda case: str(case["number"]))
def test_owners_are_found_as_there(case: Case, tmp_path: Path) -> None:
    directory = CaseDirectory(case)
    owners = Owners(str(tmp_path), directory)
    assert cdb_of(case, tmp_path) == case["cdb"]
    for ask, answer in zip(case["asks"], case["answers"], strict=True):
        local_part = ask["recipient"].rpartition("@")[0]
        found = answer_for(as_bytes(local_part), directory)
        if found.code == LocalExit.HOME_TROUBLE:
            assert waits_for_a_home(case, local_part), ask
            continue
        assert found.code == answer["getpw"]["exit"], ask
        if found.owner is not None:
            fields = found.owner.pack().decode("latin-1").split("\0")[:-1]
            assert fields == placed(answer["getpw"]["fields"]), ask
        assert our_lspawn(ask, owners) == {**answer["lspawn"], "told": told(answer)}, ask


def cdb_of(case: Case, home: Path) -> str | None:
    """Make users/cdb; return its hash."""
    (home / "users").mkdir()
    if case["assign"] is None:
        return None
    (text,) = placed([case["assign"]])
    path = home / "users" / "cdb"
    found = records(assignments(as_bytes(text).splitlines(keepends=True)))
    write_cdb(str(path), f"{path}.tmp", found)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def placed(texts: list[str]) -> list[str]:
    return [text.replace(HOMES, FIXED_HOMES) for text in texts]


def told(answer: Case) -> list[str]:
    """Return what the other qmail-local was told: uid, gid, then its arguments."""
    found = placed(answer["lspawn"]["told"])
    if not found:
        return []
    uid, gid, groups, dashes, *words = found
    assert (groups, dashes, words.pop()) == (gid, "--", "DEFAULT")
    return [uid, gid, *words]


def our_lspawn(ask: Case, owners: Owners) -> Case:
    recipient = as_bytes(ask["recipient"])
    wrong = wrong_with_recipient(recipient)
    found = wrong or local_route(owners.find(recipient.rpartition(b"@")[0]), recipient)
    if isinstance(found, bytes):
        return {"letter": chr(found[0]), "told": []}
    (uid, gid), packed = found
    target = Target.unpack(packed)
    fields = (target.user, target.home, target.local, target.dash, target.ext, target.domain)
    words = [field.decode("latin-1") for field in fields]
    return {"letter": "K", "told": [str(uid), str(gid), *words, ask["sender"]]}


# --- users/assign from accounts -----------------------------------------------------------------


@pytest.mark.parametrize("case", recorded("pw2u"), ids=lambda case: str(case["number"]))
def test_accounts_become_the_same_lines_as_there(case: Case, tmp_path: Path) -> None:
    (tmp_path / "users").mkdir()
    for name, text in case["files"].items():
        (tmp_path / "users" / name).write_bytes(as_bytes(text))
    if case["exit"] == 111:
        with pytest.raises((AssignError, StoppedError)):
            our_lines(case, tmp_path)
        return
    appended = case["files"].get("append", "")
    (expected,) = placed([case["lines"]])
    assert our_lines(case, tmp_path) + appended + ".\n" == expected


def our_lines(case: Case, home: Path) -> str:
    rules = pw2u.read_rules(str(home), pw2u.choices(case["options"]))
    found = assign_lines(passwd(case), rules, CaseDirectory(case))
    return b"".join(found).decode("latin-1")


def passwd(case: Case) -> list[bytes]:
    return [
        as_bytes(f"{one['name']}:x:{one['uid']}:{one['gid']}::{FIXED_HOMES}/{one['name']}:/bin/x\n")
        for one in case["accounts"]
    ]


# --- routes -------------------------------------------------------------------------------------


def our_route(case: Case, mail: Case) -> Case:
    files = {name: as_bytes(text) for name, text in case["controls"].items()}
    routes = routes_from(load(SendControls, files.get))
    channel, address = route(as_bytes(mail["recipient"]), routes)
    return {
        "channel": "local" if channel is Channel.LOCAL else "remote",
        "sender": verp_sender(as_bytes(mail["sender"]), address).decode("latin-1"),
        "address": address.decode("latin-1"),
    }


@pytest.mark.parametrize("case", recorded("route"), ids=lambda case: str(case["number"]))
def test_routes_are_as_there(case: Case) -> None:
    for mail, expected in zip(case["mails"], case["routes"], strict=True):
        assert our_route(case, mail) == expected, mail


# --- cases that nobody has decided before -------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False))
def test_any_home_gives_one_of_three_exits_and_nothing_half_done(random: Random) -> None:
    case = home_case(random)
    found = our_delivery(case)
    for part in (found["dry"], found["done"]):
        assert part["exit"] in (0, 100, 111), case
        assert "Traceback" not in part["said"], case
    done = found["done"]
    assert not [name for name in done["maildir"] if not name.startswith("new/")], case
    if done["queued"]:
        # Forwards come last: nothing that may not be obeyed stands in the file.
        assert done["exit"] == 0 or case["queue_exit"] != 0, case


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False))
def test_any_recipient_has_an_answer(random: Random) -> None:
    case = owner_case(random)
    for ask in case["asks"]:
        found = answer_for(as_bytes(ask["recipient"]), CaseDirectory(case))
        assert (found.owner is None) == (found.code != 0)


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False))
def test_any_address_has_a_route_and_keeps_its_domain_or_what_percenthack_makes_of_it(
    random: Random,
) -> None:
    case = route_case(random)
    for mail in case["mails"]:
        found = our_route(case, mail)
        assert "@" in found["address"]
        assert found["channel"] in ("local", "remote")
