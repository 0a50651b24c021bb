"""A stored message on its way to the network: small ones whole, long ones in parts."""

import contextlib
import os
from typing import Final

from qmail.protocol.dotstuffing import END_OF_DATA, DotStuffer, wire_form

PART_BYTES: Final = 65536
"""Longest message that is held in memory whole; longer ones are read in parts of this size."""


class Body:
    """One message in wire form (CRLF, dots stuffed, final dot). It owns its descriptor."""

    __slots__ = ("_fd", "_has_end", "_offset", "_small", "_start", "_stuffer", "whole")

    def __init__(self, fd: int, small: bytes | None, start: int = 0) -> None:
        self._fd = fd
        self._start = start
        self._small = small
        self.whole = None if small is None else wire_form(small)
        """All that is to be sent, where it is in memory."""
        self._offset = start
        self._has_end = False
        self._stuffer: DotStuffer | None = None

    @classmethod
    def of_bytes(cls, message: bytes) -> "Body":
        """Return the body of a message that is in memory."""
        return cls(-1, message)

    @classmethod
    def of_file(cls, fd: int, size: int, start: int = 0) -> "Body":
        """Return the body of an open file; `fd` belongs to it from now on, trouble or not.

        `start`: so many bytes of the file, whose length is `size`, come before the message.
        Raises: OSError: it can't be read.
        """
        size -= start
        if size <= PART_BYTES:
            try:
                small = os.pread(fd, size + 1, start)
            except OSError:
                os.close(fd)
                raise
            # Any bytes beyond that came after its size was taken: then it counts as a long one.
            if len(small) <= size:
                os.close(fd)
                return cls(-1, small)
        return cls(fd, None, start)

    def measure(self) -> tuple[int, bool]:
        """Return the bytes that the message has on the wire, about, and whether any is 8-bit.

        Raises: OSError: it can't be read.
        """
        if self._small is not None and self.whole is not None:
            return len(self.whole) - len(END_OF_DATA), not self._small.isascii()
        wire_bytes = 0
        is_8bit = False
        while part := os.pread(self._fd, PART_BYTES, self._offset):
            self._offset += len(part)
            wire_bytes += len(part) + part.count(b"\n")
            is_8bit = is_8bit or not part.isascii()
        self._offset = self._start
        return wire_bytes, is_8bit

    def next_part(self) -> bytes:
        """Return the next bytes of one that is not `whole`; b"" after the final dot.

        Raises: OSError: the message can't be read.
        """
        if self._has_end:
            return b""
        stuffer = self._stuffer = self._stuffer or DotStuffer()
        while part := os.pread(self._fd, PART_BYTES, self._offset):
            self._offset += len(part)
            wire = stuffer.feed(part)
            if wire:
                return wire
        self._has_end = True
        return stuffer.finish()

    def close(self) -> None:
        """Release the file."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = -1
