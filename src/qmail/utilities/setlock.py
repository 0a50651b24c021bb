"""setlock: run a program while a file is locked (spec/companion.md 3.3)."""

from __future__ import annotations

import _signal
import fcntl
import os

from qmail.edge.machine.standard import say
from qmail.edge.tools.line_tool import DONE, PERMANENT, ToolError, reason_of, run_tool
from qmail.protocol.options import OptionError, asks_for_help, split_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

NAME: Final = "setlock"
USAGE: Final = "setlock: usage: setlock [ -nNxX ] file program [ arg ... ]"


def main(argv: Sequence[str]) -> int:
    """Lock the file, then become the program, which keeps it locked until it has ended."""
    try:
        options, words = ([], []) if asks_for_help(argv) else split_options(argv, "nNxX")
    except OptionError as wrong:
        say(f"{NAME}: {wrong}\n{USAGE}")
        return PERMANENT
    if len(words) < 2:
        say(USAGE)
        return PERMANENT
    # Of a letter and its capital the later one counts.
    asked = {letter.lower(): letter.islower() for letter, _ in options}
    return run_tool(NAME, lambda: run_locked(words[0], words[1:], asked))


def run_locked(file: str, words: Sequence[str], asked: dict[str, bool]) -> int:
    """Become the program. Returns: the exit code, where it doesn't come to that.

    Raises: ToolError: no lock to be had, or no such program.
    """
    try:
        fd = os.open(file, os.O_WRONLY | os.O_NDELAY | os.O_APPEND | os.O_CREAT, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | (fcntl.LOCK_NB if asked.get("n") else 0))
    except OSError as trouble:
        if asked.get("x"):
            return DONE
        what = "open" if trouble.filename else "lock"
        raise ToolError(f"unable to {what} {file}: {reason_of(trouble)}") from None
    os.set_inheritable(fd, True)
    # Python ignores it, and the program would inherit that.
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
    try:
        os.execvp(words[0], tuple(words))
    except OSError as trouble:
        raise ToolError(f"unable to run {words[0]}: {reason_of(trouble)}") from None
