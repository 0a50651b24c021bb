"""fastforward: send a message on as a forwarding table says, from a line of .qmail.

Source: spec/companion.md 2.1.
"""

from __future__ import annotations

import os
from itertools import chain

from qmail.core.cdb import Cdb, CdbError
from qmail.core.forward_table import LIST_BYTES_MAX, Forward, ForwardError, plan_forward
from qmail.core.whole_files import read_whole
from qmail.edge.line_tool import (
    DONE,
    PERMANENT,
    SHELL,
    STOP,
    TEMPORARY,
    ToolError,
    feed_program,
    message,
    queue_message,
    reason_of,
    run_program,
    run_tool,
    variable,
)
from qmail.edge.standard import say
from qmail.protocol.options import OptionError, asks_for_help, split_options
from qmail.protocol.refusals import REFUSALS
from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

NAME: Final = "fastforward"
USAGE: Final = "fastforward: usage: fastforward [ -nNpPdD ] data.cdb"
UNKNOWN: Final = "There is no mailbox of this name here. (#5.1.1)"
SOMEBODY: Final = b"original envelope sender"
"""Stands for it where somebody tries a table by hand."""
READABLE: Final = 0o444
TOP_LINES: Final = ("UFLINE", "RPLINE", "DTLINE")
"""What a program that is named with `!` gets before the message, as from preline."""


class Order(Record):
    """What the command line asks for."""

    table: str
    is_shown: bool
    """-n: say what would be done, and do nothing."""
    passes: bool
    """-p: the next lines of .qmail have what is not in the table."""
    is_default: bool
    """-d: the address is what .qmail-default stands for, not the whole recipient."""


def main(argv: Sequence[str]) -> int:
    """Forward the message on descriptor 0."""
    if asks_for_help(argv):
        say(USAGE)
        return PERMANENT
    try:
        order = read_order(argv)
    except OptionError as wrong:
        say(f"{NAME}: {wrong}\n{USAGE}")
        return PERMANENT
    return run_tool(NAME, lambda: fastforward(order))


def read_order(argv: Sequence[str]) -> Order:
    """Read the command line; of a letter and its capital the later one counts.

    Raises: OptionError: an unknown option, or no table.
    """
    options, arguments = split_options(argv, "nNpPdD")
    if len(arguments) != 1:
        raise OptionError("name one table")
    is_set = {letter.lower(): letter.islower() for letter, _ in options}
    n, p, d = (is_set.get(letter, False) for letter in "npd")
    return Order(arguments[0], n, p, d)


def fastforward(order: Order) -> int:
    """Look the recipient up and do what the table says. Returns the exit code."""
    plan = find_plan(order)
    if not plan.is_known:
        if order.passes:
            return DONE
        say(UNKNOWN)
        return PERMANENT
    code = show(plan) if order.is_shown else carry_out(plan)
    return STOP if code == DONE and order.passes else code


def find_plan(order: Order) -> Forward:
    """Return what is to be done.

    Raises: ToolError: a variable is missing, or the table or a list can't be read.
    """
    address = recipient(is_default=order.is_default)
    sender = os.environb.get(b"SENDER", SOMEBODY) if order.is_shown else variable("SENDER")
    try:
        with Cdb(order.table) as table:
            return plan_forward(address, sender, table.get, read_list)
    except OSError as trouble:
        raise ToolError(f"unable to read {order.table}: {reason_of(trouble)}") from None
    except (CdbError, ForwardError) as wrong:
        raise ToolError(str(wrong)) from None


def recipient(*, is_default: bool) -> bytes:
    """Return the address that is looked up.

    Raises: ToolError: the variables that make it are not set.
    """
    if not is_default:
        return variable("RECIPIENT")
    name = os.environb.get(b"DEFAULT")
    return (variable("EXT") if name is None else name) + b"@" + variable("HOST")


def read_list(path: bytes) -> bytes:
    """Return a list file, which everybody may read: so it was meant to be one.

    Raises: ForwardError.
    """
    shown = os.fsdecode(path)
    try:
        data, found = read_whole(path, LIST_BYTES_MAX)
    except OSError as trouble:
        raise ForwardError(f"unable to read {shown}: {reason_of(trouble)}") from None
    if found.st_mode & READABLE != READABLE:
        raise ForwardError(f"{shown} is not world-readable")
    return data


def show(plan: Forward) -> int:
    """Say what would be done. Returns the exit code."""
    for program in plan.programs:
        say(f"run {printable(program)}")
    if not plan.recipients:
        say("no forwarding")
        return DONE
    say(f"from <{printable(plan.sender)}>")
    for address in plan.recipients:
        say(f"to <{printable(address)}>")
    return DONE


def printable(text: bytes) -> str:
    """Return a text for a terminal."""
    return os.fsdecode(bytes(95 if byte < 32 or byte == 127 else byte for byte in text))


def carry_out(plan: Forward) -> int:
    """Run the programs, then send the message on. Returns the exit code."""
    for program in plan.programs:
        code = run(program)
        if code != 0:
            return PERMANENT if code in REFUSALS else TEMPORARY
    if plan.recipients:
        # Without the line of a delivery, run by hand, there is none to add.
        top = os.environb.get(b"DTLINE", b"")
        queue_message(NAME, plan.sender, plan.recipients, chain((top,), message()))
    return DONE


def run(program: bytes) -> int:
    """Run one program on the message; return its exit code."""
    words = (SHELL, "-c", os.fsdecode(program[1:]))
    if program.startswith(b"|"):
        return run_program(NAME, words)
    top = [variable(name) for name in TOP_LINES]
    return feed_program(words, chain(top, message()))
