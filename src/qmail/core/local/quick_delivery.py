"""The quick way of a resident qmail-local: all maildir deliveries of a turn, with shared syncs.

What a `.qmail` file asks for beyond maildirs is handed back, for `core.local.delivery` in a process
of its own. Files of the recipient are looked at once a turn: a turn is one moment.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from qmail.core.fs import RealFs
from qmail.core.local.delivery import LOOP
from qmail.core.local.dotqmail import Maildir
from qmail.core.local.environment import delivered_to, return_path
from qmail.core.local.home_files import PATRN, StoppedError, reason_of
from qmail.core.local.idle_lines import without_idle_lines
from qmail.core.local.kept_homes import KeptHomes
from qmail.core.local.maildir import (
    Copy,
    Folder,
    GroupCommit,
    NameMaker,
    finish_alone,
    open_folder,
    prepare,
    take_back,
)
from qmail.core.local.maildir_sweep import remove_stale
from qmail.core.local.message_source import FIRST_BYTES, FileSource, header_has, rest_of
from qmail.core.local.plan import Plan, disk_trouble, find_plan
from qmail.core.local.table_answer import ask_table
from qmail.protocol.exits import Exit
from qmail.protocol.local_door import Target, Task
from qmail.protocol.local_exits import local_report
from qmail.protocol.netstring import FrameError

FOLDERS_MAX: Final = 64
"""So many maildirs are kept open between turns."""
TARGETS_MAX: Final = 1000
MAILDIRS_MAX: Final = 16
"""A `.qmail` with more maildir lines than this goes the slow way."""

Reports = list[tuple[int, bytes]]
"""Serial of a task, and its report."""


@dataclass(slots=True)
class _Kept:
    """An open maildir, and which folder it was when it was opened."""

    fs: RealFs
    identity: tuple[int, int]


class Folders:
    """The maildirs in use, kept open from turn to turn as long as their names mean the same."""

    def __init__(self) -> None:
        self._kept: dict[bytes, _Kept] = {}

    def open(self, path: bytes) -> Folder:
        """Return the maildir at `path`, an absolute path.

        Raises: OSError: it is missing, or its parts are on different file systems.
        """
        found = os.stat(path)
        identity = (found.st_dev, found.st_ino)
        kept = self._kept.get(path)
        if kept is None or kept.identity != identity:
            self._forget(path)
            fs, _ = open_folder(os.fsdecode(path))
            kept = self._kept[path] = _Kept(fs, identity)
        return Folder(kept.fs, found.st_dev)

    def remove_stale(self, now_s: float) -> None:
        """Remove what crashes left in the maildirs that are open."""
        for kept in self._kept.values():
            remove_stale(kept.fs, now_s)

    def trim(self) -> None:
        """Close what is too much. Only while no delivery is under way."""
        if len(self._kept) > FOLDERS_MAX:
            for path in list(self._kept):
                self._forget(path)

    def _forget(self, path: bytes) -> None:
        kept = self._kept.pop(path, None)
        if kept is not None:
            kept.fs.release()


@dataclass(frozen=True, slots=True)
class _Route:
    """A target all of whose lines are maildirs: what is ready for each of its messages."""

    trace: bytes
    folders: tuple[tuple[bytes, Folder], ...]
    report: bytes


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A target that gets no mail now. `trace`: what makes a message of it a loop, b"" for nothing.

    A loop is looked for once the home is entered, and before any `.qmail` file is.
    """

    trace: bytes
    report: bytes


_Answer = _Route | _Refusal | None
"""What a target means this turn: maildirs, a refusal, or (None) the slow way."""


