"""The part of `qmail check` on domains: what the files that name them mean together."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from qmail.core.addresses.owners import Owners
from qmail.core.cdb import Cdb, CdbError
from qmail.core.freshness import Freshness, freshness
from qmail.core.local.dotqmail import candidates, safe_ext
from qmail.core.settings.controls import (
    ControlError,
    ReadFile,
    control_reader,
    entries,
    load,
    parse_domains,
    split_lines,
)
from qmail.core.settings.local import LocalControls
from qmail.core.settings.programs import parse_virtualdomains
from qmail.core.smtp.relay import MORE_HOSTS, Recipients, more_hosts_of
from qmail.edge.machine.accounts import Accounts
from qmail.edge.machine.passwd import Machine
from qmail.protocol.local_door import Owner
from qmail.utilities.check_report import Report

VIRTUAL: Final = "control/virtualdomains"


def check_domains(report: Report, home: str, accounts: Accounts) -> None:
    """Report what is missing, what contradicts itself, and what leads nowhere."""
    read_file = control_reader(home)
    if _listed(read_file, "me") is None:
        report.error("control/me is missing: write the name of this host into it")
    local = _listed(read_file, "locals")
    if local is None:
        report.note("control/locals is missing: only the name in control/me is local")
        local = _listed(read_file, "me")
    virtual = list(_counting(report, local or frozenset(), list(_virtual_lines(read_file))))
    _check_more_hosts(report, home)
    _check_accepted(report, home, local or frozenset(), virtual)
    _check_prepends(report, home, accounts, virtual)


def _listed(read_file: ReadFile, name: str) -> frozenset[bytes] | None:
    """Return a list of domains; None where the file is missing, empty where it is bad."""
    try:
        raw = read_file(name)
        return None if raw is None else parse_domains(name, split_lines(raw))
    except (ControlError, OSError):
        # The check of the control files has words for this.
        return frozenset()


@dataclass(frozen=True, slots=True)
class _VirtualLine:
    number: int
    key: bytes
    prepend: bytes

    @property
    def domain(self) -> bytes:
        """The domain of the key, also where that is an address; with a dot for all below it."""
        return self.key.rpartition(b"@")[2]

    @property
    def local(self) -> bytes:
        """What each local part that the line makes starts with; all of it for an address."""
        return self.prepend + b"-" + self.key.rpartition(b"@")[0]

    def __str__(self) -> str:
        return f'{VIRTUAL}:{self.number}: "{_shown(self.key)}"'


def _virtual_lines(read_file: ReadFile) -> Iterator[_VirtualLine]:
    try:
        raw = read_file("virtualdomains")
    except (ControlError, OSError):
        return
    for line in entries(split_lines(raw or b"")):
        try:
            found = parse_virtualdomains("virtualdomains", [line])
        except ControlError:
            continue
        for key, prepend in found.items():
            yield _VirtualLine(line.number, key, prepend)


def _shown(text: bytes) -> str:
    return text.decode("ascii", "replace")


# --- what comes in ------------------------------------------------------------------------------


def _check_more_hosts(report: Report, home: str) -> None:
    source = f"{home}/control/{MORE_HOSTS}"
    try:
        found = freshness(f"{source}.cdb", source)
        if found in (Freshness.FRESH, Freshness.STALE, Freshness.ALONE):
            with Cdb(f"{source}.cdb") as cdb:
                report.fine(f"{sum(1 for _ in cdb.items())} more domains")
    except CdbError as wrong:
        report.error(f"{wrong}: run qmail-newmrh; until then clients are sent away with 421")
        return
    except OSError as trouble:
        report.error(f"{source}.cdb: {trouble.strerror}: clients are sent away with 421")
        return
    if found is Freshness.STALE:
        report.warning(f"control/{MORE_HOSTS}.cdb is older than its source: run qmail-newmrh")
    elif found is Freshness.MISSING:
        report.warning(f"control/{MORE_HOSTS} counts for nothing yet: run qmail-newmrh")
    elif found is Freshness.ALONE:
        report.note(f"control/{MORE_HOSTS}.cdb counts, its source control/{MORE_HOSTS} is gone")


def _check_accepted(
    report: Report, home: str, local: frozenset[bytes], virtual: list[_VirtualLine]
) -> None:
    """Note the domains of this host that no mail from outside is taken for."""
    hosts = _listed(control_reader(home), "rcpthosts")
    if hosts is None:
        report.note("control/rcpthosts is missing: mail comes in from relay clients only")
        if os.path.exists(f"{home}/control/{MORE_HOSTS}.cdb"):
            report.warning(
                f"control/{MORE_HOSTS}.cdb counts only beside control/rcpthosts: make that file,"
                " it may be empty"
            )
        return
    taken = Recipients(hosts, None, frozenset, more_hosts_of(home))
    asked = [(f"{_shown(domain)} is local and", domain) for domain in sorted(local)]
    asked += [(f"{line} is", line.domain) for line in virtual if line.prepend and line.domain]
    for what, domain in asked:
        try:
            is_taken = taken.is_ours(domain)
        except (CdbError, OSError):
            # The check of that file has words for this.
            return
        if not is_taken:
            report.note(f"{what} not in control/rcpthosts: no mail for it from outside")


# --- where it goes ------------------------------------------------------------------------------


def _counting(
    report: Report, local: frozenset[bytes], virtual: list[_VirtualLine]
) -> Iterator[_VirtualLine]:
    """Report the lines of virtualdomains that never count; yield the others."""
    last = {line.key: line.number for line in virtual}
    for line in virtual:
        if line.domain in local:
            report.warning(
                f"{line} is never asked for: {_shown(line.domain)} is local; remove one of them"
            )
        elif last[line.key] != line.number:
            report.warning(f"{line} counts for nothing: line {last[line.key]} says it again")
        else:
            yield line


def _check_prepends(
    report: Report, home: str, accounts: Accounts, virtual: list[_VirtualLine]
) -> None:
    """Report lines of virtualdomains all of whose mail bounces."""
    try:
        break_ = load(LocalControls, control_reader(home)).break_
    except (ControlError, OSError):
        return
    owners = Owners(home, Machine(), accounts.sole, break_)
    folder = os.fsencode(f"{home}/alias")
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for line in virtual:
        owner = owners.find(line.local).owner if line.prepend else None
        # What another account makes of it is that account's business: nobody looks into its home.
        if owner is not None and owner.home == folder and _is_nobody(owner, line, names):
            prepend = _shown(line.prepend)
            report.warning(
                f"{line} goes to {prepend}-..., which is nobody's: there is no such account, and"
                f" no .qmail-{prepend}-... in {home}/alias: its mail bounces; make one of them,"
                " or mend the line"
            )


def _is_nobody(owner: Owner, line: _VirtualLine, names: list[bytes]) -> bool:
    """Say whether none of `names`, those of alias's files, takes any mail of the line."""
    if any(candidate.name in names for candidate in candidates(owner.dash, owner.ext)):
        return False
    start = b".qmail" + owner.dash + safe_ext(owner.ext)
    return not (line.local.endswith(b"-") and any(name.startswith(start) for name in names))
