"""822header, 822field, 822date, 822received, 822print: look at the header of a message.

Source: spec/companion.md 7.
"""

from __future__ import annotations

import os
import sys
import time

from qmail.core.tools.header_tools import (
    last_date,
    local_time,
    received_line,
    split_message,
    values,
)
from qmail.core.tools.print822 import printed
from qmail.edge.machine.standard import say, write_output
from qmail.edge.tools.line_tool import DONE, PERMANENT, ToolError, run_tool, standard_input
from qmail.protocol.date_field import when_of
from qmail.protocol.header import HeaderTooLongError
from qmail.protocol.options import asks_for_help

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Final

    from qmail.protocol.header import Field

    Look = Callable[[Sequence[Field], bytes], bytes | None]
    """Takes the fields and the argument; returns what to print, None where there is nothing."""


def main(argv: Sequence[str]) -> int:
    """Do what the name says that we were called by."""
    name = os.path.basename(sys.argv[0])
    if name not in TOOLS:
        say(f"{name}: usage: call it by one of the names {', '.join(TOOLS)}")
        return PERMANENT
    look, argument = TOOLS[name]
    if len(argv) > (1 if argument else 0) or asks_for_help(argv):
        say(f"{name}: usage: {name}{' [ name ]' if argument else ''}")
        return PERMANENT
    wanted = os.fsencode(argv[0]).lower() if argv else argument
    return run_tool(name, lambda: show(look, wanted, is_whole=name == "822print"))


def show(look: Look, wanted: bytes, *, is_whole: bool) -> int:
    """Print what is asked for, and with `is_whole` the body after it. Returns the exit code."""
    parts = standard_input()
    try:
        fields, body = split_message(parts)
    except HeaderTooLongError as wrong:
        raise ToolError(str(wrong)) from None
    found = look(fields, wanted)
    write_output(found or b"")
    if is_whole:
        copy(body, parts)
    return PERMANENT if found is None else DONE


def copy(start: bytes, parts: Iterator[bytes]) -> None:
    """Print the body as it comes."""
    write_output(start)
    for part in parts:
        write_output(part)


def show_header(fields: Sequence[Field], _wanted: bytes) -> bytes:
    """Return the header as it is."""
    return b"".join(field.raw for field in fields)


def show_field(fields: Sequence[Field], wanted: bytes) -> bytes | None:
    """Return the values of all fields of a name, a line each."""
    found = values(fields, wanted)
    return b"".join(value + b"\n" for value in found) if found else None


def show_date(fields: Sequence[Field], wanted: bytes) -> bytes | None:
    """Return the date in its own time zone, in Greenwich's, and by the clock of this machine."""
    when = last_date(fields, wanted)
    if when is None:
        return None
    unix_s = when.unix_s()
    return b"\n".join((when.iso(), when_of(unix_s).iso(), local_time(unix_s))) + b"\n"


def show_received(fields: Sequence[Field], _wanted: bytes) -> bytes:
    """Return the Received fields in the order in which they were written."""
    return b"".join(received_line(value) for value in reversed(values(fields, b"received")))


def show_all(fields: Sequence[Field], _wanted: bytes) -> bytes:
    """Return the header for a terminal."""
    return printed(fields, lambda unix_s: time.localtime(unix_s).tm_gmtoff)


TOOLS: Final[Mapping[str, tuple[Look, bytes]]] = {
    "822header": (show_header, b""),
    "822field": (show_field, b"subject"),
    "822date": (show_date, b"date"),
    "822received": (show_received, b""),
    "822print": (show_all, b""),
}
"""What each prints, and the field it looks at where no argument names one."""