class QuickDelivery:
    """Takes tasks, writes their maildir files, and reports when they are on disk."""

    def __init__(self, default_delivery: bytes, patrn: int = PATRN) -> None:
        self._default_delivery = default_delivery
        self._homes = KeptHomes(patrn)
        self._names = NameMaker.of_this_process()
        self._folders = Folders()
        self._commit = GroupCommit()
        self._targets: dict[bytes, Target] = {}
        self._what: dict[int, bytes] = {}

    @property
    def is_idle(self) -> bool:
        """True when no delivery waits for a sync."""
        return self._commit.is_idle

    def begin(self, tasks: Iterable[tuple[Task, int]]) -> tuple[Reports, list[tuple[Task, int]]]:
        """Write the files of all tasks; each comes with its message, open for reading.

        Returns: what can be reported at once, and the tasks that need the slow way.
        """
        reports: Reports = []
        slow: list[tuple[Task, int]] = []
        answers: dict[bytes, _Answer] = {}
        if self._commit.is_idle:
            self._folders.trim()
        tasks = list(tasks)
        is_alone = self._commit.is_idle and len(tasks) == 1
        for task, fd in tasks:
            packed = task.target
            if packed not in answers:
                answers[packed] = self._ask(packed)
            answer = answers[packed]
            if answer is None:
                slow.append((task, fd))
                continue
            report = self._write(task, fd, answer, is_alone=is_alone)
            if report is not None:
                reports.append((task.serial, report))
        return reports, slow

    def step(self) -> Reports:
        """Sync once. Returns: the reports of what is settled by that."""
        reports = []
        for settled in self._commit.step():
            report = self._what.pop(settled.ticket)
            if settled.trouble is not None:
                report = local_report(Exit.TEMPORARY, disk_trouble(b"maildir", settled.trouble))
            reports.append((settled.ticket, report))
        return reports

    def tidy(self, now_s: float) -> None:
        """Remove what crashes left in the maildirs of the last turns: for the end of the process.

        Readers do that too, where there are any; here it costs no delivery anything.
        """
        self._folders.remove_stale(now_s)

    def _ask(self, packed: bytes) -> _Answer:
        trace = b""
        try:
            target = self._target(packed)
            files = self._homes.enter(target.home)
            trace = delivered_to(target)
            plan = find_plan(files, target, self._default_delivery)
            plan, idle = without_idle_lines(plan, target.home)
            return self._route(plan, target, trace, idle)
        except StoppedError as stopped:
            return _Refusal(trace, local_report(stopped.code, stopped.text))
        except OSError as trouble:
            text = disk_trouble(b"maildir", trouble)
            return _Refusal(trace, local_report(Exit.TEMPORARY, text))
        except (FrameError, ValueError):
            text = b"Bad address or file name. (#4.3.5)\n"
            return _Refusal(b"", local_report(Exit.TEMPORARY, text))

    def _target(self, packed: bytes) -> Target:
        target = self._targets.get(packed)
        if target is None:
            target = Target.unpack(packed)
            if len(self._targets) >= TARGETS_MAX:
                self._targets.clear()
            self._targets[packed] = target
        return target

    def look(self, packed: bytes) -> bytes:
        """Report whether there is such a mailbox: K, D (there is not) or Z (no telling).

        There is where a file governs the target; what only asks a table is asked in its place.
        """
        try:
            target = Target.unpack(packed)
            plan = find_plan(self._homes.enter(target.home), target, self._default_delivery)
            ask_table(plan, target)
        except StoppedError as stopped:
            return local_report(stopped.code, stopped.text)
        except (OSError, FrameError, ValueError):
            return local_report(
                Exit.TEMPORARY, b"No telling whether there is a mailbox. (#4.3.0)\n"
            )
        return local_report(Exit.OK, b"")

    def _route(self, plan: Plan, target: Target, trace: bytes, programs: int) -> _Route | None:
        """Return the way of messages for `target`; `programs`: what ran without anything to do."""
        paths = [line.path for line in plan.instructions if isinstance(line, Maildir)]
        if len(paths) < len(plan.instructions) or len(paths) > MAILDIRS_MAX:
            return None
        folders = []
        for path in paths:
            try:
                folders.append((path, self._folders.open(os.path.join(target.home, path))))
            except OSError as trouble:
                raise StoppedError(Exit.TEMPORARY, disk_trouble(path, trouble)) from None
        report = local_report(Exit.OK, b"did %d+0+%d\n" % (len(folders), programs))
        return _Route(trace, tuple(folders), report)

    def _write(
        self, task: Task, fd: int, route: _Route | _Refusal, *, is_alone: bool
    ) -> bytes | None:
        """Write one message to all its maildirs. Returns: None, or a report at once.

        `is_alone`: nobody shares its syncs, so it is finished here.
        """
        source = FileSource(fd)
        try:
            first = source.read(0, FIRST_BYTES)
            if route.trace and header_has(route.trace, first, source):
                return local_report(Exit.PERMANENT, LOOP)
        except OSError as trouble:
            text = b"Unable to read message: " + reason_of(trouble) + b". (#4.3.0)\n"
            return local_report(Exit.TEMPORARY, text)
        if isinstance(route, _Refusal):
            return route.report
        head = return_path(task.sender) + route.trace + first
        copies: list[Copy] = []
        for path, folder in route.folders:
            rest = rest_of(source, FIRST_BYTES) if len(first) == FIRST_BYTES else ()
            try:
                name = self._names.next()
                copies.append(prepare(folder, name, head, rest, is_alone=is_alone))
            except OSError as trouble:
                for made in copies:
                    take_back(made)
                return local_report(Exit.TEMPORARY, disk_trouble(path, trouble))
        if not copies or is_alone:
            return _finish_alone(copies, route.report)
        self._what[task.serial] = route.report
        self._commit.add(task.serial, copies)
        return None


def _finish_alone(copies: Sequence[Copy], report: bytes) -> bytes:
    """Finish a delivery that shares no sync with others. Returns: its report."""
    try:
        finish_alone(copies)
    except OSError as trouble:
        return local_report(Exit.TEMPORARY, disk_trouble(b"maildir", trouble))
    return report
