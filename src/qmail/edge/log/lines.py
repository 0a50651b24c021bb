"""Log lines: gathered during one turn of a program, written with one call (spec/logging.md 1).

Where qmail-log reads them, descriptor 1 is a pipe that does not block: what it has no room for
waits here, and beyond a bound lines are lost and counted. Mail never waits for the log.
"""

import contextlib
import os
import select
from collections import deque
from typing import Final

RECORDS: Final = "QMAIL_LOG"
"""Environment variable: `records` where qmail-log reads the lines (protocol/log_tail.py)."""
ATOMIC_BYTES: Final = 4096
"""A pipe takes so much whole or not at all (pipe(7)): lines of several programs stay apart."""
WAITING_BYTES_MAX: Final = 262144
END_S_MAX: Final = 1.0


def wants_records() -> bool:
    """Tell whether lines are to have a part for qmail-log."""
    return os.environ.get(RECORDS) == "records"


class Log:
    """Writes whole lines to one descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lines: list[bytes] = []
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._lost = 0
        self._is_paced = _does_not_block(fd)

    def line(self, text: bytes) -> None:
        """Add one line, without its line feed."""
        self._lines.append(text)

    def lines(self, texts: list[bytes]) -> None:
        """Add lines."""
        self._lines += texts

    def flush(self) -> None:
        """Write what was gathered. A log that can't be written never stops the mail."""
        if self._is_paced:
            self._flush_paced()
            return
        if not self._lines:
            return
        data = b"\n".join(self._lines) + b"\n"
        self._lines.clear()
        with contextlib.suppress(OSError):
            written = os.write(self._fd, data)
            while written < len(data):
                written += os.write(self._fd, data[written:])

    def end(self) -> None:
        """Write what is left, waiting a little: this program ends."""
        self.flush()
        if not self._waiting:
            return
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        while self._waiting and poll.poll(END_S_MAX * 1000):
            before = self._waiting_bytes
            self.flush()
            if self._waiting_bytes == before:
                return

    def _flush_paced(self) -> None:
        lines, self._lines = self._lines, []
        for piece in pieces(lines):
            if self._waiting_bytes + len(piece) > WAITING_BYTES_MAX:
                self._lost += piece.count(b"\n")
            else:
                self._waiting.append(piece)
                self._waiting_bytes += len(piece)
        try:
            while self._waiting:
                written = os.write(self._fd, self._waiting[0])
                self._waiting_bytes -= written
                if written < len(self._waiting[0]):
                    self._waiting[0] = self._waiting[0][written:]
                else:
                    self._waiting.popleft()
            if self._lost:
                note = b"log: no room: %d lines lost\n" % self._lost
                os.write(self._fd, note)
                self._lost = 0
        except BlockingIOError:
            return
        except OSError:
            self._waiting.clear()
            self._waiting_bytes = 0


def _does_not_block(fd: int) -> bool:
    try:
        return not os.get_blocking(fd)
    except OSError:
        # Whoever started us has closed it.
        return False


def pieces(lines: list[bytes]) -> list[bytes]:
    """Join lines to pieces that a pipe takes whole; a longer line is a piece alone."""
    found = []
    piece = b""
    for line in lines:
        if piece and len(piece) + len(line) >= ATOMIC_BYTES:
            found.append(piece)
            piece = b""
        piece += line + b"\n"
    return [*found, piece] if piece else found


def complain(program: str, what: str) -> None:
    """Write one line of trouble to descriptor 2."""
    with contextlib.suppress(OSError):
        os.write(2, f"{program}: {what}\n".encode(errors="replace"))
