"""The messages of a maildir in the order of POP3, with as few looks at files as can be.

Source: spec/smtp.md E.3; spec/oddities.md 9.
"""

from __future__ import annotations

from qmail.core.pop3 import cache as maildrop_cache
from qmail.core.pop3.cache import NO_TIMES, Cache, FolderTimes, Listing
from qmail.core.pop3.sizes import size_in_name, wire_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from qmail.core.fs import Fs

FOLDERS: Final = ("new", "cur")
"""In this order: what a reader moves meanwhile is found twice rather than not at all."""
FUTURE_S_MAX: Final = 86400
"""A message from further in the future is not waited for: somebody's clock was wrong."""
SETTLED_S_MIN: Final = 3.0
"""Folder times prove nothing that was changed later than this before they were looked at."""
SETTLED_S_PER_MESSAGE: Final = 0.001
"""A mailbox in which much happens is not written down at each visit."""
CACHED_MIN: Final = 64
"""Fewer messages are sooner listed than read from the cache."""
READ_BYTES_MIN: Final = 65536
"""What of a message would be read again is a reason, too: so many bytes."""


def base_of(name: str) -> str:
    """Return what of a file's name stays the same: the part before its flags.

    It is the unique id of the message (spec/smtp.md E.3).
    """
    return name.partition(":")[0] or name


def folder_times(fs: Fs) -> FolderTimes:
    """Return when the two folders were changed last. Raises: FileNotFoundError: no maildir."""
    times = []
    for folder in FOLDERS:
        info = fs.info(folder)
        if info is None:
            raise FileNotFoundError(2, "no such folder", folder)
        times.append(info.mtime)
    return FolderTimes(*times)


def places(fs: Fs) -> dict[str, str]:
    """Return base name -> path of everything in new and cur. Names with a dot are not messages.

    Raises: OSError: a folder can't be read.
    """
    found = {}
    for folder in FOLDERS:
        for name, _ in fs.names(folder):
            if name[0] != ".":
                found[base_of(name)] = f"{folder}/{name}"
    return found


def list_messages(fs: Fs, now: float, temporary: str) -> Listing:
    """List what a session that begins `now` sees, the oldest first.

    `temporary`: a name in tmp/ that nobody else uses. Messages of this second are left for the next
    session: another one with the same time may still arrive, and numbers are by time.
    Raises: FileNotFoundError: no maildir. OSError: it can't be read.
    """
    times = folder_times(fs)
    cache = maildrop_cache.load(fs)
    if cache is not None and times == cache.times:
        return cache.listing
    listing, work = _read_folders(fs, cache, now)
    count = len(listing.paths)
    quiet_s = max(SETTLED_S_MIN, count * SETTLED_S_PER_MESSAGE)
    is_settled = max(times) + quiet_s < now and not work.has_hidden
    is_worth_it = work.read_bytes >= READ_BYTES_MIN or work.looks >= CACHED_MIN + count // 8
    if is_worth_it or (is_settled and count >= CACHED_MIN):
        cache = Cache(listing, times if is_settled else NO_TIMES)
        maildrop_cache.save(fs, cache, temporary)
    return listing


class _Work:
    """What a listing had to look at."""

    def __init__(self) -> None:
        self.looks = 0
        self.read_bytes = 0
        self.has_hidden = False


def _read_folders(fs: Fs, cache: Cache | None, now: float) -> tuple[Listing, _Work]:
    known: dict[str, tuple[float, int]] = {}
    if cache is not None:
        old = cache.listing
        pairs = zip(old.mtimes, old.sizes, strict=True)
        known = dict(zip([base_of(path[4:]) for path in old.paths], pairs, strict=True))
    work = _Work()
    rows = []
    this_second = int(now)
    for base, path in places(fs).items():
        found = known.get(base)
        if found is None:
            found = _look(fs, base, path, work)
            if found is None:
                continue
        mtime, size = found
        if this_second <= mtime < this_second + FUTURE_S_MAX:
            work.has_hidden = True
        else:
            rows.append((mtime, base, path, size))
    rows.sort()
    listing = Listing([row[2] for row in rows], [row[0] for row in rows], [row[3] for row in rows])
    return listing, work


def _look(fs: Fs, base: str, path: str, work: _Work) -> tuple[float, int] | None:
    """Find out time and size of a message; None: it is gone already, or no plain file."""
    info = fs.info(path)
    if info is None or not info.is_regular:
        return None
    work.looks += 1
    size = size_in_name(base, info.size)
    if size is None:
        work.read_bytes += info.size
        try:
            size = wire_size(fs.parts(path))
        except FileNotFoundError:
            return None
    return info.mtime, size
