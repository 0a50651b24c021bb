"""parked/: where a queued message goes whose envelope makes no sense, until somebody mends it.

Nothing sweeps that folder and nothing is delivered from it. The message goes first:

| step | what                            | what the power may leave                            |
|------|---------------------------------|-----------------------------------------------------|
| 1    | mess/N is renamed parked/N.mess | as before: found again and parked again             |
| 2    | todo/N is renamed parked/N.todo | todo/N whose message is parked: the table says PARK |

So the message is in mess/ with an entry in todo/, which no sweep touches, or it is in parked/. As
long as it lies there its inode, and so its number, is given to no other. Putting it back goes the
same way in the other order (core/repair/checkup.py).

What a power cut leaves of a commit in its middle was never accepted: such an entry is not parked
but becomes S3, as at the start of qmail-queue (core/queue/write.py), and goes after 36 hours.
"""

import errno
from enum import Enum, auto
from typing import Final

from qmail.core.fs import Fs
from qmail.core.queue.layout import ENVELOPE_BYTES_MAX, Layout, parked
from qmail.core.queue.records import wrong_with
from qmail.core.queue.seal import SLASH, is_whole
from qmail.core.queue.spares import SPENT

FOR_GOOD: Final = (errno.EIO, errno.EFBIG, errno.EISDIR)
"""An entry that can't be read for one of these reasons is no better for being read again."""
NUL: Final = b"\0"


class Fate(Enum):
    """What became of an entry in todo/."""

    PARKED = auto()
    NEVER_ACCEPTED = auto()
    """S3 now."""
    LEFT = auto()
    """It is whole, or gone, or what is left of a message that is."""
    NO_ROOM = auto()
    """Another message is parked under its number."""


def could_be_torn(records: bytes, mtime: float, booted: float) -> bool:
    """Tell whether a power cut may have left an entry that makes no sense in this state.

    It was then written before the machine was started, at `booted`, and never accepted. It is
    empty, zeros, a spare that was about to be written over, or what begins as a sealed entry does:
    who writes without a seal syncs first.
    """
    if mtime > booted:
        return False
    if records[:1] in (b"", NUL, SPENT):
        return True
    fields = records.split(NUL, 2)
    is_cut = len(fields) < 3 or not fields[2].strip(NUL)
    return records[:1] == b"u" and (is_cut or SLASH in fields[1])


def park(fs: Fs, layout: Layout, number: int, booted: float) -> Fate:
    """Take an entry of todo/ that makes no sense, and its message, out of the queue's way.

    Looks for itself, so that nobody has a good message parked by mistake. Doing it again finishes
    what was cut off. Raises: OSError.
    """
    todo, mess = layout.todo(number), layout.mess(number)
    entry = fs.info(todo)
    if entry is None:
        return Fate.LEFT
    if fs.info(mess) is not None:
        records = _read(fs, todo)
        if records is not None:
            if not wrong_with("todo", records) and is_whole(fs, mess, records):
                return Fate.LEFT
            if could_be_torn(records, entry.mtime, booted):
                fs.rename(todo, layout.intd(number))
                return Fate.NEVER_ACCEPTED
        if any(fs.info(parked(number, kind)) is not None for kind in ("mess", "todo")):
            return Fate.NO_ROOM
        fs.rename(mess, parked(number, "mess"))
    elif fs.info(parked(number, "mess")) is None or fs.info(parked(number, "todo")) is not None:
        return Fate.LEFT
    fs.rename(todo, parked(number, "todo"))
    return Fate.PARKED


def _read(fs: Fs, path: str) -> bytes | None:
    """Return the entry, None where nobody will ever read it. Raises: OSError."""
    try:
        return fs.read(path, ENVELOPE_BYTES_MAX)
    except OSError as trouble:
        if trouble.errno in FOR_GOOD:
            return None
        raise
