"""iftocc: say whether a message was sent to somebody openly (spec/companion.md 7)."""

from __future__ import annotations

import os

from qmail.core.tools.header_tools import names_one, split_message
from qmail.edge.machine.standard import say
from qmail.edge.tools.line_tool import DONE, PERMANENT, ToolError, message, run_tool
from qmail.protocol.header import HeaderTooLongError
from qmail.protocol.options import asks_for_help

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

NAME: Final = "iftocc"
USAGE: Final = "iftocc: usage: iftocc [ okaddr ... ]"


def main(argv: Sequence[str]) -> int:
    """End with 0 if To or Cc of the message on descriptor 0 has one of the addresses, else 100."""
    if asks_for_help(argv):
        say(USAGE)
        return PERMANENT
    return run_tool(NAME, lambda: look([os.fsencode(word) for word in argv]))


def look(wanted: Sequence[bytes]) -> int:
    """Look for the addresses, or for $RECIPIENT where there are none. Returns the exit code."""
    if not wanted:
        recipient = os.environb.get(b"RECIPIENT")
        if recipient is None:
            raise ToolError("no address, and RECIPIENT not set", PERMANENT)
        wanted = [recipient]
    try:
        fields, _ = split_message(message())
    except HeaderTooLongError as wrong:
        raise ToolError(str(wrong)) from None
    return DONE if names_one(fields, wanted) else PERMANENT
