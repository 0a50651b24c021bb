"""The client of maildirserial: a program that gets file names and prints a report for each."""

import os
import select
from collections.abc import Iterator, Sequence
from typing import Final

from qmail.edge.tools.line_tool import (
    PERMANENT,
    ToolError,
    end_of_program,
    kill_program,
    reason_of,
    start_program,
)
from qmail.protocol.serial_reports import Report, ReportError, ReportReader

SILENT_S_MAX: Final = 86400
"""A client that says nothing for so long is killed."""
PART_BYTES: Final = 65536
FIRST_FREE_FD: Final = 3


def carry(words: Sequence[str], names: Sequence[str]) -> Iterator[Report]:
    """Run the client on these files, in the current folder; yield its reports as they come.

    Raises: ToolError: it can't be started, crashed, was silent for too long, printed something
    else than reports, or ended with 100.
    """
    their_input, to_client = os.pipe()
    from_client, their_output = os.pipe()
    fds = [their_input, to_client, from_client, their_output]
    try:
        if min(fds) < FIRST_FREE_FD:
            raise ToolError("descriptors 0, 1 and 2 must be open")
        actions = [(os.POSIX_SPAWN_DUP2, their_input, 0), (os.POSIX_SPAWN_DUP2, their_output, 1)]
        pid = start_program(words, actions)
    except OSError as trouble:
        os.close(to_client)
        os.close(from_client)
        raise ToolError(f"unable to run {words[0]}: {reason_of(trouble)}") from None
    finally:
        os.close(their_input)
        os.close(their_output)
    try:
        yield from _Talk(to_client, from_client).reports(names)
    except BaseException:
        kill_program(pid)
        raise
    finally:
        os.close(from_client)
    if end_of_program(pid, words[0]) == PERMANENT:
        # It has said why.
        raise ToolError(f"{words[0]} can't go on", PERMANENT)


class _Talk:
    """Both pipes of one client."""

    def __init__(self, to_client: int, from_client: int) -> None:
        self._to_client = to_client
        self._from_client = from_client
        os.set_blocking(to_client, False)

    def reports(self, names: Sequence[str]) -> Iterator[Report]:
        reader = ReportReader()
        rest = memoryview(b"".join(os.fsencode(name) + b"\0" for name in names))
        poll = select.poll()
        poll.register(self._from_client, select.POLLIN)
        poll.register(self._to_client, select.POLLOUT)
        is_writing = True
        try:
            while events := dict(poll.poll(SILENT_S_MAX * 1000)):
                if self._to_client in events:
                    rest = self._write(rest)
                    if not rest:
                        is_writing = self._hang_up(poll)
                if self._from_client in events:
                    data = os.read(self._from_client, PART_BYTES)
                    if not data:
                        return
                    yield from reader.feed(data)
            raise ToolError("client was silent for too long and was stopped")
        except ReportError as wrong:
            raise ToolError(f"client printed something else than a report: {wrong}") from None
        finally:
            if is_writing:
                os.close(self._to_client)

    def _write(self, rest: memoryview) -> memoryview:
        try:
            return rest[os.write(self._to_client, rest) :]
        except BlockingIOError:
            return rest
        except BrokenPipeError:
            # It has ended, or reads no more: its reports say which files it dealt with.
            return rest[:0]

    def _hang_up(self, poll: select.poll) -> bool:
        poll.unregister(self._to_client)
        os.close(self._to_client)
        return False
