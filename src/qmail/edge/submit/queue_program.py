"""Runs a program with the interface of qmail-queue: two pipes in, an exit code and a text out.

Source: spec/programs.md 0, "Queue submission (caller side)".
"""

import contextlib
import os
import select
import signal
from collections.abc import Iterable
from typing import Final, NoReturn

from qmail.edge.machine.home import command_path
from qmail.edge.wires.feeding import ALL, feed, is_ready
from qmail.protocol.exits import QueueExit

WAIT_S_MAX: Final = 3600
"""Longest wait for the program to read on, and then to end."""
ERROR_BYTES_MAX: Final = 255
ERROR_FD: Final = 6
CRASHED: Final = -1
"""Not an exit code: killed by a signal."""


def run_queue_program(
    home: str, program: str, parts: Iterable[bytes], envelope: bytes
) -> tuple[int, bytes, int]:
    """Feed one message to `program`, an absolute path, started in `home` without arguments.

    Returns: exit code (-1: crashed), what it wrote to descriptor 6, its process id.
    Raises: whatever iterating `parts` raises; the program sees its envelope end too early then.
    """
    if not program.startswith("/"):
        return QueueExit.CANNOT_EXEC, b"", 0
    message, envelopes, errors = high_pipe(), high_pipe(), high_pipe()
    pid = os.fork()
    if pid == 0:
        _become_program(home, program, (message, envelopes, errors))
    for fd in (message[0], envelopes[0], errors[1]):
        os.close(fd)
    with _Child(pid, errors[0]) as child:
        complete = False
        try:
            complete = feed(message[1], parts, WAIT_S_MAX) == ALL
        finally:
            os.close(message[1])
            with contextlib.suppress(OSError):
                if complete:
                    complete = feed(envelopes[1], (envelope,), WAIT_S_MAX) == ALL
            os.close(envelopes[1])
        code, text = child.ending()
    if code == QueueExit.QUEUED and not complete:
        code = QueueExit.READ_ERROR
    return code, text, pid


def own_queue_program(home: str) -> str | None:
    """Return the command qmail-queue, where this process may write the queue of `home` itself."""
    try:
        may_write = os.geteuid() in (0, os.stat(f"{home}/queue").st_uid)
    except OSError:
        return None
    return command_path("qmail-queue") if may_write else None


def high_pipe() -> tuple[int, int]:
    """Make a pipe with numbers above those the program gets: no dup2 overwrites one of them."""
    low: list[int] = []
    pair = list(os.pipe())
    for end in (0, 1):
        while pair[end] <= ERROR_FD:
            low.append(pair[end])
            pair[end] = os.dup(pair[end])
    for fd in low:
        os.close(fd)
    return pair[0], pair[1]


def _become_program(home: str, program: str, pipes: tuple[tuple[int, int], ...]) -> NoReturn:
    message, envelope, errors = pipes
    code: int = QueueExit.NO_HOME
    try:
        os.chdir(home)
        code = QueueExit.CANNOT_EXEC
        os.dup2(message[0], 0)
        os.dup2(envelope[0], 1)
        os.dup2(errors[1], ERROR_FD)
        # Python ignores it, and the program would inherit that.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execv(program, [program])
    finally:
        os._exit(code)


class _Child:
    """The running program: at the end of the block it is waited for, whatever happened."""

    def __init__(self, pid: int, errors: int) -> None:
        self._pid = pid
        self._errors = errors
        self._ended = False

    def __enter__(self) -> "_Child":
        return self

    def __exit__(self, *_trouble: object) -> None:
        if not self._ended:
            self.ending()
        os.close(self._errors)

    def ending(self) -> tuple[int, bytes]:
        """Wait for the end. Returns the exit code and the error text."""
        self._ended = True
        watch = os.pidfd_open(self._pid)
        try:
            if not is_ready(watch, select.POLLIN, WAIT_S_MAX):
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
                return QueueExit.TIMEOUT, b""
        finally:
            os.close(watch)
        _, status = os.waitpid(self._pid, 0)
        # What the program wrote is in the pipe by now; a child of its own may hold it open.
        os.set_blocking(self._errors, False)
        try:
            text = os.read(self._errors, ERROR_BYTES_MAX)
        except BlockingIOError:
            text = b""
        return (os.WEXITSTATUS(status) if os.WIFEXITED(status) else CRASHED), text
