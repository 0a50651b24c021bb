"""serialqmtp: send files by QMTP over the connection on descriptors 6 and 7.

Answers are read while packages are written, so that a far server costs no waiting.
Source: spec/companion.md 3.2; spec/smtp.md C.
"""

import os
import select
from collections import deque
from collections.abc import Sequence
from typing import Final

from qmail.edge.machine.standard import say
from qmail.edge.tools.line_tool import DONE, PERMANENT, ToolError, reason_of, run_tool
from qmail.edge.tools.serial_input import Stored, names_in, open_stored, read_names, tell
from qmail.protocol.options import asks_for_help
from qmail.protocol.qmtp_client import AnswerReader, package_end, package_start
from qmail.protocol.serial_reports import NameReader, Report, said

NAME: Final = "serialqmtp"
USAGE: Final = "serialqmtp: usage: serialqmtp prefix"
READ_FD: Final = 6
WRITE_FD: Final = 7
READ_S: Final = 3600
WRITE_S: Final = 73
PART_BYTES: Final = 65536
UNANSWERED_MAX: Final = 1000
"""With more messages on their way than this the next one waits."""


def main(argv: Sequence[str]) -> int:
    """Send each file whose name comes on descriptor 0, and report on 1."""
    if len(argv) != 1 or asks_for_help(argv):
        say(USAGE)
        return PERMANENT
    prefix = os.fsencode(argv[0])
    return run_tool(NAME, lambda: SerialQmtp(prefix).run())


class SerialQmtp:
    """The connection, and what is on its way."""

    def __init__(self, prefix: bytes) -> None:
        self._prefix = prefix
        self._ip = os.environb.get(b"TCPREMOTEIP", b"")
        self._names = NameReader()
        self._waiting: deque[bytes] = deque()
        """Names that were told and not opened."""
        self._has_all_names = False
        self._sending: Stored | None = None
        self._left = 0
        """How many bytes of that file have not been read."""
        self._out = memoryview(b"")
        self._unanswered: deque[bytes] = deque()
        self._answers = AnswerReader()

    def run(self) -> int:
        """Send all. Returns the exit code.

        Raises: ToolError: the connection can't be used any more.
        """
        was_blocking = [os.get_blocking(fd) for fd in (READ_FD, WRITE_FD)]
        for fd in (READ_FD, WRITE_FD):
            os.set_blocking(fd, False)
        try:
            self._fill()
            while not self._is_done:
                self._turn()
                self._fill()
        finally:
            for fd, blocking in zip((READ_FD, WRITE_FD), was_blocking, strict=True):
                os.set_blocking(fd, blocking)
        return DONE

    @property
    def _is_done(self) -> bool:
        return self._has_all_names and not (self._waiting or self._out or self._unanswered)

    @property
    def _wants_names(self) -> bool:
        return not (self._has_all_names or self._waiting or self._out)

    def _turn(self) -> None:
        """Wait for whatever is next, and do it."""
        # Registered anew each time: 6 and 7 may be one socket.
        poll = select.poll()
        poll.register(READ_FD, select.POLLIN)
        if self._out:
            poll.register(WRITE_FD, select.POLLOUT)
        if self._wants_names:
            poll.register(0, select.POLLIN)
        ready = dict(poll.poll((WRITE_S if self._out else READ_S) * 1000))
        if not ready:
            what = "write" if self._out else "read"
            raise ToolError(f"network {what} error: timed out")
        if READ_FD in ready:
            self._read()
        if WRITE_FD in ready:
            self._write()
        if 0 in ready:
            part = read_names()
            self._has_all_names = not part
            self._waiting += names_in(self._names, part)

    def _fill(self) -> None:
        """Have something to write, if there is anything."""
        while not self._out:
            if self._sending is not None:
                self._out = memoryview(self._next_part(self._sending))
            elif self._waiting and len(self._unanswered) < UNANSWERED_MAX:
                self._begin(self._waiting.popleft())
            else:
                return

    def _begin(self, name: bytes) -> None:
        stored = open_stored(NAME, name, self._prefix)
        if stored is not None:
            self._sending = stored
            self._left = stored.size - stored.top.size
            self._unanswered.append(name)
            self._out = memoryview(package_start(self._left))

    def _next_part(self, stored: Stored) -> bytes:
        if not self._left:
            os.close(stored.fd)
            self._sending = None
            return package_end(stored.top.sender, stored.recipient)
        try:
            part = os.pread(stored.fd, min(PART_BYTES, self._left), stored.size - self._left)
        except OSError as trouble:
            raise ToolError(f"unable to read file: {reason_of(trouble)}") from None
        if not part:
            # Its length has been told: there is no way to take that back.
            raise ToolError("unable to read file: it became shorter")
        self._left -= len(part)
        return part

    def _write(self) -> None:
        try:
            self._out = self._out[os.write(WRITE_FD, self._out) :]
        except BlockingIOError:
            return
        except OSError as gone:
            raise ToolError(f"network write error: {reason_of(gone)}") from None

    def _read(self) -> None:
        try:
            data = os.read(READ_FD, PART_BYTES)
        except BlockingIOError:
            return
        except OSError as gone:
            raise ToolError(f"network read error: {reason_of(gone)}") from None
        if not data:
            raise ToolError("network read error: end of file")
        try:
            answers = self._answers.feed(data)
        except ValueError as wrong:
            raise ToolError(f"remote protocol violation: {wrong}") from None
        for letter, text in answers:
            if not self._unanswered or (self._sending and len(self._unanswered) == 1):
                raise ToolError("remote protocol violation: an answer to nothing")
            tell(Report(self._unanswered.popleft(), letter, said(self._ip, text)))
