"""qmail-tcpto: print the addresses that could not be reached of late (spec/programs.md 4)."""

import sys
import time
from collections.abc import Iterator, Sequence

from qmail.edge.machine.accounts import home_folder
from qmail.edge.smtp.back_off import read_tables
from qmail.protocol.exits import Exit
from qmail.protocol.tcpto import Table, shown


def lines(timeouts: Sequence[Table], refusals: Sequence[Table], now: int) -> Iterator[str]:
    """Yield a line for each address: timeouts in the original's words, refusals in such ones."""
    for table in timeouts:
        for entry in table.entries():
            age_s = max(0, now - entry.when)
            address = shown(entry.address)
            yield f"{address} timed out {age_s} seconds ago; # recent timeouts: {entry.count}"
    for table in refusals:
        for entry in table.entries():
            age_s = max(0, now - entry.when)
            address = shown(entry.address)
            yield f"{address} refused {age_s} seconds ago; # recent refusals: {entry.count}"


def main(argv: Sequence[str]) -> int:
    """Print a line for each. Returns: 0, or 111 where the table can't be read."""
    if argv:
        print("qmail-tcpto: usage: qmail-tcpto (it takes no arguments)", file=sys.stderr)
        return Exit.PERMANENT
    try:
        timeouts, refusals = read_tables(home_folder())
    except OSError as trouble:
        # On descriptor 1, where the original says it.
        print(f"fatal: unable to read queue/lock/tcpto: {trouble.strerror}")
        return Exit.TEMPORARY
    for line in lines(timeouts, refusals, int(time.time())):
        print(line)
    return Exit.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
