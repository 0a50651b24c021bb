"""dot-forward: do what a .forward file says, from a line of .qmail (spec/companion.md 1)."""

from __future__ import annotations

import os
from itertools import chain

from qmail.core.aliases.dot_forward import FORWARD, DotForward, ForwardFileError
from qmail.core.aliases.forward_files import ClosedFileError, plan_files
from qmail.core.settings.lines import ControlError, control_reader
from qmail.edge.machine.home import home_folder
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
    run_tool,
)
from qmail.protocol.alias_words import PROGRAM
from qmail.protocol.options import OptionError, asks_for_help, split_options
from qmail.protocol.refusals import REFUSALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

NAME: Final = "dot-forward"
USAGE: Final = "dot-forward: usage: dot-forward [ -nN ] file ..."


def main(argv: Sequence[str]) -> int:
    """Do with the message on descriptor 0 what the first file that says something asks for."""
    if asks_for_help(argv):
        say(USAGE)
        return PERMANENT
    try:
        options, files = split_options(argv, "nN")
    except OptionError as wrong:
        say(f"{NAME}: {wrong}\n{USAGE}")
        return PERMANENT
    if not files:
        say(USAGE)
        return PERMANENT
    is_shown = bool(options) and options[-1][0] == "n"
    return run_tool(NAME, lambda: dot_forward(files, is_shown=is_shown))


def dot_forward(files: Sequence[str], *, is_shown: bool) -> int:
    """Read the files, then act or show. Returns the exit code."""
    names = [*map(os.fsencode, files)]
    try:
        plan = plan_files(names, os.environb, control_reader(home_folder()))
    except (ControlError, ForwardFileError, ClosedFileError) as wrong:
        raise ToolError(str(wrong)) from None
    return show(plan) if is_shown else carry_out(plan)


def show(plan: DotForward) -> int:
    """Say what would be done. Returns the exit code."""
    for file in plan.skipped:
        say(f"skipping empty file {os.fsdecode(file)}")
    for action in plan.actions:
        if action.kind == FORWARD:
            say(f"forward {os.fsdecode(action.text)}")
        elif action.kind == PROGRAM:
            say(f"pipe through {os.fsdecode(action.text)}")
    if plan.is_direct:
        say("direct delivery")
        return DONE
    return STOP


def carry_out(plan: DotForward) -> int:
    """Run the programs, then send the message on. Returns the exit code."""
    top = [os.environb.get(name, b"") for name in (b"UFLINE", b"RPLINE", b"DTLINE")]
    for program in plan.programs:
        code = feed_program((SHELL, "-c", os.fsdecode(program)), chain(top, message()))
        if code != 0:
            return PERMANENT if code in REFUSALS else TEMPORARY
    if plan.targets:
        sender = os.environb.get(b"NEWSENDER", b"")
        parts = chain(top[2:], message())
        queue_message(f"{NAME}: info", sender, plan.targets, parts)
    return DONE if plan.is_direct else STOP
