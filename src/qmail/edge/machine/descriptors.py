"""How many files a program may have open, and for how much work that is room.

Each connection, message and socket is a descriptor. Where the system gives few, less is begun at a
time: work that waits costs nothing, work that finds no descriptor is begun in vain.
"""

import errno
import resource
from typing import Final

WANTED: Final = 65536
RESERVED: Final = 256
"""For what a program has open besides its work: doors, name servers, folders, the event loop. Of a
small limit it is half.
"""
PER_REMOTE: Final = 2
"""A connection, and a message that is too long to be held in memory."""
PER_PROGRAM: Final = 4
"""The message, a copy of it, a pipe, and whatever tells of the program's end."""
NO_ROOM: Final = frozenset((errno.EMFILE, errno.ENFILE))
"""Says the system where a descriptor is one too many."""


def descriptor_limit() -> int:
    """Return how many descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return WANTED if soft == resource.RLIM_INFINITY else soft


def raise_descriptor_limit() -> int:
    """Allow as many as the hard limit does, 65,536 at most; return how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if 0 <= soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return descriptor_limit()


def room(limit: int, each: int = 1) -> int:
    """Return how many pieces of work, with `each` descriptors, there is room for: one at least."""
    return max(1, (limit - min(RESERVED, limit // 2)) // each)


def remote_slots(limit: int, *, by_program: bool = False) -> int:
    """Return how many deliveries qmail-rspawn takes at once; `by_program`: by QMAILREMOTE."""
    return room(limit, PER_PROGRAM if by_program else PER_REMOTE)


def local_slots(limit: int) -> int:
    """Return how many deliveries qmail-lspawn takes at once: half is for those who make them."""
    return room(limit // 2)
