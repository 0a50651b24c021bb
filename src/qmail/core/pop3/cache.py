"""What was found out about the messages of a maildir, kept in one small file for the next session.

Sizes on the wire cost a look at every byte, times one at every file. `qmail-pop3d.sizes` in the
maildir has both, under names that stay the same when flags change. Nothing depends on it: it is
made anew where it is missing, damaged, too long, or of another machine's byte order. It appears as
a whole (written in tmp/, renamed), for the owner's eyes alone, and is never synced.

    qmail-pop3d sizes 1 ORDER CRC COUNT TIME-OF-NEW TIME-OF-CUR LF
    COUNT times (8 bytes each), COUNT sizes (8 bytes each), COUNT paths with NUL between

The times in the first line are those of the folders new and cur when they were read. While they
are the same nothing was moved in or out, so the paths are the whole list, and no folder is read.
"""

from __future__ import annotations

import os
import struct
import sys
from zlib import crc32

from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from qmail.core.fs import Fs

NAME: Final = "qmail-pop3d.sizes"
MODE: Final = 0o600
BYTES_MAX: Final = 256 * 1024 * 1024
"""A mailbox of more than a million messages is listed anew each time."""
_MAGIC: Final = b"qmail-pop3d sizes 1 %b " % sys.byteorder.encode()
_HEAD_BYTES_MAX: Final = 200
_ITEM: Final = 8


class Listing(Record):
    """Messages, the oldest first: path below the maildir, mtime in seconds, size on the wire."""

    paths: list[str]
    mtimes: list[float]
    sizes: list[int]


class FolderTimes(Record):
    """When new and cur were changed last."""

    new: float
    cur: float


NO_TIMES: Final = FolderTimes(-1.0, -1.0)
"""Nothing is known of the folders: they have to be read."""


class Cache(Record):
    """A listing, and the folder times for which it is the whole list."""

    listing: Listing
    times: FolderTimes


def load(fs: Fs) -> Cache | None:
    """Return what the last session wrote; None: nothing that can be used."""
    try:
        data = fs.read(NAME, BYTES_MAX)
        return _parse(data)
    except (OSError, ValueError, OverflowError, struct.error):
        return None


def save(fs: Fs, cache: Cache, temporary: str) -> None:
    """Write the file; where that can't be done the next session finds everything out again.

    `temporary`: a name in tmp/ that nobody else uses.
    """
    listing = cache.listing
    paths = os.fsencode("\0".join(listing.paths))
    count = len(listing.paths)
    body = (
        struct.pack(f"{count}d", *listing.mtimes) + struct.pack(f"{count}Q", *listing.sizes) + paths
    )
    if len(body) + _HEAD_BYTES_MAX > BYTES_MAX:
        return
    rest = b"%d %r %r\n" % (count, cache.times.new, cache.times.cur)
    path = f"tmp/{temporary}"
    try:
        fd = fs.create(path, MODE)
    except OSError:
        return
    try:
        try:
            fs.write(fd, b"%b%08x %b" % (_MAGIC, crc32(body, crc32(rest)), rest))
            fs.write(fd, body)
        finally:
            fs.close(fd)
        fs.rename(path, NAME)
    except OSError:
        try:
            fs.unlink(path)
        except OSError:
            return


def _parse(data: bytes) -> Cache | None:
    """Take the file apart. Raises: ValueError, OverflowError, struct.error: it is none."""
    head, end, _ = data[:_HEAD_BYTES_MAX].partition(b"\n")
    if not end or not head.startswith(_MAGIC):
        return None
    crc, count_word, *times = head[len(_MAGIC) :].split(b" ")
    if int(crc, 16) != crc32(memoryview(data)[len(_MAGIC) + len(crc) + 1 :]):
        return None
    count = int(count_word)
    start = len(head) + 1
    middle = start + count * _ITEM
    after = middle + count * _ITEM
    view = memoryview(data)
    mtimes = list(struct.unpack(f"{count}d", view[start:middle]))
    sizes = list(struct.unpack(f"{count}Q", view[middle:after]))
    paths = os.fsdecode(data[after:]).split("\0") if count else []
    if not len(paths) == len(mtimes) == len(sizes) == count:
        return None
    new, cur = (float(time) for time in times)
    return Cache(Listing(paths, mtimes, sizes), FolderTimes(new, cur))
