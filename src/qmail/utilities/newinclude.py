"""newinclude: store an :include: file for fastforward, as FILE.bin (spec/companion.md 2.4)."""

from __future__ import annotations

import os

from qmail.core.aliases.list_files import make_list
from qmail.core.inject.rewriting import Rewriter
from qmail.core.settings.hosts import read_hosts
from qmail.core.settings.lines import ControlError, control_reader
from qmail.edge.machine.home import home_folder
from qmail.edge.machine.standard import say
from qmail.edge.tools.line_tool import DONE, PERMANENT, TEMPORARY, ToolError, run_tool
from qmail.protocol.options import asks_for_help

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

NAME: Final = "newinclude"
USAGE: Final = "newinclude: usage: newinclude list"


def main(argv: Sequence[str]) -> int:
    """Store the list that is named."""
    if len(argv) != 1 or asks_for_help(argv):
        say(USAGE)
        return PERMANENT
    return run_tool(NAME, lambda: new_include(argv[0]))


def new_include(file: str) -> int:
    """Store it, unless a line is bad. Returns the exit code."""
    try:
        rewriter = Rewriter(read_hosts(os.environb, control_reader(home_folder())))
    except ControlError as wrong:
        raise ToolError(str(wrong)) from None
    made = make_list(file, rewriter)
    for warning in made.warnings:
        say(f"{NAME}: warning: {file}:{warning.line}: {warning.text}")
    for problem in made.problems:
        say(f"{NAME}: fatal: {file}:{problem.line}: {problem.text}")
    return TEMPORARY if made.problems else DONE
