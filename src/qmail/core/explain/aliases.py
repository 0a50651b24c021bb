"""What fastforward and dot-forward in a `.qmail` line would do: their own plans, put into words.

Source: spec/companion.md 1 and 2.
"""

import os
from collections.abc import Mapping
from typing import Final

from qmail.core.aliases.dot_forward import DIRECT, FORWARD, DotForward, ForwardFileError
from qmail.core.aliases.forward_files import ClosedFileError, plan_files
from qmail.core.aliases.forward_order import Order, plan_order, read_order
from qmail.core.aliases.forward_table import (
    ALIAS,
    LIST,
    OWNER,
    PROGRAM,
    RECIPIENT,
    UNKNOWN,
    Forward,
    ForwardError,
    Step,
)
from qmail.core.aliases.source import ALIASES_BYTES_MAX, read_aliases
from qmail.core.explain.explanation import printable
from qmail.core.explain.tools import Command
from qmail.core.inject.rewriting import Rewriter
from qmail.core.settings.controls import ControlError, ReadFile
from qmail.core.settings.hosts import read_hosts
from qmail.core.whole_files import read_whole
from qmail.protocol.exits import Exit
from qmail.protocol.options import OptionError, split_options

CDB: Final = ".cdb"
OWNER_PREFIX: Final = b"owner-"
"""An alias that starts so names the owner of the alias that follows."""
STEPS_SHOWN_MAX: Final = 100
WORDS: Final = {
    OWNER: "bounces go to {}",
    ALIAS: "{} is in the table",
    UNKNOWN: "{} is not in the table",
    PROGRAM: "runs a program: {}",
    LIST: "takes the addresses of {}",
    RECIPIENT: "sends it to {}",
}
"""What each kind of step says."""

Lines = Mapping[bytes, int]
"""The line of an alias file that defines a target."""


# --- fastforward --------------------------------------------------------------------------------


def tell_fastforward(command: Command) -> None:
    """Say what the table has for this recipient, and what comes of it."""
    try:
        order = read_order([os.fsdecode(word) for word in command.arguments])
    except OptionError as wrong:
        command.end(f"fastforward: {wrong}", Exit.PERMANENT)
        return
    variables = command.variables
    try:
        plan = plan_order(order, variables, lambda name: variables[name.encode()])
    except ForwardError as wrong:
        command.end(f"fastforward: {wrong}", Exit.TEMPORARY)
        return
    lines = _lines_of(order.table, command.read_control)
    for step in plan.steps[:STEPS_SHOWN_MAX]:
        _tell_step(command, step, order.table, lines)
    if len(plan.steps) > STEPS_SHOWN_MAX:
        command.say(f"{len(plan.steps) - STEPS_SHOWN_MAX} more")
    _tell_end(command, plan, order)


def _tell_step(command: Command, step: Step, table: str, lines: Lines) -> None:
    text = step.text[1:] if step.kind == PROGRAM else step.text
    name = step.key[1:] if step.kind != OWNER else OWNER_PREFIX + step.key[1:]
    source, line = table, lines.get(name, 0)
    if step.key[:1] in (b".", b"/"):
        # A list names it, and not the table.
        source, line = os.fsdecode(step.key), 0
    elif line:
        source = table.removesuffix(CDB)
    shown = printable(os.fsencode(source)) if step.key else ""
    command.say(f"fastforward: {WORDS[step.kind].format(printable(text))}", shown, line)


def _tell_end(command: Command, plan: Forward, order: Order) -> None:
    if not plan.is_known:
        if order.passes:
            command.say("fastforward -p: the next line has it")
        else:
            command.end("fastforward: it bounces (#5.1.1)", Exit.PERMANENT)
        return
    if order.is_shown:
        command.say("fastforward -n: only says so, and does nothing")
    else:
        for address in plan.recipients:
            command.send(plan.sender, address)
    if order.passes:
        command.end("fastforward -p: nothing that follows is done", Exit.STOP)


def _lines_of(table: str, read_control: ReadFile) -> Lines:
    """Return the lines of the alias file that newaliases made `table` from, where it is there."""
    if not table.endswith(CDB):
        return {}
    try:
        text, _ = read_whole(table.removesuffix(CDB), ALIASES_BYTES_MAX)
        found = read_aliases(text, Rewriter(read_hosts({}, read_control)))
    except (OSError, ControlError):
        # Only the table counts; it may have been made of something else.
        return {}
    return dict(found.lines)


# --- dot-forward --------------------------------------------------------------------------------


def tell_dot_forward(command: Command) -> None:
    """Say what the first file that says something asks for."""
    try:
        options, files = split_options([os.fsdecode(word) for word in command.arguments], "nN")
    except OptionError as wrong:
        command.end(f"dot-forward: {wrong}", Exit.PERMANENT)
        return
    names = [*map(os.fsencode, files)]
    try:
        plan = plan_files(names, command.variables, command.read_control)
    except (ForwardFileError, ClosedFileError, ControlError, OSError) as wrong:
        command.end(f"dot-forward: {wrong}", Exit.TEMPORARY)
        return
    _tell_forward_file(command, plan)
    if not options or options[-1][0] == "N":
        for address in plan.targets:
            command.send(command.variables[b"NEWSENDER"], address)


def _tell_forward_file(command: Command, plan: DotForward) -> None:
    for name in plan.skipped:
        command.say("dot-forward: says nothing", printable(name))
    if plan.file is None:
        command.say("dot-forward: no file says anything: the next line has it")
        return
    file = printable(plan.file)
    for action in plan.actions[:STEPS_SHOWN_MAX]:
        text = printable(action.text)
        said = {DIRECT: f"keeps it for {text}", FORWARD: f"sends it to {text}"}
        what = said.get(action.kind, f"runs a program: {text}")
        command.say(f"dot-forward: {what}", file, action.line)
    if len(plan.actions) > STEPS_SHOWN_MAX:
        command.say(f"{len(plan.actions) - STEPS_SHOWN_MAX} more")
    if plan.is_direct:
        command.say("dot-forward: and the next line has it too")
    else:
        command.end("dot-forward: nothing that follows is done", Exit.STOP)
