"""fastforward: send a message on as a forwarding table says, from a line of .qmail.

Source: spec/companion.md 2.1.
"""

from __future__ import annotations

import os
from itertools import chain

from qmail.core.aliases.forward_order import Order, plan_order, read_order
from qmail.core.aliases.forward_table import Forward, ForwardError
from qmail.edge.machine.standard import say
from qmail.edge.tools.line_tool import (
    DONE,
    PERMANENT,
    SHELL,
    STOP,
    TEMPORARY,
    ToolError,
    feed_program,
    message,
    queue_message,
    run_program,
    run_tool,
    variable,
)
from qmail.protocol.options import OptionError, asks_for_help
from qmail.protocol.refusals import REFUSALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

NAME: Final = "fastforward"
USAGE: Final = "fastforward: usage: fastforward [ -nNpPdD ] data.cdb"
UNKNOWN: Final = "There is no mailbox of this name here. (#5.1.1)"
TOP_LINES: Final = ("UFLINE", "RPLINE", "DTLINE")
"""What a program that is named with `!` gets before the message, as from preline."""


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
    try:
        return plan_order(order, os.environb, variable)
    except ForwardError as wrong:
        raise ToolError(str(wrong)) from None


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
