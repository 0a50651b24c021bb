"""The part of `qmail check` that reads every control file as the programs would."""

import os
import stat
from typing import Final

from qmail.core.fs import RealFs
from qmail.core.queue.layout import find_layout
from qmail.core.settings.controls import (
    ControlError,
    Line,
    ReadFile,
    Setting,
    control_reader,
    load,
    load_one,
    settings,
    split_lines,
)
from qmail.core.settings.places import read_split
from qmail.core.settings.programs import PROGRAM_CONTROLS, StartControls
from qmail.core.smtp.relay import MORE_HOSTS
from qmail.edge.machine.accounts import Accounts
from qmail.edge.tls.certificate import CERTIFICATE, KEY
from qmail.utilities.check_report import Report

OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def check_controls(report: Report, home: str, accounts: Accounts) -> None:
    """Read every control file; report every line that a program would refuse."""
    try:
        names = sorted(os.listdir(f"{home}/control"))
    except OSError as trouble:
        report.error(f"{home}/control: {trouble.strerror}: run 'qmail init'")
        return
    known = {
        setting.name: setting for owner in PROGRAM_CONTROLS.values() for setting in settings(owner)
    }
    read_file = control_reader(home)
    before = len(report.findings)
    for name in names:
        if name in known:
            _check_lines(report, known[name], read_file)
        elif name == "split":
            _check_split(report, home, read_file)
        elif name in (CERTIFICATE, KEY):
            # They have owners and modes of their own, and a check.
            continue
        elif name != f"{MORE_HOSTS}.cdb":
            report.warning(f"control/{name}: no program reads a file of this name: remove it?")
        _check_mode(report, f"{home}/control/{name}", accounts)
    _check_delivery(report, read_file)
    if len(report.findings) == before:
        report.fine(f"{len(names)} control files")


def _check_lines(report: Report, setting: Setting, read_file: ReadFile) -> None:
    """Report every bad line of a list, or the bad file as a whole."""
    try:
        raw = read_file(setting.name)
        lines = split_lines(raw) if raw is not None and setting.kind == "list" else []
        found = [wrong for line in lines if (wrong := _wrong_with(setting, line))]
        if not found:
            load_one(setting, read_file)
    except ControlError as wrong:
        found = [str(wrong)]
    except OSError as trouble:
        found = [f"control/{setting.name}: {trouble.strerror}"]
    for what in found:
        report.error(f"{what}: mend it, or remove the file to have the default")


def _wrong_with(setting: Setting, line: Line) -> str:
    try:
        setting.parse(setting.name, [line])
    except ControlError as wrong:
        return str(wrong)
    return ""


def _check_delivery(report: Report, read_file: ReadFile) -> None:
    """A file with comments alone stops qmail-start, if that has no default delivery of its own."""
    try:
        is_empty = not load(StartControls, read_file).defaultdelivery
    except (ControlError, OSError):
        return
    if is_empty:
        report.error("control/defaultdelivery says nothing: write ./Maildir/ into it, or remove it")


def _check_split(report: Report, home: str, read_file: ReadFile) -> None:
    try:
        wanted = read_split(read_file)
        split = find_layout(RealFs(f"{home}/queue")).split
    except ControlError as wrong:
        report.error(f"{wrong}: mend it")
    except (OSError, ValueError):
        # The check of the folders has words for this.
        return
    else:
        if wanted != split:
            report.warning(
                f"control/split says {wanted}, the queue was made with {split}: it counts for a"
                " new queue only; empty this one, move it away and run 'qmail init'"
            )


def _check_mode(report: Report, path: str, accounts: Accounts) -> None:
    """A control file is readable for every account and writable for its owner only."""
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        report.error(f"{path} is not a file: move it away")
        return
    if found.st_mode & OTHERS_WRITE:
        report.error(f"{path} can be written by others: run 'chmod go-w {path}'")
    if accounts.separate:
        if not found.st_mode & stat.S_IROTH:
            report.error(f"{path} is closed to the programs: run 'chmod a+r {path}'")
        if found.st_uid != 0:
            report.error(f"{path} does not belong to root: run 'chown root {path}'")
