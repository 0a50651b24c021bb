"""What one local delivery does outside its own files: programs, submissions, locks, the report."""

import os
from collections.abc import Iterator, Mapping

from qmail.edge.children.shell import lock_exclusively, run_shell
from qmail.edge.submit.queue import submit
from qmail.mail import Envelope, Result


class LocalHands:
    """The hands of a process that makes one delivery: message on 0, report to 1."""

    def __init__(self, home: str, environ: Mapping[str, str], lock_s_max: float) -> None:
        self._home = home
        self._environ = environ
        self._lock_s_max = lock_s_max

    def run(self, command: bytes, variables: Mapping[bytes, bytes]) -> int:
        """Run a shell command on the message; return its exit code, negative for a signal."""
        return run_shell(command, variables)

    def submit(self, parts: Iterator[bytes], envelope: Envelope) -> tuple[Result | None, int]:
        """Put a message into the queue; return the trouble (None: queued) and the queue's qp."""
        outcome = submit(self._home, parts, envelope, self._environ)
        return outcome.result, outcome.qp

    def lock(self, fd: int) -> None:
        """Lock an open mbox."""
        lock_exclusively(fd, self._lock_s_max)

    def say(self, text: bytes) -> None:
        """Add to the report."""
        while text:
            text = text[os.write(1, text) :]
