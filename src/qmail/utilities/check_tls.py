"""The part of `qmail check` that looks at the certificate: what it is, who can read the key."""

import os
import stat
import time
from collections.abc import Sequence
from typing import Final

from qmail.core.settings.controls import ControlError, control_reader, load
from qmail.core.settings.programs import Listener, StartControls
from qmail.edge.children.answer import NoAnswerError, ask_child
from qmail.edge.machine.accounts import Accounts
from qmail.edge.tls.certificate import (
    CERTIFICATE,
    BadCertificateError,
    Facts,
    certificate_files,
    facts_of,
)
from qmail.edge.tls.session import TlsError, server_context
from qmail.utilities.check_report import Report

READER: Final = "qmaild"
TLS_SERVICES: Final = {"pop3", "pop3s"}
SOON_DAYS: Final = 14
"""Who renews by program does it earlier, so by then something is wrong."""
DAY_S: Final = 86400
WORDS_BYTES_MAX: Final = 1000
LOOK_S_MAX: Final = 10.0


def check_tls(report: Report, home: str, accounts: Accounts) -> None:
    """Look at certificate and key; without one, say what does not work."""
    files = certificate_files(home)
    services = {listener.service for listener in _listeners(home)} & TLS_SERVICES
    if files is None:
        _check_need(report, home, services)
        return
    before = len(report.findings)
    chain, key = files
    for path in (chain, *((key,) if key else ())):
        _check_mode(report, path, accounts)
    if not services:
        # Nothing uses it: that it is out of date does no harm.
        return
    _check_pair(report, files, accounts)
    try:
        facts = facts_of(chain)
    except PermissionError:
        report.note(f"{chain} is closed to you: run this as root to have it checked")
        return
    except (OSError, BadCertificateError):
        # The check of the pair has words for this.
        return
    if facts is None:
        report.note(f"{chain}: the library cryptography is missing: its dates are not known")
    else:
        _check_facts(report, home, facts)
    if len(report.findings) == before:
        report.fine("certificate")


def _check_need(report: Report, home: str, services: set[str]) -> None:
    if "pop3s" in services:
        report.error(
            f"control/{CERTIFICATE} is missing, and control/listeners has pop3s:"
            f" run 'qmail init --home {home}', or put your certificate there"
        )
    elif "pop3" in services:
        report.warning(
            f"control/{CERTIFICATE} is missing: POP3 without TLS takes passwords from this host"
            f" only: run 'qmail init --home {home}', or put your certificate there"
        )


def _listeners(home: str) -> Sequence[Listener]:
    try:
        return load(StartControls, control_reader(home)).listeners
    except (ControlError, OSError):
        # The check of the control files has words for this.
        return ()


def _check_mode(report: Report, path: str, accounts: Accounts) -> None:
    """The key is READER's alone: who has it can pretend to be this server."""
    try:
        found = os.stat(path)
    except OSError as trouble:
        report.error(f"{path}: {trouble.strerror}: mend it, or remove it and run 'qmail init'")
        return
    if not _has_key(path):
        return
    name = accounts[READER].name if accounts.separate else str(accounts[READER].uid)
    shared = {account.gid for account in accounts.by_name.values()}
    if found.st_mode & stat.S_IRWXO:
        report.error(f"{path} has a private key that everybody can read: run 'chmod o= {path}'")
    elif accounts.separate and found.st_mode & stat.S_IRGRP and found.st_gid in shared:
        report.warning(
            f"{path} has a private key that other accounts of qmail can read:"
            f" run 'chown {name} {path}; chmod 400 {path}'"
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        report.error(f"{path} can be written by others: run 'chmod go-w {path}'")


def _has_key(path: str) -> bool:
    """Say whether there is a key in it; True where there is no telling."""
    try:
        with open(path, "rb") as file:
            return b"PRIVATE KEY-----" in file.read(1 << 20)
    except OSError:
        return True


def _check_pair(report: Report, files: tuple[str, str | None], accounts: Accounts) -> None:
    """Do with them what the program does that needs them, under its account."""
    account = accounts[READER]
    if os.geteuid() == 0 and account.uid != 0:
        who = account.uid, account.gid
        try:
            wrong = ask_child(
                who, lambda: _wrong_with(files), bytes_max=WORDS_BYTES_MAX, wait_s=LOOK_S_MAX
            )
        except NoAnswerError as trouble:
            report.note(f"{files[0]} could not be tried as {account.name}: {trouble}")
            return
    elif os.geteuid() == account.uid:
        wrong = _wrong_with(files)
    else:
        return
    if wrong:
        text = wrong.decode(errors="replace")
        advice = f"make it one that {account.name} can read" if "ermission" in text else "mend it"
        report.error(f"{text}: no TLS without it: {advice}")


def _wrong_with(files: tuple[str, str | None]) -> bytes:
    try:
        server_context(*files)
    except TlsError as wrong:
        return str(wrong).encode(errors="replace")[:WORDS_BYTES_MAX]
    return b""


def _check_facts(report: Report, home: str, facts: Facts) -> None:
    where, now = f"control/{CERTIFICATE}", time.time()
    renew = "renew it, then send HUP to qmail-start"
    if facts.is_self_signed:
        renew = f"remove it, run 'qmail init --home {home}', then send HUP to qmail-start"
    days = int((facts.ends_at - now) / DAY_S)
    if facts.ends_at <= now:
        report.error(f"{where} has expired: {renew}")
    elif facts.begins_at > now:
        report.error(f"{where} is not valid yet: is the clock of this machine right?")
    elif days < SOON_DAYS:
        report.warning(f"{where} expires in {days} days: {renew}")
    raw = control_reader(home)("me") or b""
    host = raw.split(b"\n")[0].decode("ascii", "replace").strip()
    if host and not facts.is_for(host):
        names = ", ".join(facts.names) or "no host at all"
        report.note(f"{where} is for {names}: clients that connect to {host} don't take it")
    if facts.is_self_signed:
        report.note(f"{where} is self-signed: mail programs ask their users about it")
