"""A queue in a real folder whose calls can be made to fail, and a clock that is set by hand."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from qmail.core.fs import FileInfo, RealFs
from qmail.core.queue.engine import Ticket
from qmail.core.queue.layout import SPLIT_FOLDERS, Layout
from qmail.core.queue.read import DiskQueue
from qmail.mail import Channel

START = 1_700_000_000.0
LAYOUT = Layout(3)


class FakeClock:
    """A Clock whose time passes when a test says so."""

    def __init__(self, now: float = START) -> None:
        self.time = now
        self.wrong = 0.0
        """By how much the clock that people set is not what it was."""

    def now(self) -> float:
        return self.time + self.wrong

    def monotonic(self) -> float:
        return self.time


class FailingFs(RealFs):
    """The real file system; `refuse` makes calls fail, `log` lists those that changed something."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.log: list[str] = []
        self._refused: dict[str, tuple[str, OSError]] = {}
        self.before_names: dict[str, Callable[[], None]] = {}
        self.inodes: list[int] = []

    def refuse(self, call: str, code: int, prefix: str = "") -> None:
        """Have `call` raise for every path that starts with `prefix`."""
        self._refused[call] = (prefix, OSError(code, os.strerror(code)))

    def allow(self, call: str) -> None:
        """Let `call` work again."""
        del self._refused[call]

    def _check(self, call: str, path: str = "") -> None:
        self.log.append(f"{call} {path}".rstrip())
        prefix, trouble = self._refused.get(call, ("", None))
        if trouble is not None and path.startswith(prefix):
            raise trouble

    def create(self, path: str, mode: int = 0o644) -> int:
        self._check("create", path)
        return super().create(path, mode)

    def create_unnamed(self, folder: str, mode: int = 0o644) -> int:
        self._check("create_unnamed", folder)
        return super().create_unnamed(folder, mode)

    def name(self, fd: int, path: str) -> None:
        self._check("name", path)
        super().name(fd, path)

    def open_append(self, path: str, mode: int = 0o600) -> int:
        self._check("open_append", path)
        return super().open_append(path, mode)

    def write(self, fd: int, data: bytes) -> None:
        self._check("write")
        super().write(fd, data)

    def info_of(self, fd: int) -> FileInfo:
        found = super().info_of(fd)
        if not self.inodes:
            return found
        return FileInfo(self.inodes.pop(0), found.size, found.mtime, found.newest, 0, found.mode)

    def overwrite(self, path: str, offset: int, data: bytes) -> None:
        self._check("overwrite", path)
        super().overwrite(path, offset, data)

    def rename(self, old: str, new: str) -> None:
        self._check("rename", new)
        super().rename(old, new)

    def unlink(self, path: str) -> None:
        self._check("unlink", path)
        super().unlink(path)

    def set_mtime(self, path: str, when: float) -> None:
        self._check("set_mtime", path)
        super().set_mtime(path, when)

    def sync(self) -> None:
        # Only counted: what a power cut leaves is the simulated disk's business.
        self._check("sync")

    def read(self, path: str, bytes_max: int) -> bytes:
        self._check("read", path)
        return super().read(path, bytes_max)

    def info(self, path: str) -> FileInfo | None:
        self._check("info", path)
        return super().info(path)

    def names(self, folder: str) -> Iterator[tuple[str, int]]:
        self._check("names", folder)
        self.before_names.pop(folder, lambda: None)()
        return super().names(folder)


def make_queue(folder: Path) -> FailingFs:
    """Make an empty queue and return its disk."""
    for name in ("pid", "intd", "todo", "bounce", "lock", "parked"):
        (folder / name).mkdir(parents=True)
    for name in SPLIT_FOLDERS:
        for index in range(LAYOUT.split):
            (folder / name / str(index)).mkdir(parents=True)
    return FailingFs(str(folder))


def files_of(folder: Path) -> set[str]:
    """Return the paths of all files below `folder`."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# --- one message, number 7 ------------------------------------------------------------------------

ENTRY = b"u5\0p77\0Fjoe@a.ex\0Tann@b.ex\0Tbob@c.ex\0"
RECORDS = {Channel.LOCAL: b"Tann@b.ex\0", Channel.REMOTE: b"Tbob@c.ex\0Tcyd@d.ex\0"}
LOCAL, REMOTE = Ticket(7, Channel.LOCAL), Ticket(7, Channel.REMOTE)
INFO, LOCAL_FILE, REMOTE_FILE = "info/1/7", "local/1/7", "remote/1/7"


def put(folder: Path, path: str, data: bytes, mtime: float = START) -> None:
    """Make a file of the queue."""
    (folder / path).write_bytes(data)
    os.utime(folder / path, (mtime, mtime))


def arrive(folder: Path, number: int = 7, todo: bytes = ENTRY) -> None:
    """Have a message queued: S4."""
    put(folder, LAYOUT.mess(number), b"message")
    put(folder, LAYOUT.todo(number), todo, START - 50)


def keep(queue: DiskQueue, folder: Path) -> None:
    """Take message 7 to S5."""
    arrive(folder)
    found = queue.arrival(7)
    assert found is not None
    queue.keep(found, RECORDS)
    (folder / "todo/7").unlink()
