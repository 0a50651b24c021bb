"""The process of one session: forked, the client on 0 and 1, the owner of the mailbox at last.

It is a copy of its parent, so that nothing has to be started for it; or it starts a program of
somebody else, which becomes the owner itself. The log stays on descriptor 2.
"""

import contextlib
import os
import resource
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn

from qmail.edge.children.offspring import Who, keep_inherited_objects, show_as
from qmail.edge.log.lines import complain
from qmail.edge.machine.accounts import become

MEMORY_BYTES_MAX: Final = 1 << 30
"""So much address space may one session take."""
_FD_END: Final = 1 << 20
_HANDLED: Final = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGALRM,
    signal.SIGCHLD,
)

Limits = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a session of ours needs."""

    name: str
    """What ps shows, and what the log says."""
    who: Who
    home: bytes
    trouble: bytes
    """What the client is told where the session can't begin."""
    descriptors: Limits
    """Limits on open files, soft and hard, as they were before the parent raised them."""
    run: Callable[[], None]
    """The session: descriptors 0 and 1 are the client, the folder is the home."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a session by a checkpassword program needs (spec/smtp.md E.2)."""

    words: tuple[str, ...]
    data: bytes = field(repr=False)
    """What it reads on descriptor 3: it fits into a pipe."""
    environ: Mapping[str, str]
    trouble: bytes
    descriptors: Limits


def fork_session(fd: int, plan: Session | Program) -> int:
    """Fork the process of a session whose client is on `fd`, which stays open here.

    Returns: its process id.
    Raises: OSError: no process to be had.
    """
    pid = os.fork()
    if pid == 0:
        _be_session(fd, plan)
    return pid


def _be_session(fd: int, plan: Session | Program) -> NoReturn:
    code = 111
    try:
        keep_inherited_objects()
        signal.set_wakeup_fd(-1)
        for number in _HANDLED:
            signal.signal(number, signal.SIG_DFL)
        # Whoever had it before us may not have wanted to wait.
        os.set_blocking(fd, True)
        os.dup2(fd, 0)
        os.dup2(fd, 1)
        os.closerange(3, _FD_END)
        os.setsid()
        if isinstance(plan, Program):
            _exec(plan)
        else:
            code = _serve(plan)
    except BaseException as crash:
        complain("qmail-pspawn", f"session: {crash!r}")
        tell(plan.trouble)
    finally:
        os._exit(code)


def tell(text: bytes) -> None:
    """Tell the client why there is no session; a client that is gone is not told."""
    with contextlib.suppress(OSError):
        os.write(1, text)


def _serve(plan: Session) -> int:
    show_as(plan.name)
    become(*plan.who)
    os.umask(0o077)
    for limit, value in (
        (resource.RLIMIT_NOFILE, plan.descriptors),
        (resource.RLIMIT_CORE, (0, 0)),
        (resource.RLIMIT_AS, _at_most(resource.RLIMIT_AS, MEMORY_BYTES_MAX)),
    ):
        resource.setrlimit(limit, value)
    try:
        os.chdir(plan.home)
    except OSError as missing:
        # The disk may not be mounted yet: nothing is wrong with the login.
        complain(plan.name, f"{os.fsdecode(plan.home)}: {missing.strerror}")
        tell(plan.trouble)
        return 111
    plan.run()
    return 0


def _at_most(limit: int, wanted: int) -> Limits:
    _, hard = resource.getrlimit(limit)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    return most, most


def _exec(plan: Program) -> NoReturn:
    reader, writer = os.pipe()
    os.write(writer, plan.data)
    os.close(writer)
    if reader != 3:
        os.dup2(reader, 3)
        os.close(reader)
    os.set_inheritable(3, True)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_NOFILE, plan.descriptors)
    os.execvpe(plan.words[0], plan.words, plan.environ)
