"""What a client of maildirserial works with: the files it is told of, and where reports go."""

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from qmail.edge.machine.standard import read_input, say, write_output
from qmail.edge.tools.line_tool import PART_BYTES, ToolError, reason_of
from qmail.protocol.serial_reports import NameReader, Report, ReportError
from qmail.protocol.stored_top import TOP_BYTES_MAX, Top, read_top


class Stored(NamedTuple):
    """One message to send: its open file, which whoever takes it closes."""

    name: bytes
    fd: int
    size: int
    """Of the whole file, the two top lines included, in bytes."""
    top: Top
    recipient: bytes
    """Without the prefix."""


def told_names() -> Iterator[bytes]:
    """Yield the names on descriptor 0, each as it comes.

    Raises: ToolError: no names.
    """
    reader = NameReader()
    while part := read_names():
        yield from names_in(reader, part)


def read_names() -> bytes:
    """Read the next bytes of descriptor 0; b"" is their end.

    Raises: ToolError: it can't be read.
    """
    try:
        return read_input(PART_BYTES)
    except OSError as trouble:
        raise ToolError(f"unable to read input: {reason_of(trouble)}") from None


def names_in(reader: NameReader, part: bytes) -> list[bytes]:
    """Take the next bytes of descriptor 0; return the names that are whole now.

    Raises: ToolError: no names.
    """
    try:
        return reader.feed(part)
    except ReportError as wrong:
        raise ToolError(f"unable to read input: {wrong}") from None


def open_stored(program: str, name: bytes, prefix: bytes) -> Stored | None:
    """Open a message; None, with a word on descriptor 2, where it is none of ours."""
    shown = os.fsdecode(name)
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as trouble:
        say(f"{program}: warning: unable to open {shown}: {reason_of(trouble)}")
        return None
    try:
        found = os.fstat(fd)
        start = os.pread(fd, TOP_BYTES_MAX, 0) if stat.S_ISREG(found.st_mode) else b""
    except OSError as trouble:
        os.close(fd)
        raise ToolError(f"unable to read {shown}: {reason_of(trouble)}") from None
    top = read_top(start)
    if top is None or not top.recipient.startswith(prefix):
        os.close(fd)
        say(f"{program}: warning: {shown} does not begin with Return-Path and our Delivered-To")
        return None
    return Stored(name, fd, found.st_size, top, top.recipient[len(prefix) :])


def tell(report: Report) -> None:
    """Print a report.

    Raises: ToolError: nobody reads it.
    """
    try:
        write_output(report.pack())
    except OSError as trouble:
        raise ToolError(f"unable to write output: {reason_of(trouble)}") from None
