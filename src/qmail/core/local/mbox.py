"""Delivery to an mbox file: append under a lock, quote, sync, undo on trouble (spec/delivery.md 8).

Not safe over NFS, and a power cut can leave half a message: that is the format; a maildir is both.
"""

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from qmail.core.fs import Fs

LOCK_S_MAX: Final = 30.0
OPENINGS_MAX: Final = 10
"""So often another file may have taken an mbox's place before we give up."""
HELD_BYTES_MAX: Final = 65536
"""A line that starts with more `>` than this is never quoted."""
_FROM_LINE: Final = re.compile(rb"^(>*From )", re.MULTILINE)
_START_OF_FROM: Final = re.compile(rb">*(?:F(?:r(?:om?)?)?)?\Z")

Lock = Callable[[int], None]
"""Locks an open file against other writers, or raises OSError (TimeoutError after LOCK_S_MAX)."""


def deliver(fs: Fs, name: str, *, head: bytes, parts: Iterable[bytes], lock: Lock) -> None:
    """Append one message to the file `name` of the folder that `fs` is rooted in.

    `head`: the From_ line and the fields above the message. Without a lock nothing is written
    (spec/oddities.md 7).
    Raises: OSError: not delivered; the file is as it was.
    """
    fd = open_locked(fs, name, lock)
    try:
        before = fs.info_of(fd).size
        try:
            _append(fs, fd, head, parts)
            if before == 0:
                # It may be new: then its name has to reach the disk as well.
                fs.sync()
            after = fs.info_of(fd).size
        except BaseException:
            with contextlib.suppress(OSError):
                fs.truncate(fd, before)
            raise
    except BaseException:
        with contextlib.suppress(OSError):
            fs.close(fd)
        raise
    try:
        fs.close(fd)
    except OSError:
        with contextlib.suppress(OSError):
            _undo(fs, name, lock, (before, after))
        raise


def _append(fs: Fs, fd: int, head: bytes, parts: Iterable[bytes]) -> None:
    fs.write(fd, head)
    for part in quoted(parts):
        fs.write(fd, part)
    fs.fsync(fd)


def _undo(fs: Fs, name: str, lock: Lock, sizes: tuple[int, int]) -> None:
    """Cut the file back from the second of `sizes` to the first, if nobody wrote to it since.

    The lock ended when the file was closed, whatever close said.
    """
    before, after = sizes
    fd = open_locked(fs, name, lock)
    try:
        if fs.info_of(fd).size == after:
            fs.truncate(fd, before)
    finally:
        fs.close(fd)


def open_locked(fs: Fs, name: str, lock: Lock) -> int:
    """Open an mbox for writing at its end, and lock it: the file that has the name then.

    While we wait for the lock, its holder may put another file in its place, as maildir2mbox does.
    Raises: OSError: no lock to be had; TimeoutError: not in time.
    """
    for _ in range(OPENINGS_MAX):
        fd = fs.open_append(name)
        try:
            lock(fd)
            found = fs.info(name)
            if found is not None and found.inode == fs.info_of(fd).inode:
                return fd
        except BaseException:
            with contextlib.suppress(OSError):
                fs.close(fd)
            raise
        fs.close(fd)
    raise TimeoutError


def quoted(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the message with `>` before each line that is `>*From `, and an empty line at its end.

    The parts may be cut anywhere.
    """
    at_line_start = True
    held = b""
    last = b"\n"
    for part in parts:
        text = held + part
        # The beginning of a line that may turn out to be a From line waits for the next part.
        start = text.rfind(b"\n") + 1
        is_start = start > 0 or at_line_start
        held = text[start:] if is_start and _START_OF_FROM.match(text, start) else b""
        if len(held) > HELD_BYTES_MAX:
            held = b""
        text = text[: len(text) - len(held)]
        if text:
            yield _quote(text, at_line_start)
            at_line_start = text.endswith(b"\n")
            last = text[-1:]
    if held:
        yield held
        last = held[-1:]
    yield b"\n" if last == b"\n" else b"\n\n"


def _quote(text: bytes, at_line_start: bool) -> bytes:
    if b"From " not in text:
        return text
    if at_line_start:
        return _FROM_LINE.sub(rb">\1", text)
    head, lf, tail = text.partition(b"\n")
    return head + lf + _FROM_LINE.sub(rb">\1", tail)
