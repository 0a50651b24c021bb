"""All that can be wrong with the files of messages, found and mended (docs/queue-repair.md).

One walk does both, so that a repair never mends what a check would not have told. The order
counts: interrupted work is finished first, files get to their folders, messages get their numbers,
and only then is looked at what they hold. A repair that is cut off at any point is finished by the
next one.
"""

import contextlib
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from qmail.core.clock import Clock
from qmail.core.fs import Fs
from qmail.core.queue.layout import OSSIFIED_S, SPARE, Layout, parked
from qmail.core.queue.records import mended_bounce, read_record
from qmail.core.queue.spares import spare_envelope, spare_numbers
from qmail.core.repair.census import Census, names_in, path_in, place, take_census
from qmail.core.repair.faults import Fault, Finding
from qmail.core.repair.judge import Judge, Verdict
from qmail.core.repair.lost import LostFolder
from qmail.core.repair.moves import (
    MOVE,
    NEW,
    REPAIR,
    Mark,
    Moves,
    marked,
    staged,
)
from qmail.core.repair.notes import READY
from qmail.core.repair.parked import (
    follow,
    look_at_parked,
    parked_numbers,
    put_back,
    without_envelope,
)

IMPORT: Final = b"import "
"""What the mark of an import begins with; its id follows."""
DRAFTS: Final = ("draft.", "taken.", "notes-draft.", "unfinished.new")
"""What files begin with that mean nothing after a cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a checkup is about. `mends`: the system is stopped, and this is its only writer."""

    layout: Layout
    mends: bool
    mark: Mark
    ignored: Container[str] = frozenset()
    """Paths that are no files of messages."""
    settle: Callable[[], None] = lambda: None
    """What is to be done before the repair is called finished."""
    tell: Callable[[int, int], None] = lambda _done, _total: None
    """Is told how many of how many messages were looked at."""


