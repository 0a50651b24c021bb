"""Files and changes of the simulated disk, and what syncs and power cuts do to each."""

from dataclasses import dataclass, replace

from tests.sim.power import Torn, torn_bytes

from qmail.core.fs import FileInfo


@dataclass(eq=False, slots=True)
class Inode:
    """One file: its bytes as programs see them, and as they are on disk."""

    number: int
    mode: int
    data: bytearray
    disk: bytes
    mtime: float
    ctime: float
    disk_mtime: float
    links: int = 0
    opens: int = 0
    is_dirty: bool = False


@dataclass(slots=True)
class Opened:
    """One descriptor."""

    inode: Inode
    position: int
    appends: bool


@dataclass(frozen=True, slots=True)
class Change:
    """One change of names or times that waits for a sync: all of it survives, or nothing."""

    removed: str | None = None
    added: str | None = None
    inode: Inode | None = None
    mtime: float | None = None

    @property
    def is_nothing(self) -> bool:
        """True when nothing of it is left to do."""
        return self.removed is None and self.added is None and self.mtime is None


def split(change: Change, folder: str) -> tuple[Change, Change]:
    """Part a change into what it does to the names in `folder`, and the rest."""

    def is_in(path: str | None) -> bool:
        return path is not None and path.rpartition("/")[0] == folder

    removed = change.removed if is_in(change.removed) else None
    added = change.added if is_in(change.added) else None
    here = Change(removed=removed, added=added, inode=change.inode)
    rest = replace(
        change,
        removed=None if removed else change.removed,
        added=None if added else change.added,
    )
    return here, rest


def apply(change: Change, names: dict[str, Inode]) -> None:
    """Do to `names` what a change does."""
    if change.removed is not None:
        names.pop(change.removed, None)
    if change.added is not None and change.inode is not None:
        names[change.added] = change.inode


def clean(inode: Inode) -> None:
    """Note that the bytes of a file are on disk."""
    if inode.is_dirty:
        inode.disk = bytes(inode.data)
        inode.is_dirty = False


def drop(inode: Inode) -> None:
    """Lose the bytes of a file: a sync of it failed."""
    # Not dirty from now on, and yet not on disk: no later sync writes these bytes.
    inode.is_dirty = False


def survivor(inode: Inode, torn: Torn, mtime: float | None) -> Inode:
    """Return a file as it is found after a power cut."""
    # After a failed sync a file is not dirty, and still its bytes are not those on disk.
    data = torn_bytes(torn, inode.disk, bytes(inode.data)) if inode.is_dirty else inode.disk
    when = inode.disk_mtime if mtime is None else mtime
    return Inode(inode.number, inode.mode, bytearray(data), data, when, inode.ctime, when)


def put(data: bytearray, offset: int, new: bytes) -> None:
    """Write `new` at `offset`, zeros before it where there was nothing."""
    if offset > len(data):
        data += bytes(offset - len(data))
    data[offset : offset + len(new)] = new


def describe(inode: Inode) -> FileInfo:
    """Return what `Fs.info` says of a file."""
    newest = max(inode.mtime, inode.ctime)
    return FileInfo(inode.number, len(inode.data), inode.mtime, newest, 0, inode.mode)
