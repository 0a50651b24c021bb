"""qmail: the front door for people. Each sub-command is a file of its own, imported when asked for.

qmail init [--home DIR] [--host NAME] [--listen 'smtp HOST:PORT']
qmail check [--home DIR]
qmail explain ADDRESS [--from SENDER]
qmail trace WHAT [--last N] [--since TIME] [--json]
qmail queue check [--repair]
qmail top [--interval SECONDS] [--count N] [--json]
qmail queue list|show|count|hold|release|retry|delete|bounce [NUMBER ...] [FILTER ...]
qmail queue export|import FILE
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Final

from qmail.protocol.exits import Exit

SUB_COMMANDS: Final = {
    "init": "make a home: accounts, folders, control files; repair one that is there",
    "check": "say what is wrong with a home, and what to do about it; change nothing",
    "queue": "look at the queue and steer it while it works; check, repair and move it",
    "top": "watch deliveries, rates and the queue",
    "trace": "show all that happened to a message",
    "passwd": "manage the passwords of mailboxes",
    "explain": "say where mail for an address would go, step by step; deliver nothing",
}
"""Name and purpose of each sub-command; `qmail.utilities.NAME` has its `main(argv) -> int`."""

NEXT: Final = """\
a first start:
  qmail init --host mail.example.org
  qmail check
  qmail-start ./Maildir/

exit codes: 0 done; 1 'check' found something; 100 wrong usage; 111 it could not be done
('explain' has its own)
"""
"""The end of the help."""


def main(argv: Sequence[str]) -> int:
    """Run the sub-command that `argv` names.

    Returns: its exit code; 100 for wrong usage.
    """
    listing = "\n".join(f"  {name:8} {purpose}" for name, purpose in SUB_COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="qmail",
        usage="qmail COMMAND [option ...]",
        description="Set up and look after a home: the folder with everything one mail system has."
        "\nIt is the one that QMAIL_HOME names, else /var/qmail.",
        epilog=f"commands ('qmail COMMAND --help' tells more):\n{listing}\n\n{NEXT}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    hidden = argparse.SUPPRESS
    parser.add_argument("command", nargs="?", choices=tuple(SUB_COMMANDS), help=hidden)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=hidden)
    try:
        chosen = parser.parse_args(argv)
        if chosen.command is None:
            parser.print_help(sys.stderr)
            return Exit.PERMANENT
        module = importlib.import_module(f"qmail.utilities.{chosen.command}")
        return int(module.main(chosen.arguments))
    except SystemExit as end:
        # argparse ends a process with 2 on wrong usage; the suite's code for that is 100.
        return Exit.OK if end.code in (0, None) else Exit.PERMANENT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
