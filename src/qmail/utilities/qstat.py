"""qmail-qstat: count the messages in the queue. Needs to read the queue (spec/programs.md 4)."""

import sys
from collections.abc import Sequence

from qmail.core.fs import RealFs
from qmail.core.queue.layout import find_layout, numbered, numbered_split
from qmail.core.queue.spares import spare_numbers
from qmail.edge.machine.accounts import home_folder
from qmail.protocol.exits import Exit


def main(argv: Sequence[str]) -> int:
    """Print two lines. Returns: 0, or 111 where the queue can't be read."""
    if argv:
        print("qmail-qstat: usage: qmail-qstat", file=sys.stderr)
        return Exit.PERMANENT
    home = home_folder()
    try:
        fs = RealFs(f"{home}/queue")
        messages = len(numbered_split(fs, "mess", find_layout(fs).split).keys() - _spares(fs))
        waiting = len(numbered(fs, "todo"))
    except (OSError, ValueError) as trouble:
        reason = trouble.strerror if isinstance(trouble, OSError) else str(trouble)
        print(f"qmail-qstat: fatal: {home}/queue: {reason}", file=sys.stderr)
        return Exit.TEMPORARY
    print(f"messages in queue: {messages}")
    print(f"messages in queue but not yet preprocessed: {waiting}")
    return Exit.OK


def _spares(fs: RealFs) -> set[int]:
    """Return the numbers of finished messages whose files wait to be written again."""
    try:
        return set(spare_numbers(fs))
    except PermissionError:
        # pid/ is qmailq's: others see those few as messages, for some seconds.
        return set()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
