"""The part of `qmail check` on users/passwd: who can read it, and whether each line can be used."""

import os
import shutil
import stat
from typing import Final

from qmail.core.login.passwd_file import FILE_BYTES_MAX, passwd_lines, wrong_lines
from qmail.core.login.passwd_line import LINES, PasswdEntry, PasswdLineError, parse_passwd_line
from qmail.core.settings.controls import ControlError, control_reader, load
from qmail.core.settings.login import LoginControls
from qmail.core.whole_files import read_whole
from qmail.edge.machine.accounts import Accounts
from qmail.edge.machine.home_maker import shown_owner
from qmail.edge.machine.passwd import Machine
from qmail.utilities.check_report import Report

SHOWN_MAX: Final = 5
"""Of many lines with the same fault only so many are named."""


def check_passwd(report: Report, home: str, accounts: Accounts) -> None:
    """Look at the file; where there is none there is nothing to say."""
    _check_program(report, home)
    path = f"{home}/{LINES}"
    try:
        found = os.stat(path)
        data, _ = read_whole(path, FILE_BYTES_MAX)
    except FileNotFoundError:
        return
    except OSError as trouble:
        report.note(f"{path}: {trouble.strerror}: run this as root to have it checked")
        return
    before = len(report.findings)
    _check_mode(report, path, found, accounts)
    wrong = wrong_lines(data)
    for line in wrong[:SHOWN_MAX]:
        report.error(line)
    if len(wrong) > SHOWN_MAX:
        report.error(f"{LINES}: {len(wrong) - SHOWN_MAX} more such lines: 'qmail passwd check'")
    count = _check_owners(report, data, accounts)
    if len(report.findings) == before:
        report.fine(f"{count} passwords")


def _check_program(report: Report, home: str) -> None:
    """Report a checkpassword program that can't be started: nobody could log in."""
    try:
        words = load(LoginControls, control_reader(home)).checkpassword
    except (ControlError, OSError):
        # The check of control files names it.
        return
    if words and shutil.which(words[0]) is None:
        program = os.fsdecode(words[0])
        report.error(f"control/checkpassword: {program} is no program: nobody can log in")
    elif words and os.path.exists(f"{home}/{LINES}"):
        report.note(f"control/checkpassword decides about logins: {LINES} counts for nothing")


def _check_mode(report: Report, path: str, found: os.stat_result, accounts: Accounts) -> None:
    """Only the helper that looks passwords up reads the file, and root writes it."""
    owner = accounts["qmailp"]
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != owner.uid:
        wanted = shown_owner(owner.uid, owner.gid, 0o400)
        real = shown_owner(found.st_uid, found.st_gid, mode)
        report.error(f"{path} is {real} and must be {wanted}: run 'chown {owner.uid} {path}'")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        report.error(f"{path} has passwords that others can read: run 'chmod 400 {path}'")
    elif not mode & stat.S_IRUSR:
        report.error(f"{path} can't be read by its owner: run 'chmod 400 {path}'")


def _check_owners(report: Report, data: bytes, accounts: Accounts) -> int:
    """Report the lines whose mailbox nobody can open. Returns: how many lines there are."""
    machine = Machine()
    faults: dict[str, list[int]] = {}
    count = 0
    for number, line in passwd_lines(data):
        count += 1
        try:
            entry = parse_passwd_line(line, number)
            fault = _fault(entry, accounts, machine)
        except (PasswdLineError, OSError):
            continue
        if fault:
            faults.setdefault(fault, []).append(number)
    for fault, numbers in faults.items():
        shown = ", ".join(map(str, numbers[:SHOWN_MAX]))
        more = f" and {len(numbers) - SHOWN_MAX} more" if len(numbers) > SHOWN_MAX else ""
        report.error(f"{LINES}:{shown}{more}: {fault}")
    return count


def _fault(entry: PasswdEntry, accounts: Accounts, machine: Machine) -> str:
    sole = accounts.sole
    if entry.uid is not None:
        if sole is not None and entry.uid != sole[0]:
            return "the uid is not the account that runs this home: nobody can log in"
        if entry.uid in accounts.without_mailbox:
            return "the uid is an account of qmail, which has no mailbox: take another"
        return ""
    if sole is None and machine.account(entry.name) is None:
        return "no uid, and no account of that name: write uid, gid and home"
    return ""
