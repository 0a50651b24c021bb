"""A home for tests of qmail-inject and sendmail, and a queue program that keeps what it gets."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import qmail.launchers
from qmail.mail import Envelope

KEEP = """#!/bin/sh
cat >"$QUEUED.message"; cat <&1 >"$QUEUED.envelope"
test -z "$QUEUE_SAYS" || printf %s "$QUEUE_SAYS" >&6
exit ${QUEUE_EXIT:-0}
"""


class Ended(NamedTuple):
    """How a program ended."""

    code: int
    out: bytes
    err: bytes


class Injection:
    """Runs commands of the suite by their launchers in a home of their own."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.queued = folder / "queued"
        for name in ("control", "queue/lock", "bin"):
            (self.home / name).mkdir(parents=True)
        (self.home / "control/me").write_text("dh.ex\n")
        self.add("keep", KEEP)
        qmail.launchers.write_launchers(str(self.home / "bin"))
        self.environ = {
            "PATH": os.environ["PATH"],
            "QMAIL_HOME": str(self.home),
            "QMAILQUEUE": str(self.home / "bin/keep"),
            "QUEUED": str(self.queued),
            "USER": "joe",
        }

    def add(self, name: str, text: str) -> None:
        """Put a script into the home's bin, in place of any of that name."""
        path = self.home / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def run(self, command: Sequence[str], message: bytes = b"", /, **environ: str) -> Ended:
        """Run a command with a message on standard input."""
        path = str(self.home / "bin" / command[0])
        ended = subprocess.run(
            [path, *command[1:]],
            input=message,
            capture_output=True,
            env={**self.environ, **environ},
            timeout=60,
            check=False,
            cwd="/",
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    @property
    def message(self) -> bytes:
        """The message that was queued last."""
        return self.queued.with_suffix(".message").read_bytes()

    @property
    def envelope(self) -> Envelope:
        """Its envelope."""
        return Envelope.unpack(self.queued.with_suffix(".envelope").read_bytes())
