"""The part of `qmail check` that looks at folders, files, modes, owners and what can be reached."""

import importlib.util
import os
import stat
import sys
from collections.abc import Iterator
from typing import Final

import qmail
from qmail.core.fs import RealFs
from qmail.core.queue.layout import PARKED, SPLIT_DEFAULT, is_number
from qmail.core.repair.moves import UNFINISHED
from qmail.core.repair.parked import NAME as PARKED_NAME
from qmail.core.settings.places import COMMANDS, QUEUE_FILES, Kind, Place, places, split_made
from qmail.edge.machine.accounts import Accounts
from qmail.edge.machine.home_maker import ids_of, shown_owner
from qmail.edge.machine.mounts import MEMORY_TYPES, NETWORK_TYPES, file_system_type
from qmail.edge.machine.openness import closed_below, closed_part
from qmail.launchers import PROGRAMS
from qmail.utilities.check_report import Report

SHOWN_MAX: Final = 5
"""Of many files with the same fault only so many are named."""
LIBRARIES: Final = ("uvloop",)
KINDS: Final = {Kind.FOLDER: stat.S_ISDIR, Kind.FILE: stat.S_ISREG, Kind.PIPE: stat.S_ISFIFO}


def check_files(report: Report, home: str, accounts: Accounts) -> None:
    """Compare every folder of the home, and every file of the queue, with what it ought to be."""
    before = len(report.findings)
    wanted = places(_split_found(home))
    for place in wanted:
        _check_place(report, home, accounts, place)
    _check_queue_files(report, home, accounts)
    _check_numbers(report, home)
    _check_repairs(report, home)
    _check_queue_disk(report, home)
    _check_aliases(report, home)
    if len(report.findings) == before:
        report.fine(f"{len(wanted)} folders and files")


def _split_found(home: str) -> int:
    try:
        return split_made(RealFs(f"{home}/queue")) or SPLIT_DEFAULT
    except OSError:
        # A queue that is closed to us has no folders to compare.
        return 0


def _check_place(report: Report, home: str, accounts: Accounts, place: Place) -> None:
    path = f"{home}/{place.path}" if place.path else home
    try:
        found = os.stat(path)
    except PermissionError:
        report.note(f"{path} is closed to you: run this as root to have it checked")
        return
    except OSError as trouble:
        report.error(f"{path}: {trouble.strerror}: {_remedy(home, place.path)}")
        return
    if not KINDS[place.kind](found.st_mode):
        if place.path.startswith("queue/"):
            report.error(f"{path} is not a {place.kind.value}: {_remedy(home, place.path)}")
        else:
            report.error(f"{path} is not a {place.kind.value}: move it away, run 'qmail init'")
        return
    wanted = (*ids_of(accounts, place.owner, place.group), place.mode)
    real = (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))
    if real != wanted:
        report.error(
            f"{path} is {shown_owner(*real)} and must be {shown_owner(*wanted)}:"
            f" {_remedy(home, place.path)}"
        )


def _remedy(home: str, path: str) -> str:
    """Say what mends a place of the home: below the queue there are messages to look after."""
    if path.startswith("queue/"):
        return f"stop qmail-start and run '{repair_command(home)}'"
    return f"run 'qmail init --home {home}'"


def repair_command(home: str) -> str:
    """Return the command that mends a queue."""
    return f"qmail queue check --repair --home {home}"


def _check_queue_files(report: Report, home: str, accounts: Accounts) -> None:
    """Messages that belong to the wrong account can't be read or removed."""
    for folder, (owner, _mode) in QUEUE_FILES.items():
        uid = accounts[owner].uid
        wrong = [
            path
            for path, found in _files_below(f"{home}/queue/{folder}")
            if found.st_uid != uid and _is_message_file(os.path.basename(path))
        ]
        for path in wrong[:SHOWN_MAX]:
            name = accounts[owner].name if accounts.separate else str(uid)
            report.error(f"{path} does not belong to {name}: {_remedy(home, 'queue/')}")
        if len(wrong) > SHOWN_MAX:
            report.error(f"{len(wrong) - SHOWN_MAX} more such files in {home}/queue/{folder}")


def _check_numbers(report: Report, home: str) -> None:
    """A message is called by its inode; one that was restored or copied is not."""
    names = ((os.path.basename(path), found) for path, found in _files_below(f"{home}/queue/mess"))
    count = sum(is_number(name) and int(name) != found.st_ino for name, found in names)
    if count:
        what = "a message" if count == 1 else f"{count} messages"
        report.warning(
            f"{what} in {home}/queue/mess under another number than the inode's, as after a"
            f" restore: {_remedy(home, 'queue/')}"
        )


def _is_message_file(name: str) -> bool:
    return is_number(name) or PARKED_NAME.fullmatch(name) is not None


