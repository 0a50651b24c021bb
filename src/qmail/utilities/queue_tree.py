"""The folders and files of a queue as such: are they there, of the right type, whose are they.

What files hold is looked at by core/repair/checkup.py, after this has made it safe to look.
"""

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from qmail.core.clock import REAL_CLOCK
from qmail.core.held_fs import HeldFs, Ownership
from qmail.core.queue.layout import PARKED, SPLIT_DEFAULT, SPLIT_FOLDERS
from qmail.core.queue.notes_file import NEW_PATH, PATH
from qmail.core.repair.census import KINDS, folders_of, is_queue_number, names_in
from qmail.core.repair.faults import Fault, Finding
from qmail.core.repair.lost import LOST, LostFolder
from qmail.core.repair.moves import REPAIR, Mark
from qmail.core.repair.parked import NAME as PARKED_NAME
from qmail.core.settings.controls import control_reader
from qmail.core.settings.places import QUEUE_FILES, QUEUE_PLACES, ROOT, Kind, Place, read_split
from qmail.edge.machine.accounts import Accounts, one_account, separate_accounts
from qmail.edge.machine.home_maker import HomeError, HomeMaker, ids_of, shown_owner

OWN: Final = (LOST, REPAIR)
"""Folders that a repair makes for itself."""
ELSEWHERE: Final = ("lost+found", "aquota.user", "aquota.group", *OWN)
"""Names beside the queue's that a file system of its own has, and ours."""
NOTES: Final = (PATH, NEW_PATH)
"""What operators hold or gave up: a file of no message."""
NAMES: Final = {
    "pid": re.compile(r"\d+\.\d+\.\d+|spare\.\d+(?:\.todo)?", re.ASCII),
    PARKED: PARKED_NAME,
}
"""The names of files in folders where those are no numbers."""
KIND_BITS: Final = {
    Kind.FOLDER: stat.S_IFDIR,
    Kind.FILE: stat.S_IFREG,
    Kind.PIPE: stat.S_IFIFO,
}


def owner_in(accounts: Accounts, path: str) -> Ownership:
    """Return whose a file below queue/ is to be, by its path."""
    kind = path.partition("/")[0]
    if path.startswith(f"{REPAIR}/") and path.rpartition(".")[2] in KINDS:
        # On its way to the folder of its kind.
        kind = path.rpartition(".")[2]
    owner, mode = QUEUE_FILES.get(kind, (ROOT, 0o600))
    return Ownership(*ids_of(accounts, owner, "qmail"), mode)


@contextlib.contextmanager
def open_queue(home: str, accounts: Accounts) -> Iterator[HeldFs]:
    """Open the queue of a home. Raises: OSError."""
    trusted = {accounts[name].uid for name in ("qmailq", "qmails", "qmailr")}
    fs = HeldFs(f"{home}/queue", partial(owner_in, accounts), trusted)
    try:
        yield fs
    finally:
        fs.release()


def accounts_here(home: str) -> Accounts:
    """Return who runs a home. The queue can't be asked: its owner may be what is wrong.

    Raises: OSError: there is no home. MissingAccountError.
    """
    found = os.stat(home)
    return one_account(found.st_uid, found.st_gid) if found.st_uid else separate_accounts()


def make_own_folders(home: str, accounts: Accounts) -> None:
    """Make the folders that repair and import work in. Raises: OSError, HomeError."""
    maker = HomeMaker(home, lambda _line: None)
    for name in OWN:
        maker.folder(f"queue/{name}", owner=ids_of(accounts, ROOT, "qmail"), mode=0o700)


