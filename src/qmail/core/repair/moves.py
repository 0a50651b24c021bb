"""Messages between two numbers: how files of one message change their names all together.

A message gets another number where it was copied (its inode is another) or imported. Its files
can't all be renamed at once, and two messages can have each other's numbers. So every file goes by
way of the folder repair/:

| step  | what                                                 | what the power may leave         |
|-------|------------------------------------------------------|----------------------------------|
| mark  | repair/unfinished is made and synced                 | qmail-start refuses till it goes |
| clear | what has the new number and no message: to lost      |                                  |
| stage | to repair/move.OLD.NEW.KIND, the message file last   | staged files, the rest still has |
|       |                                                      | the old number                   |
| sync  |                                                      | all messages are staged whole    |
| notes | those of operators are made anew (repair/notes.py)   | old ones, and the new beside it  |
| place | to the new number, the message file last             | what is still staged is to go on |
| sync  |                                                      |                                  |
| end   | repair/unfinished is removed and synced              |                                  |

Staging is finished for all of them before one is placed, so no number is in use by two. Doing it
again from the start finishes it from any point: no journal is needed but the names. An import
makes its files as repair/new.INDEX.NEW.KIND, and has all of them synced before the mark.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from qmail.core.fs import Fs
from qmail.core.queue.layout import Layout
from qmail.core.repair.census import ENVELOPES, Census, place
from qmail.core.repair.faults import Fault
from qmail.core.repair.lost import LostFolder
from qmail.core.repair.notes import READY, prepare, put, read_notes, renumbered, take_back

REPAIR: Final = "repair"
UNFINISHED: Final = "repair/unfinished"
DRAFT: Final = "repair/unfinished.new"
ORDER: Final = (*ENVELOPES, "mess")
"""The message file last: as long as it is staged, its message is not complete elsewhere."""
MOVE: Final = "move"
NEW: Final = "new"
STAGED: Final = re.compile(
    rf"({MOVE}|{NEW})\.(0|[1-9]\d{{0,19}})\.(0|[1-9]\d{{0,19}})\.({'|'.join(ORDER)})", re.ASCII
)
MENDING: Final = b"check --repair\n"
MARK_BYTES_MAX: Final = 4096


@dataclass(slots=True)
class Staged:
    """The staged files of one message."""

    how: str
    old: int
    new: int
    kinds: set[str] = field(default_factory=set)

    def path(self, kind: str) -> str:
        """Return the path of one of its files."""
        return staged_path(self.how, self.old, self.new, kind)


def staged_path(how: str, old: int, new: int, kind: str) -> str:
    """Return the path of a file between two numbers."""
    return f"{REPAIR}/{how}.{old}.{new}.{kind}"


def staged(fs: Fs, how: str) -> list[Staged]:
    """Return what is between two numbers. Raises: OSError."""
    found: dict[tuple[int, int], Staged] = {}
    for name, _ in fs.names(REPAIR):
        parts = STAGED.fullmatch(name)
        if parts is not None and parts[1] == how:
            old, new = int(parts[2]), int(parts[3])
            found.setdefault((old, new), Staged(how, old, new)).kinds.add(parts[4])
    return [found[key] for key in sorted(found)]


def mark(fs: Fs, text: bytes) -> None:
    """Note on disk that names are about to be in between. Raises: OSError."""
    if fs.info(DRAFT) is not None:
        fs.unlink(DRAFT)
    fd = fs.create(DRAFT)
    try:
        fs.write(fd, text)
    finally:
        fs.close(fd)
    # Bytes before the name, whatever the file system does first.
    fs.sync()
    fs.rename(DRAFT, UNFINISHED)
    fs.sync()


def marked(fs: Fs) -> bytes | None:
    """Return the text of the mark, None where there is none. Raises: OSError."""
    if fs.info(UNFINISHED) is None:
        return None
    return fs.read(UNFINISHED, MARK_BYTES_MAX)


class Mark:
    """The mark of one repair: made before the first change, removed after the last."""

    def __init__(self, fs: Fs) -> None:
        self._fs = fs
        self._is_there = False
        self.is_ours = False
        """It was not there before, so nothing was interrupted."""

    def begin(self) -> None:
        """Make the mark. One of an interrupted import says more and stays. Raises: OSError."""
        if not self._is_there:
            if marked(self._fs) is None:
                mark(self._fs, MENDING)
                self.is_ours = True
            self._is_there = True

    def end(self, settle: Callable[[], None]) -> None:
        """Do the last work, then remove the mark, if there is one. Raises: OSError."""
        if self._is_there:
            settle()
            self._fs.sync()
            self._fs.unlink(UNFINISHED)
            self._fs.sync()


class Moves:
    """Gives messages other numbers."""

    def __init__(self, fs: Fs, layout: Layout, lost: LostFolder) -> None:
        self._fs = fs
        self._layout = layout
        self._lost = lost

    def renumber(self, census: Census, numbers: Iterable[int]) -> None:
        """Give each message of `numbers` the number of its inode; finish what was begun before.

        Raises: OSError: doing it again goes on from there.
        """
        if not staged(self._fs, MOVE):
            # All was in place; at most the notes were not.
            put(self._fs)
        moves = {number: census.inodes[number] for number in numbers}
        for pending in staged(self._fs, MOVE):
            # Its message file is the last to be staged: without it, it has the old number still.
            if "mess" not in pending.kinds:
                if census.inodes.get(pending.old) == pending.new:
                    moves[pending.old] = pending.new
                else:
                    self._give_up(pending)
        for new in moves.values():
            if census.path("mess", new) is None:
                self._clear(census, new)
        for old, new in moves.items():
            self._stage(census, old, new)
        self._fs.sync()
        self._prepare_notes()
        self.place(MOVE)

    def _prepare_notes(self) -> None:
        """Have the notes of operators follow their messages, unless that was done before a cut."""
        entries = read_notes(self._fs)
        if entries and self._fs.info(READY) is None:
            numbers = {each.old: each.new for each in staged(self._fs, MOVE)}
            prepare(self._fs, renumbered(entries, numbers))

    def _give_up(self, pending: Staged) -> None:
        paths = {kind: pending.path(kind) for kind in pending.kinds}
        self._lost.take(Fault.LEFTOVER, paths, str(pending.old), "its message is gone")

    def _clear(self, census: Census, number: int) -> None:
        """Move away what is left under a number that a message is about to get."""
        paths = census.has(number)
        if paths:
            self._lost.take(Fault.LEFTOVER, paths, str(number), "its message is gone")
            for kind in paths:
                census.forget(kind, number)

    def _stage(self, census: Census, old: int, new: int) -> None:
        for kind in ORDER:
            path = census.path(kind, old)
            if path is not None:
                self._fs.rename(path, staged_path(MOVE, old, new, kind))

    def place(self, how: str) -> None:
        """Give everything that is staged its new number. Raises: OSError."""
        for message in staged(self._fs, how):
            for kind in ORDER:
                if kind in message.kinds:
                    self._place(message, kind)
        self._fs.sync()
        put(self._fs)

    def _place(self, message: Staged, kind: str) -> None:
        target = place(self._layout, kind, message.new)
        if self._fs.info(target) is not None:
            why = f"in the way of message {message.old}, which is {message.new} now"
            self._lost.take(Fault.DUPLICATE, {kind: target}, str(message.new), why)
        self._fs.rename(message.path(kind), target)

    def take_back(self) -> None:
        """Remove what an import that is not complete has made. Raises: OSError."""
        for message in staged(self._fs, NEW):
            for kind in ORDER:
                if kind in message.kinds:
                    self._fs.unlink(message.path(kind))
        take_back(self._fs)
