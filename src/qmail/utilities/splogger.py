"""splogger: hand a log from standard input to syslog (spec/programs.md 8)."""

import os
import sys
import syslog
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from qmail.protocol.exits import Exit
from qmail.protocol.options import asks_for_help

USAGE: Final = "splogger: usage: splogger [ tag [ facility ] ]"
READ_BYTES: Final = 65536
PIECE_BYTES: Final = 799
"""What syslogd takes in one message is limited; longer lines are cut."""
FACILITIES: Final = range(24)
MAIL: Final = 2
PRIORITIES: Final = {b"alert:": syslog.LOG_ALERT, b"warning:": syslog.LOG_WARNING}
"""How a line begins, and how grave it is; all others are for information."""
_SHOWN: Final = bytes(byte if 32 <= byte <= 126 else ord("?") for byte in range(256))


def main(argv: Sequence[str]) -> int:
    """Log every line of descriptor 0 until its end."""
    tag = argv[0] if argv else "splogger"
    number = argv[1] if len(argv) > 1 else str(MAIL)
    if len(argv) > 2 or asks_for_help(argv) or number not in map(str, FACILITIES):
        print(USAGE, file=sys.stderr)
        return Exit.PERMANENT
    syslog.openlog(tag, 0, int(number) << 3)
    try:
        log(lambda: os.read(0, READ_BYTES), syslog.syslog, time.time)
    except OSError as trouble:
        reason = (trouble.strerror or "unknown error").lower()
        print(f"splogger: fatal: unable to read the log: {reason}", file=sys.stderr)
        return Exit.TEMPORARY
    return Exit.OK


def log(
    read: Callable[[], bytes], write: Callable[[int, str], None], now: Callable[[], float]
) -> None:
    """Pass on every line, with its time, until `read` returns b""."""
    lines = LogLines(now)
    while data := read():
        for priority, text in lines.feed(data):
            write(priority, text)
    # A program that died in the middle of a line may have said the reason in it.
    for priority, text in lines.feed(b"\n"):
        write(priority, text)


class LogLines:
    """Cuts what comes into lines, and long lines into pieces with the same time."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._text = b""
        self._stamp = ""
        """When the first byte of this line came; "" before that."""
        self._priority = syslog.LOG_INFO
        self._is_begun = False
        """True when a piece of this line is out."""

    def feed(self, data: bytes) -> Iterator[tuple[int, str]]:
        """Yield priority and text of each message that is complete with `data`."""
        first, *others = data.split(b"\n")
        yield from self._add(first)
        for part in others:
            if self._text:
                yield self._piece(len(self._text))
            self._stamp, self._is_begun = "", False
            yield from self._add(part)

    def _add(self, part: bytes) -> Iterator[tuple[int, str]]:
        if part and not self._stamp:
            self._stamp = f"{self._now():.6f}"
        self._text += part
        while len(self._text) > PIECE_BYTES:
            yield self._piece(PIECE_BYTES)

    def _piece(self, size: int) -> tuple[int, str]:
        text, self._text = self._text[:size], self._text[size:]
        if not self._is_begun:
            found = [PRIORITIES[word] for word in PRIORITIES if text.startswith(word)]
            self._priority = found[0] if found else syslog.LOG_INFO
        mark = "+" if self._is_begun else " "
        self._is_begun = True
        return self._priority, self._stamp + mark + text.translate(_SHOWN).decode()
