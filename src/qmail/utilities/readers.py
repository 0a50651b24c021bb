"""elq, pinq, qail: old mail readers that know no maildir, after the mail has moved to an mbox.

Source: spec/programs.md 7.
"""

from __future__ import annotations

import os
import signal
import sys

from qmail.edge.machine.standard import say
from qmail.edge.tools.line_tool import (
    DONE,
    PERMANENT,
    TEMPORARY,
    ToolError,
    code_of,
    command,
    reason_of,
    run_tool,
)
from qmail.protocol.options import asks_for_help

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

READERS: Final = {"elq": "elm", "pinq": "pine", "qail": "Mail"}
MOVER: Final = "maildir2mbox"


def main(argv: Sequence[str]) -> int:
    """Move the mail, then become the reader that belongs to the name we were called by."""
    name = os.path.basename(sys.argv[0])
    reader = READERS.get(name)
    if reader is None:
        say(f"{name}: usage: call it by one of the names {', '.join(READERS)}")
        return PERMANENT
    if asks_for_help(argv):
        say(f"{name}: usage: {name} [ argument of {reader} ... ]")
        return PERMANENT
    return run_tool(name, lambda: read_mail(reader, argv))


def read_mail(reader: str, arguments: Sequence[str]) -> int:
    """Become the reader, unless the mail can't be moved. Returns the exit code then."""
    code = os.spawnv(os.P_WAIT, command(MOVER), [MOVER])
    if code != DONE:
        return code if code > 0 else TEMPORARY
    # Python ignores it, and the reader would inherit that.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp(reader, [reader, *arguments])
    except OSError as trouble:
        raise ToolError(f"unable to run {reader}: {reason_of(trouble)}", code_of(trouble)) from None