def _check_repairs(report: Report, home: str) -> None:
    """What a repair has to finish, and what waits for somebody to mend it."""
    queue = f"{home}/queue"
    if os.path.lexists(f"{queue}/{UNFINISHED}"):
        report.error(f"a repair of {queue} was cut off: run '{repair_command(home)}'")
    try:
        names = os.listdir(f"{queue}/{PARKED}")
    except OSError:
        return
    count = sum(name.endswith(".mess") for name in names)
    if count:
        what = "a message" if count == 1 else f"{count} messages"
        report.warning(
            f"{what} in {queue}/{PARKED}, because the envelope makes no sense:"
            f" 'qmail queue check --home {home}' says why; mend it, stop qmail-start and run"
            f" '{repair_command(home)}'"
        )


def _files_below(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield path and status of every file; what vanishes meanwhile is left out."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _files_below(entry.path)
            else:
                yield entry.path, entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue


def _check_queue_disk(report: Report, home: str) -> None:
    queue = f"{home}/queue"
    try:
        devices = {
            os.stat(f"{home}/{place.path}").st_dev
            for place in places(0)
            if place.path.startswith("queue")
        }
        kind = file_system_type(queue)
    except OSError:
        return
    if len(devices) > 1:
        report.error(f"{queue} lies on more than one file system: move the whole queue to one")
    if kind in NETWORK_TYPES:
        report.error(f"{queue} is on a network file system ({kind}): move it to a local disk")
    if kind in MEMORY_TYPES:
        report.note(f"{queue} is in memory ({kind}): queued mail is lost when power fails")


def _check_aliases(report: Report, home: str) -> None:
    for name in ("postmaster", "mailer-daemon"):
        path = f"{home}/alias/.qmail-{name}"
        if not os.path.lexists(path) and not os.path.lexists(f"{home}/alias/.qmail-default"):
            report.warning(f"{path} is missing: mail for {name} bounces; run 'qmail init'")


# --- programs -----------------------------------------------------------------------------------


def check_programs(report: Report, home: str, accounts: Accounts) -> None:
    """Every program is there, the accounts can reach all that it needs, nothing has set-id."""
    before = len(report.findings)
    folder = os.path.dirname(sys.executable)
    missing = [name for name in PROGRAMS if not os.access(f"{folder}/{name}", os.X_OK)]
    if missing:
        report.error(f"not in {folder}: {', '.join(missing)}: run 'make install'")
    package = os.path.dirname(qmail.__file__)
    _check_links(report, home, folder)
    if accounts.separate:
        _check_reach(report, home, folder, package)
    for top in (home, folder, package):
        for path, found in _files_below(os.path.realpath(top)):
            if found.st_mode & (stat.S_ISUID | stat.S_ISGID) and stat.S_ISREG(found.st_mode):
                report.error(f"{path} has set-id: no program needs it, run 'chmod ug-s {path}'")
    if len(report.findings) == before:
        report.fine(f"{len(PROGRAMS)} programs, none with set-id")


def _check_links(report: Report, home: str, folder: str) -> None:
    """Other packages start HOME/bin/qmail-queue and the like: it should be ours, or be meant."""
    missing, others = [], []
    for name in PROGRAMS:
        link, real = f"{home}/{COMMANDS}/{name}", f"{folder}/{name}"
        if not os.path.exists(link):
            missing += [name] if os.path.exists(real) else []
        elif os.path.realpath(link) != os.path.realpath(real):
            others.append(name)
    if missing:
        report.warning(
            f"{home}/{COMMANDS} lacks {', '.join(missing)}: other packages look for them there:"
            f" run 'qmail init --home {home}'"
        )
    if others:
        report.note(
            f"{home}/{COMMANDS} has {', '.join(others)} from elsewhere, and other packages start"
            f" those: for ours remove them and run 'qmail init --home {home}'"
        )


def _check_reach(report: Report, home: str, folder: str, package: str) -> None:
    needed = {home, folder, os.path.realpath(sys.executable), os.path.dirname(os.__file__)}
    for name in LIBRARIES:
        found = importlib.util.find_spec(name)
        if found is None or not found.origin:
            report.error(f"the library {name} is missing: run 'make install'")
        else:
            needed.add(os.path.dirname(found.origin))
    closed = {part for path in needed if (part := closed_part(path))}
    closed |= {part for name in PROGRAMS if (part := _closed_file(f"{folder}/{name}"))}
    closed |= {part} if (part := closed_below(package)) else set()
    for part in sorted(closed):
        report.error(f"{part} is closed to the accounts of qmail: run 'chmod a+rX {part}'")


def _closed_file(path: str) -> str:
    try:
        return closed_part(path)
    except FileNotFoundError:
        return ""
