"""The part of `qmail check` on users/: is users/cdb what users/assign says, and can it be used."""

import os
import stat
from collections.abc import Iterator
from typing import Final

from qmail.core.addresses.assign import (
    ASSIGN,
    WILDCHARS_KEY,
    AssignError,
    Assignment,
    assignments,
    key_shown,
    lines_of,
    unpack_owner,
)
from qmail.core.addresses.owners import CDB
from qmail.core.cdb import Cdb, CdbError
from qmail.core.freshness import Freshness, freshness
from qmail.edge.machine.accounts import Accounts
from qmail.utilities.check_report import Report

SHOWN_MAX: Final = 5
"""Of many lines with the same fault only so many are named."""


def check_users(report: Report, home: str, accounts: Accounts) -> None:
    """Look at users/assign and users/cdb; without them there is nothing to say."""
    before = len(report.findings)
    try:
        found = freshness(f"{home}/{CDB}", f"{home}/{ASSIGN}")
    except OSError as trouble:
        report.note(f"{home}/users: {trouble.strerror}: run this as root to have it checked")
        return
    if found in (Freshness.FRESH, Freshness.STALE, Freshness.MISSING):
        _check_assign(report, home, accounts)
    if found is Freshness.STALE:
        report.warning(f"{CDB} is older than {ASSIGN}: run qmail-newu")
    elif found is Freshness.MISSING:
        report.warning(f"{ASSIGN} counts for nothing yet: run qmail-newu")
    elif found is Freshness.ALONE:
        report.note(f"{CDB} counts, its source {ASSIGN} is gone")
    if found in (Freshness.FRESH, Freshness.STALE, Freshness.ALONE):
        count = _check_cdb(report, home, accounts)
        if len(report.findings) == before:
            report.fine(f"{count} assignments")


# --- users/assign -------------------------------------------------------------------------------

NEVER: Final = "ends in an upper-case letter: no address is ever found by it"
TWICE: Final = "is there before: the first of equal lines counts"
ROOT: Final = "belongs to root: its mail waits and is never delivered"
OTHERS: Final = "names another account than the one that runs this home: it does not count"


def _check_assign(report: Report, home: str, accounts: Accounts) -> None:
    """Report the line that stops qmail-newu, or those that do not do what they seem to say."""
    doubts: dict[str, list[str]] = {}
    seen: set[bytes] = set()
    try:
        with open(f"{home}/{ASSIGN}", "rb") as file:
            for one in assignments(lines_of(file)):
                key = one.record[0]
                shown = key_shown(key).decode("ascii", "replace")
                for doubt in _doubts(one, accounts, is_new=key not in seen):
                    doubts.setdefault(doubt, []).append(f"{ASSIGN}:{one.number}: {shown} {doubt}")
                seen.add(key)
    except AssignError as wrong:
        report.error(f"{wrong}: mend it, then run qmail-newu")
    except OSError as trouble:
        report.note(f"{home}/{ASSIGN}: {trouble.strerror}: run this as root to have it checked")
    for found in doubts.values():
        for line in found[:SHOWN_MAX]:
            report.warning(line)
        if len(found) > SHOWN_MAX:
            report.warning(f"{ASSIGN}: {len(found) - SHOWN_MAX} more such lines")


def _doubts(one: Assignment, accounts: Accounts, *, is_new: bool) -> Iterator[str]:
    uid = unpack_owner(one.record[1]).uid
    if one.is_wildcard and one.local[-1:].isupper():
        yield NEVER
    if not is_new:
        yield TWICE
    if uid == 0:
        yield ROOT
    elif accounts.sole is not None and uid != accounts.sole[0]:
        yield OTHERS


# --- users/cdb ----------------------------------------------------------------------------------


def _check_cdb(report: Report, home: str, accounts: Accounts) -> int:
    """Read all of users/cdb as the programs may have to. Returns the number of assignments."""
    path = f"{home}/{CDB}"
    count, has_wildchars = 0, False
    wrong: list[str] = []
    try:
        _check_mode(report, path, accounts)
        with Cdb(path) as cdb:
            for key, data in cdb.items():
                if key == WILDCHARS_KEY:
                    has_wildchars = True
                else:
                    count += 1
                    wrong += _wrong_with(key, data)
    except (CdbError, OSError) as trouble:
        what = str(trouble) if isinstance(trouble, CdbError) else f"{path}: {trouble.strerror}"
        report.error(f"{what}: all local mail waits until qmail-newu has made it anew")
        return count
    for what in wrong[:SHOWN_MAX]:
        report.error(f"{path}: {what}: its mail waits: run qmail-newu")
    if not has_wildchars:
        report.error(f"{path} was not made by qmail-newu: all local mail waits: run qmail-newu")
    return count


def _check_mode(report: Report, path: str, accounts: Accounts) -> None:
    """Whoever writes this file says who runs what. Raises: OSError: it can't be looked at."""
    found = os.stat(path)
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        report.error(f"{path} can be written by others: run 'chmod go-w {path}'")
    if accounts.separate and found.st_uid != 0:
        report.error(f"{path} does not belong to root: run 'chown root {path}'")
    if accounts.separate and not found.st_mode & stat.S_IROTH:
        report.error(f"{path} is closed to qmailp: all local mail waits: run 'chmod a+r {path}'")


def _wrong_with(key: bytes, data: bytes) -> list[str]:
    try:
        unpack_owner(data)
    except ValueError as wrong:
        return [f"{key_shown(key).decode('ascii', 'replace')} is a wrong record: {wrong}"]
    return []