@dataclass(slots=True)
class Tree:
    """One walk over all names of a queue. `mark` is None where this only checks."""

    home: str
    accounts: Accounts
    fs: HeldFs
    mark: Mark | None
    ignored: set[str] = field(default_factory=set)
    """Paths that are no files of messages, where this only checks."""
    split: int = SPLIT_DEFAULT
    """How many folders there are, or are to be."""
    tell: Callable[[int], None] = lambda _count: None
    """Is told how many files were looked at."""
    _count: int = 0

    def run(self) -> Iterator[Finding]:
        """Yield every fault, after it was mended where this mends.

        Raises: OSError, ControlError.
        """
        yield from self._splits()
        for place in QUEUE_PLACES:
            yield from self._place(place)
            path = place.path.removeprefix("queue/")
            if path in SPLIT_FOLDERS:
                for number in range(self.split):
                    below = Place(
                        path=f"{place.path}/{number}",
                        owner=place.owner,
                        group=place.group,
                        mode=place.mode,
                    )
                    yield from self._place(below)
        yield from self._names_of_folders()
        for folder in ("pid", "intd", *(kind for kind in KINDS if kind != "intd"), PARKED):
            yield from self._files_of(folder)

    def settle(self) -> None:
        """Remove the folders that are too many, now that they are empty. Raises: OSError."""
        for kind in SPLIT_FOLDERS:
            for name in folders_of(self.fs, kind):
                if int(name) >= self.split:
                    self.fs.remove_folder(f"{kind}/{name}")

    # --- mending --------------------------------------------------------------------------------

    def _mend(self, fault: Fault, path: str, why: str, work: Callable[[], str]) -> Finding:
        if self.mark is None:
            return Finding(fault, path, why)
        try:
            return Finding(fault, path, why, work())
        except OSError as trouble:
            return Finding(fault, path, f"{why}; not mended: {trouble.strerror}")
        except HomeError as trouble:
            return Finding(fault, path, f"{why}; not mended: {trouble}")

    def _lose(self, fault: Fault, path: str, why: str) -> str:
        label = path.replace("/", ".")
        stem = LostFolder(self.fs, REAL_CLOCK).take(fault, {"name": path}, label, why)
        self.fs.let_go()
        return f"moved to {stem}.name"

    # --- folders --------------------------------------------------------------------------------

    def _splits(self) -> Iterator[Finding]:
        read = control_reader(self.home)
        made = max(
            (int(name) for kind in SPLIT_FOLDERS for name in folders_of(self.fs, kind)), default=-1
        )
        self.split = read_split(read) if read("split") is not None else made + 1 or SPLIT_DEFAULT
        if made >= 0 and made + 1 != self.split:
            why = f"there are {made + 1} folders, and control/split says {self.split}"
            yield self._mend(Fault.SPLIT, "mess", why, self._begin_split)

    def _begin_split(self) -> str:
        # Before the number of folders changes: until all files have moved, nobody may look.
        assert self.mark is not None
        self.mark.begin()
        return f"there are {self.split} now"

    def _place(self, place: Place) -> Iterator[Finding]:
        path = place.path.removeprefix("queue").removeprefix("/")
        found = self.fs.status(path) if path else os.stat(f"{self.home}/queue")
        if found is not None and stat.S_IFMT(found.st_mode) != KIND_BITS[place.kind]:
            fault = Fault.NOT_A_FOLDER if place.kind is Kind.FOLDER else Fault.LOCK_FILE
            why = f"it is no {place.kind.value}"
            yield self._mend(fault, path, why, partial(self._replace, fault, place, why))
            return
        if found is None:
            fault = Fault.MISSING_FOLDER if place.kind is Kind.FOLDER else Fault.LOCK_FILE
            yield self._mend(fault, path, "it is not there", partial(self._make, place, "made"))
            return
        wanted = (*ids_of(self.accounts, place.owner, place.group), place.mode)
        real = (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))
        if real != wanted:
            fault = Fault.FOLDER_OWNER if place.kind is Kind.FOLDER else Fault.FILE_OWNER
            why = f"{shown_owner(*real)}, must be {shown_owner(*wanted)}"
            yield self._mend(fault, path, why, partial(self._make, place, "set"))
        if place.content and found.st_size != len(place.content):
            why = f"it has {found.st_size} bytes, must have {len(place.content)}"
            work = partial(self._resize, path, len(place.content))
            yield self._mend(Fault.LOCK_FILE, path, why, work)

    def _replace(self, fault: Fault, place: Place, why: str) -> str:
        moved = self._lose(fault, place.path.removeprefix("queue/"), why)
        return f"{moved}, and {self._make(place, 'made')}"

    def _make(self, place: Place, done: str) -> str:
        maker = HomeMaker(self.home, lambda _line: None)
        owner = ids_of(self.accounts, place.owner, place.group)
        if place.kind is Kind.FOLDER:
            maker.folder(place.path, owner=owner, mode=place.mode)
        elif place.kind is Kind.PIPE:
            maker.pipe(place.path, owner=owner, mode=place.mode)
        elif not maker.file(place.path, place.content, owner=owner, mode=place.mode):
            maker.repair(place.path, owner=owner, mode=place.mode, kind=stat.S_IFREG)
        return done

    def _resize(self, path: str, size: int) -> str:
        self.fs.resize(path, size)
        return "set"

    # --- names ----------------------------------------------------------------------------------

    def _names_of_folders(self) -> Iterator[Finding]:
        known = {place.path.split("/")[1] for place in QUEUE_PLACES if "/" in place.path}
        for name, _ in sorted(self.fs.names("")):
            if name not in known and name not in ELSEWHERE:
                yield self._unknown(name)
        for kind in SPLIT_FOLDERS:
            for name, _ in sorted(names_in(self.fs, kind)):
                path = f"{kind}/{name}"
                if path in NOTES:
                    yield from self._notes(path)
                elif not is_queue_number(name):
                    yield self._unknown(path)

    def _notes(self, path: str) -> Iterator[Finding]:
        found = self.fs.status(path)
        if found is not None:
            yield from self._owner(path, found)

    def _unknown(self, path: str) -> Finding:
        why = "no file of the queue is called so"
        work = partial(self._lose, Fault.UNKNOWN_NAME, path, why)
        return self._mend(Fault.UNKNOWN_NAME, path, why, work)

    def _files_of(self, kind: str) -> Iterator[Finding]:
        for below in folders_of(self.fs, kind):
            folder = f"{kind}/{below}" if below else kind
            for name, _ in sorted(names_in(self.fs, folder)):
                found = self.fs.status(f"{folder}/{name}")
                self._count += 1
                self.tell(self._count)
                if found is not None:
                    yield from self._file(kind, f"{folder}/{name}", found)

    def _file(self, kind: str, path: str, found: os.stat_result) -> Iterator[Finding]:
        name = path.rpartition("/")[2]
        if not (NAMES[kind].fullmatch(name) if kind in NAMES else is_queue_number(name)):
            yield self._unknown(path)
        elif not stat.S_ISREG(found.st_mode):
            yield self._lost_file(Fault.SPECIAL_FILE, path, "it is no plain file")
        elif found.st_nlink > 1 and kind in ("pid", "intd"):
            why = "it has another name"
            yield self._mend(Fault.SECOND_NAME, path, why, partial(self._remove, path))
        elif found.st_nlink > 1 and not self._is_ours(found):
            yield self._lost_file(Fault.SECOND_NAME, path, "another name, and another owner")
        else:
            yield from self._owner(path, found)

    def _is_ours(self, found: os.stat_result) -> bool:
        return found.st_uid in {self.accounts[name].uid for name in ("qmailq", "qmails")}

    def _owner(self, path: str, found: os.stat_result) -> Iterator[Finding]:
        wanted = owner_in(self.accounts, path)
        # The group says nothing here: it is the one of whoever put the message in.
        real = (found.st_uid, stat.S_IMODE(found.st_mode))
        if real != (wanted.uid, wanted.mode):
            shown = shown_owner(real[0], found.st_gid, real[1])
            why = f"{shown}, must be {shown_owner(*wanted)}"
            yield self._mend(Fault.FILE_OWNER, path, why, partial(self._give, path))

    def _give(self, path: str) -> str:
        self.fs.repair_owner(path)
        return "set"

    def _remove(self, path: str) -> str:
        self.fs.unlink(path)
        return "removed"

    def _lost_file(self, fault: Fault, path: str, why: str) -> Finding:
        self.ignored.add(path)
        return self._mend(fault, path, why, partial(self._lose, fault, path, why))
