"""Where everything of a home lies, whose it is and with which mode: one table.

`qmail init` makes it, `qmail check` compares with it.
Source: spec/queue.md 1 (the queue), spec/programs.md 0 (the rest).
"""

import contextlib
from dataclasses import dataclass
from enum import Enum
from typing import Final

from qmail.core.fs import Fs
from qmail.core.queue.layout import PARKED, SPLIT_DEFAULT, SPLIT_FOLDERS, numbered
from qmail.core.settings.controls import ControlError, ReadFile, parse_integer, split_lines
from qmail.protocol.tcpto import TCPTO6_BYTES, TCPTO_BYTES

SPLIT_MAX: Final = 10007
ROOT: Final = "root"
COMMANDS: Final = "bin"
"""Where other packages look for the commands: the home has a link there for each."""


class Kind(Enum):
    """What a place is."""

    FOLDER = "folder"
    FILE = "file"
    PIPE = "named pipe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One folder or file of a home. `path` is relative to the home, "" is the home itself."""

    path: str
    owner: str
    """An account of the suite, or root; in a home of one account both mean that account."""
    group: str
    mode: int
    kind: Kind = Kind.FOLDER
    content: bytes = b""
    """What a file that is missing starts with."""


def _folder(path: str, owner: str, mode: int, group: str = "qmail") -> Place:
    return Place(path=path, owner=owner, group=group, mode=mode)


HOME_PLACES: Final = (
    _folder("", ROOT, 0o755),
    _folder("control", ROOT, 0o755),
    _folder("users", ROOT, 0o755),
    _folder("run", ROOT, 0o755),
    # With the set-gid bit: what qmaill, who is in another group, writes there group qmail may read.
    _folder("log", "qmaill", 0o2750),
    _folder("alias", "alias", 0o2755),
    _folder("alias/Maildir", "alias", 0o700, "nofiles"),
    _folder("alias/Maildir/tmp", "alias", 0o700, "nofiles"),
    _folder("alias/Maildir/new", "alias", 0o700, "nofiles"),
    _folder("alias/Maildir/cur", "alias", 0o700, "nofiles"),
)
DOORS: Final = {
    "queue": ("qmailq", 0o666),
    "send": ("qmailq", 0o600),
    "control": ("qmails", 0o600),
    "mailq": ("qmails", 0o666),
    "clean": ("qmails", 0o600),
    "lspawn": ("qmails", 0o600),
    "rspawn": ("qmails", 0o600),
    "mailbox": ("qmailp", 0o600),
    "verify": ("qmaild", 0o600),
    "login": ("qmaild", 0o600),
}
"""The sockets in run/ that qmail-start makes: their owner, who may call there, and their mode."""
QUEUE_PLACES: Final = (
    _folder("queue", "qmailq", 0o750),
    _folder("queue/pid", "qmailq", 0o700),
    _folder("queue/intd", "qmailq", 0o700),
    _folder("queue/todo", "qmailq", 0o750),
    _folder("queue/mess", "qmailq", 0o750),
    _folder("queue/parked", "qmailq", 0o750),
    _folder("queue/info", "qmails", 0o700),
    _folder("queue/local", "qmails", 0o700),
    _folder("queue/remote", "qmails", 0o700),
    _folder("queue/bounce", "qmails", 0o700),
    _folder("queue/lock", "qmailq", 0o750),
    Place(path="queue/lock/sendmutex", owner="qmails", group="qmail", mode=0o600, kind=Kind.FILE),
    Place(path="queue/lock/trigger", owner="qmails", group="qmail", mode=0o622, kind=Kind.PIPE),
    Place(
        path="queue/lock/tcpto",
        owner="qmailr",
        group="qmail",
        mode=0o644,
        kind=Kind.FILE,
        content=bytes(TCPTO_BYTES),
    ),
    Place(
        path="queue/lock/tcpto6",
        owner="qmailr",
        group="qmail",
        mode=0o644,
        kind=Kind.FILE,
        content=bytes(TCPTO6_BYTES),
    ),
)
QUEUE_FILES: Final = {
    "pid": ("qmailq", 0o644),
    "intd": ("qmailq", 0o644),
    "todo": ("qmailq", 0o644),
    "mess": ("qmailq", 0o644),
    "info": ("qmails", 0o600),
    "local": ("qmails", 0o600),
    "remote": ("qmails", 0o600),
    "bounce": ("qmails", 0o600),
    PARKED: ("qmailq", 0o644),
}
"""Owner and mode of the files in each folder of the queue (spec/queue.md 1)."""


def read_split(read_control: ReadFile) -> int:
    """Return control/split, else 23: what a new queue is made with.

    Raises: ControlError: not a usable number. OSError: it can't be read.
    """
    raw = read_control("split")
    if raw is None:
        return SPLIT_DEFAULT
    split = parse_integer("split", split_lines(raw))
    if not 0 < split <= SPLIT_MAX:
        raise ControlError("split", 1, f"{split} is not between 1 and {SPLIT_MAX}")
    return split


def split_made(fs: Fs) -> int:
    """Return the split that a queue was made with, 0 where it has no numbered folders.

    Every folder is asked, so that one that is missing does not make the queue look smaller.
    Raises: OSError: a folder can't be read.
    """
    numbers: set[int] = set()
    for folder in SPLIT_FOLDERS:
        with contextlib.suppress(FileNotFoundError):
            numbers.update(numbered(fs, folder))
    return max(numbers, default=-1) + 1


def places(split: int = SPLIT_DEFAULT) -> tuple[Place, ...]:
    """List every place of a home, each folder before what lies in it."""
    found = [*HOME_PLACES, *QUEUE_PLACES]
    for place in QUEUE_PLACES:
        if place.path.removeprefix("queue/") in SPLIT_FOLDERS:
            found += [
                _folder(f"{place.path}/{number}", place.owner, place.mode)
                for number in range(split)
            ]
    return tuple(found)


def first_controls(host: str, listeners: tuple[str, ...]) -> dict[str, str]:
    """Return the control files that a new home starts with, and their contents.

    Source: spec/programs.md 3 (config-fast) for the first five.
    """
    labels = host.split(".")
    domain = ".".join(labels[1:]) if len(labels) > 2 else host
    return {
        "me": f"{host}\n",
        "locals": f"{host}\n",
        "rcpthosts": f"{host}\n",
        "defaultdomain": f"{domain}\n",
        "plusdomain": ".".join(domain.split(".")[-2:]) + "\n",
        # A delivery is not a process here, so more of them at once than qmail's 10 and 20: most of
        # the remote ones do nothing but wait, for name servers and for greetings.
        "concurrencylocal": "20\n",
        "concurrencyremote": "2000\n",
        "listeners": "".join(f"{line}\n" for line in listeners),
    }


FIRST_ALIASES: Final = ("postmaster", "mailer-daemon", "root")
"""Local parts that every host must take mail for; they go to the maildir of alias."""
FIRST_ALIAS_TEXT: Final = (
    "# Mail for this address is kept here; write &somebody@host to forward it.\n./Maildir/\n"
)
