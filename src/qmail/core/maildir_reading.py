"""What is in a maildir: its messages by age, and leftovers that can go (spec/delivery.md 9)."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from qmail.core.fs import Fs
from qmail.core.maildir import NEW, TMP

CUR: Final = "cur/"
ALL: Final = (NEW, CUR)
"""In this order: a message that a reader moves meanwhile is found twice rather than not at all."""
TMP_S_MAX: Final = 36 * 3600
"""A delivery takes no longer; older files in tmp/ are those of deliveries that failed."""


class StoredMessage(NamedTuple):
    """One message: its file below the maildir, and when it was delivered."""

    path: str
    mtime: float


def messages(maildir: Fs, folders: Sequence[str] = ALL) -> list[StoredMessage]:
    """List the messages in these folders, the oldest first.

    Raises: OSError: it is no maildir.
    """
    found = []
    for path in _files(maildir, folders):
        info = maildir.info(path)
        if info is not None and info.is_regular:
            found.append(StoredMessage(path, info.mtime))
    return sorted(found, key=lambda message: (message.mtime, message.path))


def clean_tmp(maildir: Fs, now_s: float) -> None:
    """Remove the files in tmp/ that nobody has touched for too long.

    Raises: OSError: it is no maildir.
    """
    for path in list(_files(maildir, (TMP,))):
        info = maildir.info(path)
        if info is not None and info.is_regular and now_s - info.newest > TMP_S_MAX:
            with contextlib.suppress(OSError):
                maildir.unlink(path)


def _files(maildir: Fs, folders: Sequence[str]) -> Iterator[str]:
    for folder in folders:
        for name, _ in maildir.names(folder.rstrip("/")):
            if not name.startswith("."):
                yield folder + name
