"""The part of `qmail check` that looks at what runs: who is whom, which ports are whose."""

import grp
import os
import pwd
import stat
from collections.abc import Sequence
from typing import Final

from qmail.core.settings.controls import ControlError, control_reader, load
from qmail.core.settings.places import DOORS
from qmail.core.settings.programs import Listener, LogControls, StartControls
from qmail.edge.machine.accounts import ACCOUNT_GROUPS, Accounts
from qmail.edge.machine.processes import (
    ListeningSocket,
    Process,
    holder_of,
    listening_sockets,
    processes_of,
    socket_inodes,
)
from qmail.edge.tls.certificate import certificate_files
from qmail.utilities.check_descriptors import check_descriptors
from qmail.utilities.check_report import Report

RUNS_AS: Final = {
    "qmail-start": "root",
    "qmail-lspawn": "root",
    "qmail-send": "qmails",
    "qmail-queue": "qmailq",
    "qmail-clean": "qmailq",
    "qmail-rspawn": "qmailr",
    "qmail-verify": "qmailp",
    "qmail-smtpd": "qmaild",
    "qmail-pspawn": "root",
    "qmail-popup": "qmaild",
    "qmail-log": "qmaill",
}
"""Account of each resident program (spec/programs.md 0)."""
NAMES: Final = frozenset(RUNS_AS) | {"qmail-local", "qmail-remote"}
PORT_ROOT_ONLY_BELOW: Final = 1024
UNPRIVILEGED: Final = "/proc/sys/net/ipv4/ip_unprivileged_port_start"


def check_accounts(report: Report, accounts: Accounts) -> None:
    """No account is root by another name, none is two at once, each has its group."""
    if not accounts.separate:
        name = _user(accounts["alias"].uid)
        report.note(f"everything runs under one account, {name}; root gives each program its own")
        return
    before = len(report.findings)
    seen: dict[int, str] = {0: "root"}
    for name, group in ACCOUNT_GROUPS.items():
        entry = pwd.getpwnam(name)
        if entry.pw_uid in seen:
            report.error(f"account {name} is {seen[entry.pw_uid]} by another name: give it a uid")
        seen[entry.pw_uid] = name
        if entry.pw_gid != grp.getgrnam(group).gr_gid:
            report.error(f"account {name} is not in group {group}: run 'usermod -g {group} {name}'")
    if len(report.findings) == before:
        report.fine(f"{len(ACCOUNT_GROUPS)} accounts")


def check_running(report: Report, home: str, accounts: Accounts) -> None:
    """Compare what runs for this home with the table of accounts, and its ports with control/."""
    ours = processes_of(home, NAMES)
    before = len(report.findings)
    if accounts.separate and os.geteuid() != 0:
        report.note("only root sees who runs as whom: run this as root")
    for process in ours:
        _check_process(report, accounts, process, ours)
    running = any(process.program == "qmail-start" for process in ours)
    if running:
        for name in set(RUNS_AS) - {process.program for process in ours} - _not_needed(home):
            report.error(f"{name} does not run: the log of qmail-start says why")
        _check_doors(report, home, accounts)
    _check_ports(report, home, ours, running=running)
    _check_deliveries(report, ours, processes_of(home, NAMES))
    residents = {one.program: one for one in ours if not _is_delivery(one, ours)}
    check_descriptors(report, home, residents)
    if running and len(report.findings) == before:
        report.fine(f"{len(ours)} processes, each under its account")
    elif not running:
        report.fine("not running")


def _not_needed(home: str) -> set[str]:
    services = {listener.service for listener in _listeners(home)}
    if certificate_files(home) is None:
        services.discard("pop3s")
    found = set() if "smtp" in services else {"qmail-smtpd"}
    if not services & {"pop3", "pop3s"}:
        found |= {"qmail-pspawn", "qmail-popup"}
    return found if _has_logger(home) else {*found, "qmail-log"}


def _has_logger(home: str) -> bool:
    try:
        return load(LogControls, control_reader(home)).log.needs_logger
    except (ControlError, OSError):
        return False


