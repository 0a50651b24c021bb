"""Runs one `|` line of a `.qmail` file, and locks an mbox: what a delivery does outside its files.

Descriptor 0 is the message, 1 and 2 are the report. Source: spec/delivery.md 5 and 8.
"""

import contextlib
import fcntl
import os
import select
import signal
from collections.abc import Mapping
from types import FrameType
from typing import Final

SHELL: Final = b"/bin/sh"
PROGRAM_S_MAX: Final = 86400
"""A program that runs longer is killed, with everything it started."""
ALARM_AGAIN_S: Final = 1.0
"""The alarm comes again: one that comes just before the wait begins interrupts nothing."""
_DEFAULT_SIGNALS: Final = (signal.SIGPIPE, signal.SIGTERM, signal.SIGINT, signal.SIGXFSZ)


def run_shell(
    command: bytes, variables: Mapping[bytes, bytes], time_s_max: float = PROGRAM_S_MAX
) -> int:
    """Run `command` by the shell with the message rewound; return its exit code.

    A negative code is the signal that killed it.
    Raises: OSError: the shell can't be started. TimeoutError: it ran for too long.
    """
    os.lseek(0, 0, os.SEEK_SET)
    pid = os.posix_spawn(
        SHELL,
        (SHELL, b"-c", command),
        variables,
        setpgroup=0,
        setsigmask=(),
        setsigdef=_DEFAULT_SIGNALS,
    )
    watch = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(watch, select.POLLIN)
        in_time = bool(poll.poll(time_s_max * 1000))
        if not in_time:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
    finally:
        os.close(watch)
    _, status = os.waitpid(pid, 0)
    if not in_time:
        raise TimeoutError
    return os.waitstatus_to_exitcode(status)


def lock_exclusively(fd: int, wait_s_max: float) -> None:
    """Lock an open file against all other writers, waiting in line.

    Only for the main thread of a process that does nothing else meanwhile.
    Raises: TimeoutError: others kept it for `wait_s_max` seconds. OSError: no lock to be had.
    """
    waits = [True]

    def too_late(_number: int, _frame: FrameType | None) -> None:
        if waits:
            waits.clear()
            raise TimeoutError

    before = signal.signal(signal.SIGALRM, too_late)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, wait_s_max, ALARM_AGAIN_S)
            fcntl.flock(fd, fcntl.LOCK_EX)
        finally:
            waits.clear()
    finally:
        # Whatever was raised above, and where: nothing is raised here any more.
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
