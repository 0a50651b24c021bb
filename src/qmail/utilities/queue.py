"""qmail queue: look at the queue and steer it. Each sub-command is a file of its own.

They ask the resident qmail-send, which decides and acts; none of them touches a file under it.
check, export and import are about the files themselves, and change them only where it is stopped.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Final

from qmail.edge.doors.control_call import CallError
from qmail.protocol.exits import Exit
from qmail.protocol.netstring import FrameError

SUB_COMMANDS: Final = {
    "list": ("queue_list", "list messages, one a line"),
    "show": ("queue_list", "show messages with each of their recipients"),
    "count": ("queue_list", "count messages by sender, recipient domain, reason or age"),
    "hold": ("queue_acts", "try messages no more until they are released"),
    "release": ("queue_acts", "try held messages again, at once"),
    "retry": ("queue_acts", "try waiting messages at once"),
    "delete": ("queue_acts", "give messages up and tell nobody; undo works for ten minutes"),
    "bounce": ("queue_acts", "give messages up and tell their senders, in ten minutes"),
    "undo": ("queue_undo", "take back the last delete or bounce, or an earlier one"),
    "check": ("queue_check", "find what is wrong with the files of the queue, and mend it"),
    "export": ("queue_export", "write all messages into one archive"),
    "import": ("queue_import", "put the messages of an archive into the queue"),
}
"""Name, module in qmail.utilities with `main(name, argv) -> int`, and purpose of each."""


def main(argv: Sequence[str]) -> int:
    """Run the sub-command that `argv` names.

    Returns: its exit code; 100 for wrong usage, 111 where qmail-send can't be asked.
    """
    listing = "\n".join(f"  {name:8} {purpose}" for name, (_, purpose) in SUB_COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="qmail queue",
        usage="qmail queue COMMAND [number ...] [option ...]",
        description="Look at the queue and steer it, while it works.",
        epilog=f"commands ('qmail queue COMMAND --help' tells more):\n{listing}\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    hidden = argparse.SUPPRESS
    parser.add_argument("command", nargs="?", choices=tuple(SUB_COMMANDS), help=hidden)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=hidden)
    chosen = parser.parse_args(argv)
    if chosen.command is None:
        parser.print_help(sys.stderr)
        return Exit.PERMANENT
    module = importlib.import_module(f"qmail.utilities.{SUB_COMMANDS[chosen.command][0]}")
    try:
        return int(module.main(chosen.command, chosen.arguments))
    except (CallError, FrameError) as trouble:
        print(f"qmail queue: fatal: {trouble}", file=sys.stderr)
        return Exit.TEMPORARY
    except KeyboardInterrupt:
        print("\nqmail queue: interrupted", file=sys.stderr)
        return Exit.TEMPORARY
