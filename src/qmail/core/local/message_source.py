"""The message of a delivery: read by position, in parts, never held as a whole when it is long."""

import os
from collections.abc import Iterator
from typing import Final, Protocol

FIRST_BYTES: Final = 65536
"""A message of up to this many bytes is read with one call."""
PART_BYTES: Final = 262144


class Source(Protocol):
    """Where a message is read from."""

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on, fewer only at the end. Raises OSError."""
        ...


class FileSource:
    """An open file; its own position is neither used nor moved."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on, fewer only at the end."""
        return os.pread(self._fd, size, offset)


def rest_of(source: Source, offset: int) -> Iterator[bytes]:
    """Yield the message from `offset` on, in parts."""
    while part := source.read(offset, PART_BYTES):
        yield part
        offset += len(part)


def header_has(line: bytes, first: bytes, source: Source) -> bool:
    """Say whether the header contains exactly `line` (which ends in LF).

    `first`: the message's first FIRST_BYTES bytes. Holds one part at a time, however long the
    header is. Source: spec/delivery.md 3, step 6.
    """
    if line not in first and len(first) < FIRST_BYTES:
        # Nearly every message: it is here as a whole, and has no such line anywhere.
        return False
    # Searching for the line with the LF before it finds it at line starts only.
    wanted = b"\n" + line
    window = b"\n" + first
    offset = len(first)
    has_more = len(first) == FIRST_BYTES
    while True:
        end = window.find(b"\n\n")
        found = window.find(wanted)
        if found >= 0:
            return end < 0 or found < end
        if end >= 0 or not has_more:
            return False
        part = source.read(offset, FIRST_BYTES)
        offset += len(part)
        has_more = len(part) == FIRST_BYTES
        window = window[-len(line) :] + part
