"""The part of `qmail check` on the alias table: is it there and new, and does it count."""

import os
from collections.abc import Iterator
from typing import Final

from qmail.core.addresses.users import ALIAS, LookupTroubleError, owner_of
from qmail.core.aliases.forward_order import READABLE, read_order
from qmail.core.aliases.forward_table import stored_entries
from qmail.core.cdb import Cdb, CdbError
from qmail.core.freshness import Freshness, freshness
from qmail.core.local.dotqmail import DOTQMAIL_BYTES_MAX, Program, parse
from qmail.core.shell_words import simple_words
from qmail.core.whole_files import read_whole
from qmail.edge.machine.accounts import Accounts
from qmail.edge.machine.passwd import Machine
from qmail.protocol.options import OptionError
from qmail.utilities.check_report import Report

DEFAULT_FILE: Final = "alias/.qmail-default"
COMMAND: Final = b"fastforward"
SHOWN_MAX: Final = 5
LOOKED_UP_MAX: Final = 2000
"""Of so many names it is asked whether they are accounts: a directory service may be slow."""


def check_aliases(report: Report, home: str, accounts: Accounts) -> None:
    """Look at every table that alias/.qmail-default asks; without one there is nothing to say."""
    before = len(report.findings)
    try:
        tables = list(tables_of(f"{home}/{DEFAULT_FILE}"))
    except FileNotFoundError:
        return
    except OSError as trouble:
        report.note(f"{home}/{DEFAULT_FILE}: {(trouble.strerror or '').lower()}: not looked at")
        return
    for table in tables:
        _check_table(report, home, os.path.join(home, "alias", table), accounts)
    if tables and len(report.findings) == before:
        report.fine("the alias table")


def tables_of(file: str) -> Iterator[str]:
    """Yield the tables that the lines of a `.qmail` file have fastforward look names up in.

    Raises: OSError: it can't be read.
    """
    text, _ = read_whole(file, DOTQMAIL_BYTES_MAX, follows_links=False)
    for line in parse(text, forward_only=False):
        words = simple_words(line.command, {}) if isinstance(line, Program) else None
        if words is not None and os.path.basename(words[0]) == COMMAND:
            try:
                yield read_order([os.fsdecode(word) for word in words[1:]]).table
            except OptionError:
                continue


def _check_table(report: Report, home: str, path: str, accounts: Accounts) -> None:
    source = path.removesuffix(".cdb")
    advice = f"run 'newaliases {source}'"
    try:
        found = freshness(path, source) if source != path else Freshness.ALONE
        if found in (Freshness.MISSING, Freshness.NEITHER):
            report.error(f"{path} is missing, and {DEFAULT_FILE} asks it: mail waits: {advice}")
            return
        if found is Freshness.STALE:
            report.warning(f"{path} is older than {source}: {advice}")
        _check_open(report, path)
        with Cdb(path) as table:
            records = list(table.items())
    except (OSError, CdbError) as trouble:
        report.error(f"{path}: {trouble}: mail that asks it waits: {advice}")
        return
    _check_lists(report, home, records)
    _check_names(report, source, _shadowed(home, records, accounts))


def _check_open(report: Report, path: str) -> None:
    if os.stat(path).st_mode & READABLE != READABLE:
        report.error(f"{path} is not for everybody to read: run 'chmod a+r {path}'")


def _check_lists(report: Report, home: str, records: list[tuple[bytes, bytes]]) -> None:
    """Report lists that deliveries would not find, or find old."""
    files = {
        os.path.join(home, "alias", os.fsdecode(entry))
        for key, data in records
        if key.startswith(b":")
        for entry in stored_entries(data)
        if entry[:1] in (b".", b"/")
    }
    for path in sorted(files):
        source = path.removesuffix(".bin")
        advice = f"run 'newinclude {source}'"
        try:
            found = freshness(path, source)
            if found in (Freshness.MISSING, Freshness.NEITHER):
                report.error(f"{path} is missing: mail for that list waits: {advice}")
                continue
            if found is Freshness.STALE:
                report.warning(f"{path} is older than {source}: {advice}")
            _check_open(report, path)
        except OSError as trouble:
            report.note(f"{path}: {(trouble.strerror or '').lower()}: not looked at")


def _check_names(report: Report, source: str, shadowed: dict[str, str]) -> None:
    """Say which entries never count, because something else has the name."""
    for name, why in list(shadowed.items())[:SHOWN_MAX]:
        report.note(f"the entry {name} of {source} does not count: {why}")
    if len(shadowed) > SHOWN_MAX:
        report.note(f"{len(shadowed) - SHOWN_MAX} more such entries; 'qmail explain' says of each")


def _shadowed(home: str, records: list[tuple[bytes, bytes]], accounts: Accounts) -> dict[str, str]:
    found = {}
    machine = Machine()
    for key, _ in records[:LOOKED_UP_MAX]:
        name = key[1:-1]
        if not key.startswith(b":") or not key.endswith(b"@") or b"@" in name:
            continue
        shown = name.decode("ascii", "replace")
        file = f"{home}/alias/.qmail-{os.fsdecode(name).replace('.', ':')}"
        if b"/" not in name and os.path.lexists(file):
            found[shown] = f"{file} comes first"
        elif accounts.separate and (user := _account_of(machine, name)):
            found[shown] = f"the account {user} has that name, and its own files decide"
    return found


def _account_of(machine: Machine, name: bytes) -> str:
    """Return the account that a name belongs to, "" where that is alias or not known."""
    try:
        user = owner_of(name, machine).user
    except LookupTroubleError:
        return ""
    return "" if user == ALIAS else user.decode("ascii", "replace")
