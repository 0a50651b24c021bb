"""Moves the messages of a maildir to an mbox file; a power cut at any point loses none.

    lock      the mbox: its other writers wait, so no two of us are at work
    copy      the mbox, then the messages from the oldest on, to a new file, which is locked as well
    (fsync)   its bytes are on disk
    rename    it takes the place of the mbox: a reader sees the old one or the new one, whole
    (sync)    its name is on disk
    unlink    the messages

A cut before the last sync leaves the old mbox and all messages, one after it duplicates at most.
Source: spec/programs.md 7.
"""

import contextlib
import errno
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

from qmail.core.fs import Fs
from qmail.core.local.environment import from_line
from qmail.core.local.maildir_reading import StoredMessage, messages
from qmail.core.local.mbox import Lock, open_locked, quoted

MODE: Final = 0o600
UNKNOWN_SENDER: Final = b"X" * 3
"""Whoever put the message there did not write down whom it is from."""
_RETURN_PATH: Final = b"Return-Path: <"


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An mbox file: the disk it is on, its name there, and one for the file that replaces it."""

    fs: Fs
    name: str
    new_name: str


def fill(mailbox: Mailbox, maildir: Fs, lock: Lock) -> list[str]:
    """Move all messages of a maildir to the end of an mbox.

    Returns: the files that can't be removed from the maildir; their messages are in the mbox.
    Raises: OSError: no message has left the maildir.
    """
    if not messages(maildir):
        return []
    with _closing(mailbox.fs, open_locked(mailbox.fs, mailbox.name, lock)) as old:
        if not mailbox.fs.info_of(old).is_regular:
            raise OSError(errno.EINVAL, "not a file that could be replaced", mailbox.name)
        with contextlib.suppress(FileNotFoundError):
            # What a crash has left.
            mailbox.fs.unlink(mailbox.new_name)
        with _closing(mailbox.fs, mailbox.fs.create(mailbox.new_name, MODE)) as new:
            copied = _replace(mailbox, new, maildir, lock)
            mailbox.fs.sync()
            return list(_remove(maildir, copied))


@contextlib.contextmanager
def _closing(fs: Fs, fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        # What close says comes after fsync: it can't lose anything any more.
        with contextlib.suppress(OSError):
            fs.close(fd)


def _replace(mailbox: Mailbox, new: int, maildir: Fs, lock: Lock) -> list[str]:
    """Put the longer mbox in the place of the old one. Returns the files that are in it."""
    fs = mailbox.fs
    try:
        # Before it has the name: who finds it there waits until the maildir is empty.
        lock(new)
        for part in _old(fs.parts(mailbox.name)):
            fs.write(new, part)
        # Listed once more: another of us may have been at work until we had the lock.
        found = messages(maildir)
        copied = [message.path for message in found if _append(fs, new, maildir, message)]
        fs.fsync(new)
        fs.rename(mailbox.new_name, mailbox.name)
    except BaseException:
        with contextlib.suppress(OSError):
            fs.unlink(mailbox.new_name)
        raise
    return copied


def _old(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the mbox as it was; one that was cut off in a line gets that line's end."""
    last = b"\n"
    for part in parts:
        yield part
        last = part[-1:] or last
    if last != b"\n":
        yield b"\n\n"


def _append(fs: Fs, fd: int, maildir: Fs, message: StoredMessage) -> bool:
    """Write one message. Returns False where a reader has moved or removed it."""
    parts = maildir.parts(message.path)
    try:
        first = next(parts, b"")
    except FileNotFoundError:
        return False
    fs.write(fd, from_line(sender_of(first), int(message.mtime)))
    for part in quoted(chain((first,), parts)):
        fs.write(fd, part)
    return True


def sender_of(first: bytes) -> bytes:
    """Return the envelope sender, which the first line of a delivered message names."""
    line = first.partition(b"\n")[0]
    if line.startswith(_RETURN_PATH) and line.endswith(b">"):
        return line[len(_RETURN_PATH) : -1]
    return UNKNOWN_SENDER


def _remove(maildir: Fs, paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        try:
            maildir.unlink(path)
        except OSError:
            yield path
