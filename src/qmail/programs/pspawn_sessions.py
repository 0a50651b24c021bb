"""The sessions of qmail-pspawn: their processes, counted in all and by login."""

import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from qmail.core.pop3.maildrop import open_maildrop
from qmail.edge.children.session import Limits, Program, Session, fork_session
from qmail.edge.pop3.service import serve
from qmail.protocol.password_door import Mailbox
from qmail.protocol.pop3_replies import MAILDIR_TROUBLE

NAME: Final = "qmail-pop3d"
PROGRAM_DATA_MAX: Final = 512
"""So much a checkpassword program reads (spec/smtp.md E.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A login that a checkpassword program is to decide about."""

    name: bytes
    secret: bytes = field(repr=False)
    challenge: bytes
    client: bytes

    @property
    def data(self) -> bytes:
        """What the program reads on descriptor 3."""
        return b"\0".join((self.name, self.secret, self.challenge, b""))

    @property
    def is_short(self) -> bool:
        """Whether the program can take it."""
        return len(self.data) <= PROGRAM_DATA_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """How many sessions there may be, 0 by login: no limit; and what a program is started with."""

    sessions_max: int
    login_max: int
    words: tuple[bytes, ...]
    """The checkpassword program and its arguments; none: the built-in sources decide."""
    daemon: tuple[str, str]
    """qmail-pop3d and its argument, which such a program starts."""
    environ: Mapping[str, str]
    descriptors: Limits


class Sessions:
    """The processes that run, and who waits to be told of their ends."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._by_pid: dict[int, tuple[bytes, Callable[[int], None]]] = {}
        self._count: Counter[bytes] = Counter()

    def __len__(self) -> int:
        """Return how many run or have a place."""
        return self._count.total()

    def reserve(self, login: bytes) -> bool:
        """Keep a place for a session of `login`; False: there is none."""
        places = self.places
        is_full = len(self) >= places.sessions_max
        if is_full or 0 < places.login_max <= self._count[login]:
            return False
        self._count[login] += 1
        return True

    def release(self, login: bytes) -> None:
        """Give a place back."""
        self._count[login] -= 1
        if not self._count[login]:
            del self._count[login]

    def start(
        self, fd: int, whose: Mailbox | Claim, login: bytes, on_end: Callable[[int], None]
    ) -> int:
        """Start a session that has a place; `on_end` gets its exit code, and the place is free.

        Returns: its process id. Raises: OSError: no process to be had.
        """
        plan = self._program(whose) if isinstance(whose, Claim) else self._session(whose)
        pid = fork_session(fd, plan)
        self._by_pid[pid] = (login, on_end)
        return pid

    def _session(self, mailbox: Mailbox) -> Session:
        def run() -> None:
            serve(0, 1, lambda: open_maildrop(os.fsdecode(mailbox.maildir)))

        return Session(
            name=NAME,
            who=(mailbox.uid, mailbox.gid),
            home=mailbox.home,
            trouble=MAILDIR_TROUBLE.wire,
            descriptors=self.places.descriptors,
            run=run,
        )

    def _program(self, claim: Claim) -> Program:
        words = [os.fsdecode(word) for word in self.places.words]
        environ = dict(self.places.environ)
        if claim.client:
            environ["TCPREMOTEIP"] = os.fsdecode(claim.client)
        return Program(
            words=(*words, *self.places.daemon),
            data=claim.data,
            environ=environ,
            # Whoever gave us the client hears the exit code, and tells it.
            trouble=b"",
            descriptors=self.places.descriptors,
        )

    def reaped(self, pid: int, code: int) -> bool:
        """Note that a process has ended. Returns whether it was a session's."""
        found = self._by_pid.pop(pid, None)
        if found is None:
            return False
        login, on_end = found
        self.release(login)
        on_end(code)
        return True

    def end(self, pid: int) -> None:
        """Tell a session's process to end, if it still runs."""
        if pid in self._by_pid:
            os.kill(pid, signal.SIGTERM)

    def end_all(self) -> None:
        """Tell every session to end."""
        for pid in self._by_pid:
            os.kill(pid, signal.SIGTERM)

    @property
    def are_running(self) -> bool:
        """Whether any process is left."""
        return bool(self._by_pid)