def _check_process(
    report: Report, accounts: Accounts, process: Process, ours: Sequence[Process]
) -> None:
    name = f"{process.program} (pid {process.pid})"
    if _is_delivery(process, ours) or _is_session(process, ours):
        return
    account = RUNS_AS.get(process.program)
    if account is None:
        if 0 in process.uids:
            report.error(f"{name} runs as root: stop it, and look at who started it")
        return
    wanted = accounts["alias"].uid if not accounts.separate else 0
    if accounts.separate and account != "root":
        wanted = accounts[account].uid
        gid = accounts[account].gid
        if (process.gids | process.groups) - {gid}:
            groups = ", ".join(map(str, sorted(process.gids | process.groups)))
            report.error(f"{name} has groups {groups} instead of {gid}: restart qmail-start")
    if process.uids != {wanted}:
        users = ", ".join(_user(uid) for uid in sorted(process.uids))
        report.error(f"{name} runs as {users} instead of {_user(wanted)}: restart qmail-start")


def _check_doors(report: Report, home: str, accounts: Accounts) -> None:
    has_logins = "qmail-pspawn" not in _not_needed(home)
    for name, (owner, mode) in DOORS.items():
        if name == "login" and not has_logins:
            continue
        try:
            found = os.stat(f"{home}/run/{name}")
        except OSError as trouble:
            report.error(f"run/{name}: {trouble.strerror}: restart qmail-start")
            continue
        wanted = accounts[owner].uid
        if (found.st_uid, found.st_mode) != (wanted, stat.S_IFSOCK | mode):
            report.error(
                f"run/{name} is not a socket of {_user(wanted)} with mode {mode:04o}:"
                " restart qmail-start"
            )


def _is_forked_by(spawner: str, process: Process, ours: Sequence[Process]) -> bool:
    return process.parent in {one.pid for one in ours if one.program == spawner}


def _is_delivery(process: Process, ours: Sequence[Process]) -> bool:
    """Say whether qmail-lspawn forked it: to deliver under an account, or to look one up."""
    return _is_forked_by("qmail-lspawn", process, ours)


def _is_session(process: Process, ours: Sequence[Process]) -> bool:
    """Say whether qmail-pspawn forked it: for a mailbox, or to look at passwords.

    The one of these that looks at the passwords of the system stays root.
    """
    return _is_forked_by("qmail-pspawn", process, ours)


def _check_deliveries(report: Report, before: Sequence[Process], after: Sequence[Process]) -> None:
    """Between its fork and its change of account a delivery is root, but not for long."""
    early = {one.pid for one in before if _is_delivery(one, before) and 0 in one.uids}
    for process in after:
        if process.pid in early and 0 in process.uids and os.geteuid() == 0:
            report.error(f"qmail-lspawn's child (pid {process.pid}) stays root: stop qmail-start")


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


# --- ports --------------------------------------------------------------------------------------


def _listeners(home: str) -> tuple[Listener, ...]:
    try:
        return load(StartControls, control_reader(home)).listeners
    except (ControlError, OSError):
        # The check of the control files has words for this.
        return ()


def _check_ports(report: Report, home: str, ours: Sequence[Process], *, running: bool) -> None:
    sockets = list(listening_sockets())
    held = frozenset(inode for process in ours for inode in socket_inodes(process.pid))
    for listener in _listeners(home):
        where = f"{listener.host} port {listener.port}"
        taken = [one for one in sockets if _collides(one, listener)]
        strangers = [one for one in taken if one.inode not in held]
        if running and not any(_is(one, listener) and one.inode in held for one in taken):
            if held:
                report.error(f"{where} is in control/listeners and not open: restart qmail-start")
        elif not running and strangers:
            holder = holder_of(strangers[0].inode) or "another program"
            report.error(f"{where} is taken by {holder}: stop it, or change control/listeners")
        if os.geteuid() != 0 and listener.port < _first_free_port():
            report.error(
                f"{where}: only root may open it: choose a higher one in control/listeners"
            )


def _collides(one: ListeningSocket, listener: Listener) -> bool:
    wildcard = one.host in ("0.0.0.0", "::") or listener.host in ("0.0.0.0", "::")  # noqa: S104
    same_family = (":" in one.host) == listener.is_ipv6
    return one.port == listener.port and same_family and (wildcard or one.host == listener.host)


def _is(one: ListeningSocket, listener: Listener) -> bool:
    return (one.host, one.port) == (listener.host, listener.port)


def _first_free_port() -> int:
    try:
        with open(UNPRIVILEGED, encoding="ascii") as file:
            return int(file.read(16))
    except (OSError, ValueError):
        return PORT_ROOT_ONLY_BELOW
