"""The notes of operators when messages get other numbers (core/queue/notes.py has the notes).

Notes name messages by number, and numbers change in a repair and in an import. The notes with the
new numbers are written beside the old ones before the first message is placed, and take their
place after the last: what a cut leaves tells by the file repair/notes.info which of the two it is.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from qmail.core.fs import Fs
from qmail.core.queue.notes import bodies, entry, unpacked
from qmail.core.queue.notes_file import NOTES_BYTES_MAX, PATH
from qmail.protocol.netstring import FrameError

READY: Final = "repair/notes.info"
DRAFT: Final = "repair/notes-draft.info"
OPERATION: Final = b"O"
FIELDS: Final = {b"O": 5, b"N": 5, b"R": 2}
"""How many fields an entry has."""
MESSAGE: Final = 1
"""Which field of N and R is the number of the message; the first is that of the operation."""
Entry = tuple[bytes, list[bytes]]
"""The letter and the fields of one entry."""


def entries_of(raw: bytes) -> list[Entry]:
    """Return the whole entries of a store; what is not understood is left out."""
    found = []
    for body in bodies(raw):
        letter = body[:1]
        try:
            fields = unpacked(body, FIELDS[letter])
            # Numbers of operations are counted on from.
            int(fields[0])
            found.append((letter, fields))
        except (FrameError, ValueError, KeyError):
            continue
    return found


def read_notes(fs: Fs) -> list[Entry]:
    """Return the entries of a queue's notes, none where there are none. Raises: OSError."""
    if fs.info(PATH) is None:
        return []
    return entries_of(fs.read(PATH, NOTES_BYTES_MAX))


def renumbered(entries: Iterable[Entry], numbers: Mapping[int, int]) -> list[Entry]:
    """Return the entries with other numbers, by `numbers` from old to new."""
    texts = {b"%d" % old: b"%d" % new for old, new in numbers.items()}
    found = []
    for letter, fields in entries:
        changed = list(fields)
        if letter != OPERATION:
            changed[MESSAGE] = texts.get(fields[MESSAGE], fields[MESSAGE])
        found.append((letter, changed))
    return found


def added(entries: list[Entry], more: list[Entry], numbers: Mapping[int, int]) -> list[Entry]:
    """Return a queue's entries and those of another one, whose messages get other numbers.

    Entries about messages that are not in `numbers` are left out.
    """
    last = max((int(fields[0]) for letter, fields in entries if letter == OPERATION), default=0)
    known = {b"%d" % old for old in numbers}
    kept = [each for each in more if each[0] == OPERATION or each[1][MESSAGE] in known]
    return entries + [
        (letter, [b"%d" % (last + int(fields[0])), *fields[1:]])
        for letter, fields in renumbered(kept, numbers)
    ]


def packed(entries: Iterable[Entry]) -> bytes:
    """Return entries as a store has them."""
    return b"".join(entry(letter, *fields) for letter, fields in entries)


def prepare(fs: Fs, entries: Iterable[Entry]) -> None:
    """Put notes on disk that are to be valid when all messages are placed. Raises: OSError."""
    if fs.info(DRAFT) is not None:
        fs.unlink(DRAFT)
    fd = fs.create(DRAFT)
    try:
        fs.write(fd, packed(entries))
    finally:
        fs.close(fd)
    fs.sync()
    fs.rename(DRAFT, READY)
    fs.sync()


def take_back(fs: Fs) -> None:
    """Remove what was prepared. Raises: OSError."""
    for path in (DRAFT, READY):
        if fs.info(path) is not None:
            fs.unlink(path)


def put(fs: Fs) -> None:
    """Have prepared notes take the place of the old ones, if there are any. Raises: OSError."""
    if fs.info(READY) is not None:
        fs.rename(READY, PATH)
        fs.sync()
