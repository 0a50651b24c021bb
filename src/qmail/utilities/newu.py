"""qmail-newu: make users/cdb from users/assign (spec/programs.md 3, spec/control-files.md 5)."""

import sys
from collections.abc import Sequence

from qmail.core.addresses.assign import ASSIGN, AssignError, assignments, lines_of, records
from qmail.core.cdb import CdbError, write_cdb
from qmail.edge.machine.accounts import home_folder
from qmail.protocol.exits import Exit


def main(argv: Sequence[str]) -> int:
    """Make the file anew. Returns: 0, or 111 where the old one stays."""
    if argv:
        print("qmail-newu: usage: qmail-newu (no arguments)", file=sys.stderr)
        return Exit.PERMANENT
    home = home_folder()
    try:
        with open(f"{home}/{ASSIGN}", "rb") as file:
            found = records(assignments(lines_of(file)))
            write_cdb(f"{home}/users/cdb", f"{home}/users/cdb.tmp", found)
    except (AssignError, CdbError) as wrong:
        print(f"qmail-newu: fatal: {wrong}; users/cdb is as it was", file=sys.stderr)
        return Exit.TEMPORARY
    except OSError as trouble:
        where = trouble.filename or f"{home}/users"
        print(f"qmail-newu: fatal: {where}: {trouble.strerror}", file=sys.stderr)
        return Exit.TEMPORARY
    return Exit.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
