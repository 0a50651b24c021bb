"""What is in a maildir: its messages by age (spec/delivery.md 9, "Readers")."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from qmail.core.fs import Fs
from qmail.core.local.maildir import NEW

CUR: Final = "cur/"
ALL: Final = (NEW, CUR)
"""In this order: a message that a reader moves meanwhile is found twice rather than not at all."""


class StoredMessage(NamedTuple):
    """One message: its file below the maildir, and when it was delivered."""

    path: str
    mtime: float


def messages(maildir: Fs, folders: Sequence[str] = ALL) -> list[StoredMessage]:
    """List the messages in these folders, the oldest first. Names with a dot are not messages.

    Raises: OSError: it is no maildir.
    """
    found = []
    for folder in folders:
        for name, _ in maildir.names(folder.rstrip("/")):
            info = None if name.startswith(".") else maildir.info(folder + name)
            if info is not None and info.is_regular:
                found.append(StoredMessage(folder + name, info.mtime))
    return sorted(found, key=lambda message: (message.mtime, message.path))
