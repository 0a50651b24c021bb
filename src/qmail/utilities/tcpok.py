"""qmail-tcpok: forget which addresses could not be reached (spec/programs.md 4)."""

import sys
from collections.abc import Sequence

from qmail.edge.machine.accounts import home_folder
from qmail.edge.smtp.back_off import clear_tables
from qmail.protocol.exits import Exit


def main(argv: Sequence[str]) -> int:
    """Empty the tables. Returns: 0, or 111 where they can't be written."""
    if argv:
        print("qmail-tcpok: usage: qmail-tcpok (it takes no arguments)", file=sys.stderr)
        return Exit.PERMANENT
    try:
        clear_tables(home_folder())
    except OSError as trouble:
        what = f"unable to write queue/lock/tcpto: {trouble.strerror}"
        print(f"qmail-tcpok: fatal: {what}", file=sys.stderr)
        return Exit.TEMPORARY
    return Exit.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