class Checkup:
    """One look at all messages of a queue."""

    def __init__(self, fs: Fs, clock: Clock, scope: Scope) -> None:
        self._fs = fs
        self._clock = clock
        self._scope = scope
        self._lost = LostFolder(fs, clock)
        self._moves = Moves(fs, scope.layout, self._lost)
        self._mark = scope.mark
        self._is_unfinished = False
        self._census = Census()
        self._spares: set[int] = set()
        self.messages = 0
        """How many messages there are, when it is done."""

    def run(self) -> Iterator[Finding]:
        """Yield every fault; where this mends, after it was mended.

        Raises: OSError: the folders can't be read, or a sync failed.
        """
        yield from self._unfinished()
        if self._is_unfinished:
            return
        self._census = take_census(self._fs, self._scope.layout, self._scope.ignored)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self._spares = set(spare_numbers(self._fs))
        yield from self._pid()
        yield from self._duplicates()
        yield from self._wrong_folders()
        yield from self._parked()
        yield from self._wrong_numbers()
        yield from self._contents()
        if self._scope.mends:
            self._tidy()
        self._mark.end(self._scope.settle)
        self.messages = sum(n not in self._spares for n in self._census.where["mess"])

    # --- mending --------------------------------------------------------------------------------

    def _mend(self, fault: Fault, path: str, why: str, work: Callable[[], str]) -> Finding:
        """Do what is to be done about a fault, and tell. Where this only checks, only tell."""
        if not self._scope.mends:
            return Finding(fault, path, why)
        self._mark.begin()
        try:
            return Finding(fault, path, why, work())
        except OSError as trouble:
            return Finding(fault, path, f"{why}; not mended: {trouble.strerror}")

    def _lose(self, fault: Fault, number: int, kinds: dict[str, str], why: str) -> str:
        stem = self._lost.take(fault, kinds, str(number), why)
        for kind in kinds:
            self._census.forget(kind, number)
        return f"moved to {stem}.*"

    # --- interrupted work -----------------------------------------------------------------------

    def _unfinished(self) -> Iterator[Finding]:
        if self._fs.info(REPAIR) is None:
            return
        text = None if self._mark.is_ours else marked(self._fs)
        if text is not None and text.startswith(IMPORT):
            yield self._unfinished_import(text)
        elif staged(self._fs, NEW):
            yield self._unfinished_import(None)
        elif text is not None or staged(self._fs, MOVE):
            why = "messages are between two numbers"
            yield self._mend(Fault.UNFINISHED_REPAIR, REPAIR, why, lambda: "finished")
        else:
            return
        # Whoever only looks can't tell what the rest means before this is finished.
        self._is_unfinished = not self._scope.mends

    def _unfinished_import(self, text: bytes | None) -> Finding:
        why = "not all of it had arrived" if text is None else "all of it had arrived"

        def finish() -> str:
            if text is not None:
                finish_import(self._fs, self._moves, text)
                return "finished"
            self._moves.take_back()
            return "taken back: run 'qmail queue import' again"

        return self._mend(Fault.UNFINISHED_IMPORT, REPAIR, why, finish)

    def _tidy(self) -> None:
        """Remove the drafts that cuts have left. What is staged or tells of an import stays."""
        for name, _ in list(names_in(self._fs, REPAIR)):
            if name.startswith(DRAFTS):
                self._fs.unlink(f"{REPAIR}/{name}")

    # --- pid ------------------------------------------------------------------------------------

    def _pid(self) -> Iterator[Finding]:
        oldest = self._clock.now() - OSSIFIED_S
        for number in sorted(self._spares):
            why = self._wrong_spare(number)
            if why:
                path = spare_envelope(number)
                yield self._mend(Fault.STALE_SPARE, path, why, partial(self._drop_spare, number))
        for name, _ in sorted(names_in(self._fs, "pid")):
            path = f"pid/{name}"
            found = self._fs.info(path)
            is_file = found is not None and found.is_regular and path not in self._scope.ignored
            if is_file and found is not None and found.newest < oldest:
                why = "untouched for 36 hours"
                yield self._mend(Fault.PID_LEFTOVER, path, why, partial(self._remove, path))

    def _wrong_spare(self, number: int) -> str:
        census = self._census
        if any(census.path(kind, number) is not None for kind in ("todo", "info")):
            return f"message {number} is no finished one"
        cold = self._fs.info(f"pid/{SPARE}{number}")
        inode = census.inodes.get(number, cold.inode if cold else -1)
        return "" if inode == number else "its files are not those of its number"

    def _drop_spare(self, number: int) -> str:
        """Remove the mark, and the message with it where that is a finished one's."""
        self._spares.discard(number)
        files = self._census.has(number)
        if set(files) == {"mess"}:
            self._fs.unlink(files["mess"])
            self._census.forget("mess", number)
        for path in (f"pid/{SPARE}{number}", spare_envelope(number)):
            if self._fs.info(path) is not None:
                self._fs.unlink(path)
        return "removed"

    def _remove(self, path: str) -> str:
        if self._fs.info(path) is not None:
            self._fs.unlink(path)
        return "removed"

    # --- where they are -------------------------------------------------------------------------

    def _duplicates(self) -> Iterator[Finding]:
        for kind, number, folder in self._census.twice:
            path = path_in(kind, folder, number)
            why = f"{self._census.path(kind, number)} is the other one"
            work = partial(self._lose_second, {kind: path}, number, why)
            yield self._mend(Fault.DUPLICATE, path, why, work)

    def _lose_second(self, paths: dict[str, str], number: int, why: str) -> str:
        return f"moved to {self._lost.take(Fault.DUPLICATE, paths, str(number), why)}.*"

    def _wrong_folders(self) -> Iterator[Finding]:
        layout = self._scope.layout
        for kind, where in self._census.where.items():
            for number, folder in sorted(where.items()):
                path, right = path_in(kind, folder, number), place(layout, kind, number)
                if path != right:
                    why, work = f"its place is {right}", partial(self._move, kind, number)
                    yield self._mend(Fault.WRONG_FOLDER, path, why, work)

    def _move(self, kind: str, number: int) -> str:
        path, right = self._census.path(kind, number), place(self._scope.layout, kind, number)
        assert path is not None
        self._fs.rename(path, right)
        self._census.where[kind][number] = right.split("/")[1]
        return f"moved to {right}"

    def _parked(self) -> Iterator[Finding]:
        for number in without_envelope(self._fs, self._census):
            path, why = f"todo/{number}", "its message is in parked"
            yield self._mend(Fault.PARKED, path, why, partial(self._follow, number))
            # Whatever became of it: its message is not gone.
            self._census.forget("todo", number)
        for number in parked_numbers(self._fs):
            try:
                found = look_at_parked(self._fs, number, self._census)
            except OSError as trouble:
                yield Finding(Fault.UNREADABLE, parked(number, "todo"), str(trouble.strerror))
                continue
            if not found.has_message:
                paths = {"todo": found.path}
                work = partial(self._lose, Fault.LEFTOVER, number, paths, found.wrong)
                yield self._mend(Fault.LEFTOVER, found.path, found.wrong, work)
            elif found.wrong:
                yield Finding(Fault.PARKED, found.path, found.wrong)
            else:
                why = "its envelope was mended"
                yield self._mend(Fault.PARKED, found.path, why, partial(self._put_back, number))

    def _follow(self, number: int) -> str:
        follow(self._fs, number, self._census)
        return f"moved to {parked(number, 'todo')}"

    def _put_back(self, number: int) -> str:
        put_back(self._fs, self._scope.layout, number, self._census)
        return "put back into the queue"

    def _wrong_numbers(self) -> Iterator[Finding]:
        inodes = self._census.inodes
        yield from self._second_names()
        wrong = [n for n in sorted(self._census.where["mess"]) if inodes[n] != n]
        if self._scope.mends and (wrong or self._is_renumbering()):
            self._mark.begin()
            self._moves.renumber(self._census, wrong)
            self._census = take_census(self._fs, self._scope.layout, self._scope.ignored)
        for number in wrong:
            why = f"its inode is {inodes[number]}"
            done = f"message {number} is {inodes[number]} now" if self._scope.mends else ""
            path = place(self._scope.layout, "mess", number)
            yield Finding(Fault.WRONG_NUMBER, path, why, done)

    def _is_renumbering(self) -> bool:
        return bool(staged(self._fs, MOVE)) or self._fs.info(READY) is not None

    def _second_names(self) -> Iterator[Finding]:
        """Two messages that are one file can't both have the number of its inode."""
        inodes = self._census.inodes
        first: dict[int, int] = {}
        for number in sorted(self._census.where["mess"], key=lambda n: (inodes[n] != n, n)):
            other = first.setdefault(inodes[number], number)
            if other != number:
                files, why = self._census.has(number), f"it is the file of message {other}"
                work = partial(self._lose, Fault.SECOND_NAME, number, files, why)
                yield self._mend(Fault.SECOND_NAME, files["mess"], why, work)

    # --- what they hold -------------------------------------------------------------------------

    def _contents(self) -> Iterator[Finding]:
        judge = Judge(self._fs, self._clock.now() - OSSIFIED_S, self._spares)
        numbers = self._census.numbers()
        for count, number in enumerate(numbers):
            self._scope.tell(count, len(numbers))
            files = self._census.has(number)
            verdict = judge.look(number, files)
            if verdict is not None:
                yield self._settle(number, files, verdict)

    def _settle(self, number: int, files: dict[str, str], verdict: Verdict) -> Finding:
        fault, kind, why = verdict
        path = files[kind]
        if fault is Fault.UNREADABLE:
            return Finding(fault, path, why)
        if fault is Fault.BAD_BOUNCE:
            return self._mend(fault, path, why, lambda: self._mend_bounce(number, path, why))
        # The message first: what a cut leaves then is no message to anybody.
        kinds = {word: files[word] for word in sorted(files, key=lambda word: word != "mess")}
        return self._mend(fault, path, why, partial(self._lose, fault, number, kinds, why))

    def _mend_bounce(self, number: int, path: str, why: str) -> str:
        text = mended_bounce(read_record(self._fs, "bounce", path))
        draft = f"{REPAIR}/draft.{number}.bounce"
        if text:
            if self._fs.info(draft) is not None:
                self._fs.unlink(draft)
            fd = self._fs.create(draft)
            try:
                self._fs.write(fd, text)
            finally:
                self._fs.close(fd)
            self._fs.sync()
        stem = self._lost.take(Fault.BAD_BOUNCE, {"bounce": path}, str(number), why)
        if text:
            self._fs.rename(draft, path)
            return f"{len(text)} bytes kept; the old one is {stem}.bounce"
        self._census.forget("bounce", number)
        return f"moved to {stem}.bounce"


def imported(text: bytes) -> str:
    """Return the path that tells that the import with this mark is done."""
    return f"{REPAIR}/imported.{text.removeprefix(IMPORT).decode('ascii', 'replace').strip()}"


def finish_import(fs: Fs, moves: Moves, text: bytes) -> None:
    """Place what an import made, and note that it is done; its mark is `text`. Raises: OSError."""
    moves.place(NEW)
    if fs.info(imported(text)) is None:
        fs.close(fs.create(imported(text)))
        fs.sync()
