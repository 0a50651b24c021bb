"""Forks a child that gives up root, mostly, and keeps nothing but one socket.

The child is not started anew: its program is in memory already, so it works at once. The kernel
lets nobody of the new account look into it, because its user has changed and it was not exec'ed.
"""

import contextlib
import ctypes
import gc
import os
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Final, NoReturn

from qmail.edge.machine.accounts import become

CHANNEL_FD: Final = 3
PR_SET_NAME: Final = 15
_FD_END: Final = 1 << 20
_IGNORED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE)

ChildMain = Callable[[socket.socket], int]
Who = tuple[int, int]
"""User and group of a child."""


def fork_child(name: str, account: Who | None, main: ChildMain) -> tuple[int, socket.socket]:
    """Fork a child that becomes `account` and runs `main` with its end of a socket pair.

    `name`: what ps shows. Without an account the child stays who we are.

    Returns: its process id, and our end.
    Raises: OSError: no process or no descriptors left.
    """
    ours, theirs = socket.socketpair()
    try:
        pid = os.fork()
    except OSError:
        ours.close()
        theirs.close()
        raise
    if pid == 0:
        _be_child(name, account, main, theirs)
    theirs.close()
    return pid, ours


def _be_child(name: str, account: Who | None, main: ChildMain, channel: socket.socket) -> NoReturn:
    # Whatever goes wrong here: who waits for a report gets a temporary failure.
    code = 111
    try:
        keep_inherited_objects()
        sock = _keep_only(channel)
        show_as(name)
        os.setsid()
        if account is not None:
            become(*account)
        os.umask(0o077)
        os.chdir("/")
        code = main(sock)
    finally:
        os._exit(code)


def show_as(name: str) -> None:
    """Have ps show another name for this process, of 15 bytes at most."""
    ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode(), 0, 0, 0)


def ended_statuses() -> Iterator[tuple[int, int]]:
    """Yield process id and wait status of every child that has ended."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            yield pid, status


def ended_children() -> Iterator[tuple[int, str]]:
    """Yield the process id of every child that has ended, and how if that was no good end."""
    for pid, status in ended_statuses():
        code = os.waitstatus_to_exitcode(status)
        how = f"exit code {code}" if code > 0 else f"signal {-code}"
        yield pid, how if code else ""


def keep_inherited_objects() -> None:
    """Never collect, in a forked child, what the parent left in memory.

    A socket among it would close a descriptor of that number, which belongs to another file by now.
    """
    gc.freeze()


def _keep_only(channel: socket.socket) -> socket.socket:
    """Close every descriptor but `channel`; only the parent says when to end, no signal does."""
    signal.set_wakeup_fd(-1)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(channel.detach(), CHANNEL_FD, inheritable=False)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.closerange(CHANNEL_FD + 1, _FD_END)
    return socket.socket(fileno=CHANNEL_FD)


def close_all(fds: list[int]) -> None:
    """Close descriptors; neighbours, which they mostly are, with one call."""
    fds.sort()
    first = last = fds[0] if fds else 0
    for fd in fds[1:]:
        if fd != last + 1:
            os.closerange(first, last + 1)
            first = fd
        last = fd
    if fds:
        os.closerange(first, last + 1)
