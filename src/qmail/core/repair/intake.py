"""An archive into a queue: all of its messages, or none (docs/queue-repair.md).

Every file is made as repair/new.INDEX.NUMBER.KIND, its number being the inode of its message, and
all of them are checked against the sums of the archive. Nobody looks there, so up to here nothing
has happened to the queue. Then one sync, then the mark `import ID`, then one rename for each file
(core/repair/moves.py), then repair/imported.ID. What a cut leaves is taken back before the mark and
finished after it, by the next import or by `qmail queue check --repair`; an archive whose ID is
there is not imported again.
"""

import contextlib
from collections.abc import Callable
from typing import Final

from qmail.core.fs import Fs
from qmail.core.queue.layout import Layout
from qmail.core.queue.records import BYTES_MAX
from qmail.core.queue.seal import is_whole
from qmail.core.repair.archive import QUEUED, ArchiveError, Parcel, Reader, wrong_contents
from qmail.core.repair.census import KINDS, place
from qmail.core.repair.checkup import IMPORT, finish_import, imported
from qmail.core.repair.moves import NEW, REPAIR, UNFINISHED, Moves, mark, staged_path
from qmail.core.repair.notes import added, entries_of, prepare, read_notes

TRIES: Final = 64
TAKEN: Final = f"{REPAIR}/taken"


class ImportedAlreadyError(Exception):
    """The archive was imported before; `path` is the note about it."""

    def __init__(self, path: str) -> None:
        super().__init__(f"this archive was imported already: queue/{path} tells when")
        self.path = path


class Intake:
    """Imports one archive. `taken`: numbers that no message may get."""

    def __init__(self, fs: Fs, layout: Layout, moves: Moves, taken: set[int]) -> None:
        self._fs = fs
        self._layout = layout
        self._moves = moves
        self._taken = taken
        self._index = 0
        self._numbers: dict[int, int] = {}

    def run(self, reader: Reader, tell: Callable[[Parcel], None]) -> int:
        """Import everything that `reader` has; return how many messages.

        Raises: ArchiveError: damaged; the queue is as before. ImportedAlreadyError. OSError.
        """
        try:
            for parcel in reader.parcels():
                self._index += 1
                self._take(reader, parcel)
                tell(parcel)
            text = IMPORT + reader.id.encode() + b"\n"
            self._check_new(imported(text))
            self._take_notes(reader.notes)
        except BaseException:
            with contextlib.suppress(OSError):
                self._moves.take_back()
            raise
        # All files are on disk before the mark says that they are all there.
        mark(self._fs, text)
        finish_import(self._fs, self._moves, text)
        self._fs.unlink(UNFINISHED)
        self._fs.sync()
        return self._index

    def _take_notes(self, raw: bytes) -> None:
        more = entries_of(raw)
        if more:
            prepare(self._fs, added(read_notes(self._fs), more, self._numbers))

    def _check_new(self, note: str) -> None:
        if self._fs.info(note) is not None:
            raise ImportedAlreadyError(note)

    def _take(self, reader: Reader, parcel: Parcel) -> None:
        """Make the files of one message. Its number is known when its message file is."""
        fd, number = self._new_number()
        self._numbers[parcel.number] = number
        made = {kind: staged_path(NEW, self._index, number, kind) for kind in parcel.files}
        try:
            for kind, found in parcel.files.items():
                if kind == "mess":
                    for part in reader.parts(kind, found):
                        self._fs.write(fd, part)
                    continue
                data = b"".join(reader.parts(kind, found))
                wrong = wrong_contents(kind, data)
                if wrong:
                    raise ArchiveError(f"{kind} of message {parcel.number}: {wrong}")
                self._make(made[kind], data)
        finally:
            self._fs.close(fd)
        self._check(parcel, made)
        for kind, path in made.items():
            self._fs.set_mtime(path, parcel.files[kind].mtime)

    def _check(self, parcel: Parcel, made: dict[str, str]) -> None:
        if not parcel.files["mess"].size:
            raise ArchiveError(f"message {parcel.number} is empty")
        if tuple(parcel.files) == QUEUED:
            records = self._fs.read(made["todo"], BYTES_MAX["todo"])
            if not is_whole(self._fs, made["mess"], records):
                raise ArchiveError(f"message {parcel.number} is torn")

    def _make(self, path: str, data: bytes) -> None:
        fd = self._fs.create(path, 0o600)
        try:
            self._fs.write(fd, data)
        finally:
            self._fs.close(fd)

    def _new_number(self) -> tuple[int, int]:
        """Make a message file whose inode is a number that nothing in the queue has."""
        kept: list[tuple[int, str]] = []
        try:
            for attempt in range(TRIES):
                path = f"{TAKEN}.{attempt}.mess"
                with contextlib.suppress(FileNotFoundError):
                    self._fs.unlink(path)
                fd = self._fs.create(path, 0o644)
                number = self._fs.info_of(fd).inode
                if self._is_free(number):
                    self._taken.add(number)
                    self._fs.rename(path, staged_path(NEW, self._index, number, "mess"))
                    return fd, number
                # Held until another inode is found, or the same one would come again.
                kept.append((fd, path))
        finally:
            for fd, path in kept:
                self._fs.close(fd)
                self._fs.unlink(path)
        raise OSError(17, "every free inode number is in use: run 'qmail queue check --repair'")

    def _is_free(self, number: int) -> bool:
        if number in self._taken:
            return False
        return all(self._fs.info(place(self._layout, kind, number)) is None for kind in KINDS)
