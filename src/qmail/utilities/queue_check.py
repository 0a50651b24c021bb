"""qmail queue check: what is wrong with the files of a queue; with --repair, mend it."""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from qmail.core.clock import REAL_CLOCK
from qmail.core.queue.layout import Layout
from qmail.core.repair.checkup import Checkup, Scope
from qmail.core.repair.faults import Finding
from qmail.core.repair.moves import Mark
from qmail.core.settings.controls import ControlError
from qmail.edge.machine.accounts import Accounts, MissingAccountError, home_folder
from qmail.edge.machine.home_maker import HomeError
from qmail.edge.tools.progress import Progress
from qmail.protocol.exits import Exit
from qmail.utilities.queue_stop import RunningError, is_running, stopped
from qmail.utilities.queue_tree import Tree, accounts_here, make_own_folders, open_queue

FOUND: Final = 1
"""Exit code where something is wrong, or could not be mended."""
HELP: Final = """\
Say what is wrong with the files of the queue, a line each: the name of the fault, the
file, why, and what was done. Without --repair nothing is changed, and the system may run.

With --repair the system must be stopped. Nothing that may hold a message is deleted: what
can't be mended is moved to queue/lost, whose file NOTES says why.
"""


@dataclass(slots=True)
class Outcome:
    """What one look at a queue brought."""

    findings: list[Finding] = field(default_factory=list)
    moving: list[Finding] = field(default_factory=list)
    """Seen once and not again: the system is at work on them."""
    messages: int = 0
    running: bool = False


def main(name: str, argv: Sequence[str]) -> int:
    """Check, or repair, the queue of the home that `argv` names.

    Returns: 0 nothing is wrong any more, 1 faults, 100 wrong usage, 111 it could not be done.
    """
    options = _parse(name, argv)
    home = os.path.abspath(options.home)
    try:
        with Progress() as progress:
            outcome = repair(home, progress) if options.repair else check(home, progress)
    except RunningError as why:
        return _fatal(f"{why}; without --repair this can look at a running system")
    except PermissionError as trouble:
        return _fatal(f"{trouble.filename or home}: {trouble.strerror}: run this as root")
    except (MissingAccountError, ControlError, HomeError) as trouble:
        return _fatal(str(trouble))
    except FileNotFoundError as trouble:
        return _fatal(f"{trouble.filename}: {trouble.strerror}: run 'qmail init'")
    except OSError as trouble:
        return _fatal(f"{trouble.filename or f'{home}/queue'}: {trouble.strerror or trouble}")
    print_outcome(home, outcome, as_json=options.json)
    return FOUND if any(not each.done for each in outcome.findings) else Exit.OK


def _fatal(why: str) -> int:
    print(f"qmail queue check: fatal: {why}", file=sys.stderr)
    return Exit.TEMPORARY


def _parse(name: str, argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"qmail queue {name}",
        description=HELP,
        epilog="exit codes: 0 nothing is wrong, or all was mended; 1 faults; 100 wrong usage;"
        " 111 it could not be done",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repair", action="store_true", help="mend it; the system must be stopped")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--home", default=home_folder(), metavar="DIR", help="the home (default: %(default)s)"
    )
    return parser.parse_args(argv)


def check(home: str, progress: Progress | None = None) -> Outcome:
    """Look at a queue, and change nothing. On a running system, faults are what is seen twice.

    Raises: OSError, ControlError, MissingAccountError.
    """
    accounts = accounts_here(home)
    running = is_running(home)
    outcome = _look(home, accounts, progress or Progress())
    outcome.running = running
    if running and outcome.findings:
        first = {finding.key: finding for finding in outcome.findings}
        again = _look(home, accounts, progress or Progress())
        outcome.findings = [each for each in again.findings if each.key in first]
        stayed = {each.key for each in outcome.findings}
        outcome.moving = [each for key, each in first.items() if key not in stayed]
    return outcome


def _look(home: str, accounts: Accounts, progress: Progress) -> Outcome:
    outcome = Outcome()
    with open_queue(home, accounts) as fs:
        tree = Tree(home, accounts, fs, None, tell=partial(progress.show, what="files"))
        outcome.findings += tree.run()
        scope = Scope(
            layout=Layout(tree.split),
            mends=False,
            mark=Mark(fs),
            ignored=tree.ignored,
            tell=partial(progress.show, what="messages"),
        )
        checkup = Checkup(fs, REAL_CLOCK, scope)
        outcome.findings += checkup.run()
        outcome.messages = checkup.messages
    return outcome


def repair(home: str, progress: Progress | None = None) -> Outcome:
    """Mend a queue whose system is stopped.

    Raises: RunningError, OSError, ControlError, HomeError, MissingAccountError.
    """
    accounts = accounts_here(home)
    outcome = Outcome()
    shown = progress or Progress()
    with stopped(home):
        make_own_folders(home, accounts)
        with open_queue(home, accounts) as fs:
            mark = Mark(fs)
            tree = Tree(home, accounts, fs, mark, tell=partial(shown.show, what="files"))
            outcome.findings += tree.run()
            fs.let_go()
            scope = Scope(
                layout=Layout(tree.split),
                mends=True,
                mark=mark,
                settle=tree.settle,
                tell=partial(shown.show, what="messages"),
            )
            checkup = Checkup(fs, REAL_CLOCK, scope)
            outcome.findings += checkup.run()
            outcome.messages = checkup.messages
    return outcome


def print_outcome(home: str, outcome: Outcome, *, as_json: bool) -> None:
    """Print what was found, for people or for programs."""
    if as_json:
        print(json.dumps(_for_programs(outcome)))
        return
    for finding in outcome.findings:
        done = f": {finding.done}" if finding.done else ""
        print(_shown(f"{finding.fault.word} {finding.path}: {finding.why}{done}"))
    for finding in outcome.moving:
        print(_shown(f"in motion {finding.path}: {finding.fault.word}, gone at a second look"))
    counts = Counter(finding.fault.word for finding in outcome.findings)
    mended = sum(bool(finding.done) for finding in outcome.findings)
    for word, count in sorted(counts.items()):
        print(f"{count:7} {word}")
    if not counts:
        print(f"{home}/queue is in order: {outcome.messages} messages")
        return
    print(
        f"{home}/queue: {outcome.messages} messages, {len(outcome.findings)} faults,"
        f" {mended} mended"
    )


def _shown(line: str) -> str:
    """Return a line that a name in the queue can't make two of."""
    return "".join(each if each.isprintable() else "?" for each in line)


def _for_programs(outcome: Outcome) -> dict[str, object]:
    return {
        "messages": outcome.messages,
        "running": outcome.running,
        "faults": [_as_object(finding) for finding in outcome.findings],
        "moving": [_as_object(finding) for finding in outcome.moving],
        "counts": dict(Counter(finding.fault.word for finding in outcome.findings)),
    }


def _as_object(finding: Finding) -> dict[str, str]:
    return {
        "fault": finding.fault.word,
        "path": finding.path,
        "why": finding.why,
        "done": finding.done,
    }
