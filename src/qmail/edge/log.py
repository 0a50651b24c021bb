"""Log lines: gathered during one turn of a program, written with one call (spec/logging.md 1)."""

import contextlib
import os
from typing import Final

RECORDS: Final = "QMAIL_LOG"
"""Environment variable: `records` where qmail-log reads the lines (protocol/log_tail.py)."""


def wants_records() -> bool:
    """Tell whether lines are to have a part for qmail-log."""
    return os.environ.get(RECORDS) == "records"


class Log:
    """Writes whole lines to one descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lines: list[bytes] = []

    def line(self, text: bytes) -> None:
        """Add one line, without its line feed."""
        self._lines.append(text)

    def flush(self) -> None:
        """Write what was gathered. A log that can't be written never stops the mail."""
        if not self._lines:
            return
        data = b"\n".join(self._lines) + b"\n"
        self._lines.clear()
        with contextlib.suppress(OSError):
            written = os.write(self._fd, data)
            while written < len(data):
                written += os.write(self._fd, data[written:])


def complain(program: str, what: str) -> None:
    """Write one line of trouble to descriptor 2."""
    with contextlib.suppress(OSError):
        os.write(2, f"{program}: {what}\n".encode(errors="replace"))
