"""qmail-newmrh: make control/morercpthosts.cdb from control/morercpthosts (spec/programs.md 3)."""

import sys
from collections.abc import Iterable, Iterator, Sequence

from qmail.core.cdb import CdbError, write_cdb
from qmail.core.settings.controls import (
    ControlError,
    Line,
    control_reader,
    entries,
    parse_domain,
    split_lines,
)
from qmail.core.smtp.relay import MORE_HOSTS
from qmail.edge.machine.accounts import home_folder
from qmail.protocol.exits import Exit


def main(argv: Sequence[str]) -> int:
    """Make the file anew. Returns: 0, or 111 where the old one stays."""
    if argv:
        print("qmail-newmrh: usage: qmail-newmrh (no arguments)", file=sys.stderr)
        return Exit.PERMANENT
    home = home_folder()
    source = f"{home}/control/{MORE_HOSTS}"
    try:
        raw = control_reader(home)(MORE_HOSTS)
        if raw is None:
            print(f"qmail-newmrh: fatal: {source}: No such file or directory", file=sys.stderr)
            return Exit.TEMPORARY
        write_cdb(f"{source}.cdb", f"{source}.tmp", records(split_lines(raw)))
    except (ControlError, CdbError) as wrong:
        print(f"qmail-newmrh: fatal: {wrong}; {MORE_HOSTS}.cdb is as it was", file=sys.stderr)
        return Exit.TEMPORARY
    except OSError as trouble:
        print(
            f"qmail-newmrh: fatal: {trouble.filename or source}: {trouble.strerror}",
            file=sys.stderr,
        )
        return Exit.TEMPORARY
    return Exit.OK


def records(lines: Iterable[Line]) -> Iterator[tuple[bytes, bytes]]:
    """Yield a record for each domain, without data. Raises: ControlError: not a domain."""
    for line in entries(list(lines)):
        yield parse_domain(MORE_HOSTS, line), b""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
