"""Children that are started under an account, watched, and started again (used by qmail-start)."""

import ctypes
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn

from qmail.edge.machine.accounts import Account, become

PR_SET_PDEATHSIG: Final = 1
RESTART_S_MIN: Final = 0.1
RESTART_S_MAX: Final = 10.0
_FD_END: Final = 1 << 20
HANDLED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM, signal.SIGCHLD)
STEADY_S: Final = 30.0
"""A child that ran this long is started again at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program to keep running: what, as whom, with which descriptors."""

    name: str
    path: str
    args: Sequence[str]
    account: Account
    keeps_root: bool
    descriptors: Sequence[int]
    environ: Mapping[str, str]
    descriptor_variable: str
    """Environment variable that tells the program its descriptors."""
    labels: Sequence[str] = ()
    """What each descriptor is, for a program that has several kinds: `LABEL:DESCRIPTOR`."""


@dataclass(slots=True)
class Child:
    """One running, or resting, program."""

    program: Program
    pid: int = 0
    started: float = 0.0
    starts: int = 0
    rest_s: float = RESTART_S_MIN
    start_at: float | None = field(default=None)


def start(child: Child, log_fd: int) -> None:
    """Start the child's program. Raises: OSError: no process to be had."""
    child.started = time.monotonic()
    child.start_at = None
    child.starts += 1
    parent = os.getpid()
    # Held back until the child has no handler of ours: it would tell us and not stop itself.
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        child.pid = os.fork()
        if child.pid == 0:
            _be_child(child.program, log_fd, parent)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


def _be_child(program: Program, log_fd: int, parent: int) -> NoReturn:
    try:
        signal.set_wakeup_fd(-1)
        for number in HANDLED:
            signal.signal(number, signal.SIG_DFL)
        _become_program(program, log_fd, parent)
    except OSError as trouble:
        os.write(2, f"qmail-start: fatal: {program.path}: {trouble}\n".encode())
    finally:
        os._exit(111)


def _keep_only(descriptors: Sequence[int]) -> None:
    """Close all but 0 to 2 and `descriptors`: who starts us may have left others open."""
    first = 3
    for fd in sorted(descriptors):
        os.closerange(first, fd)
        os.set_inheritable(fd, True)
        first = fd + 1
    os.closerange(first, _FD_END)


def _become_program(program: Program, log_fd: int, parent: int) -> None:
    # A session of its own: Ctrl-C reaches qmail-start alone, which stops the rest in order.
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
    _keep_only(program.descriptors)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    os.umask(0o077)
    if program.keeps_root:
        if os.geteuid() == 0:
            os.setgroups([program.account.gid])
            os.setgid(program.account.gid)
    else:
        become(program.account.uid, program.account.gid)
    # After the change of account, which clears it: nobody outlives a killed qmail-start.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(111)
    environ = dict(program.environ)
    if program.descriptors:
        environ[program.descriptor_variable] = descriptor_words(program)
    os.chdir("/")
    os.execve(program.path, [program.path, *program.args], environ)


def descriptor_words(program: Program) -> str:
    """Return what tells a program its descriptors."""
    if not program.labels:
        return " ".join(map(str, program.descriptors))
    pairs = zip(program.labels, program.descriptors, strict=True)
    return " ".join(f"{label}:{fd}" for label, fd in pairs)


def ended(child: Child, now: float) -> None:
    """Note that the child is gone, and when it is to be started again."""
    child.pid = 0
    if now - child.started >= STEADY_S:
        child.rest_s = RESTART_S_MIN
    child.start_at = now + child.rest_s
    child.rest_s = min(RESTART_S_MAX, child.rest_s * 2)


def describe_end(status: int) -> str:
    """Say in words how a process ended."""
    if os.WIFSIGNALED(status):
        return f"killed by signal {os.WTERMSIG(status)}"
    return f"exit {os.WEXITSTATUS(status)}"
