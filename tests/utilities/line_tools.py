"""The commands of `.qmail` lines, run as qmail-local runs them, with a fake queue."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.programs.injection import Ended, Injection

MESSAGE = b"Subject: lunch\nMessage-ID: <1@far.ex>\n\nAt noon?\n"
VARIABLES = {
    "SENDER": "joe@far.ex",
    "NEWSENDER": "list-owner@dh.ex",
    "RECIPIENT": "ann-list@dh.ex",
    "LOCAL": "ann-list",
    "HOST": "dh.ex",
    "USER": "ann",
    "DTLINE": "Delivered-To: ann-list@dh.ex\n",
    "RPLINE": "Return-Path: <joe@far.ex>\n",
    "UFLINE": "From joe@far.ex Thu Jan 01 00:00:00 1970\n",
}


class Line(Injection):
    """Runs a command on a message."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.environ |= VARIABLES
        self.environ["PATH"] = f"{self.home}/bin:/usr/bin:/bin"

    def unset(self, *names: str) -> None:
        """Take variables away."""
        for name in names:
            del self.environ[name]

    def on_file(
        self, command: Sequence[str], message: bytes = MESSAGE, *, offset: int = 0
    ) -> Ended:
        """Run a command with descriptor 0 on a file, at `offset`."""
        path = self.home / "message"
        path.write_bytes(message)
        with open(path, "rb") as file:
            os.lseek(file.fileno(), offset, os.SEEK_SET)
            ended = subprocess.run(
                [str(self.home / "bin" / command[0]), *command[1:]],
                stdin=file,
                capture_output=True,
                env=self.environ,
                timeout=60,
                check=False,
                cwd="/",
            )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    @property
    def is_queued(self) -> bool:
        """True when a message was given to the queue."""
        return self.queued.with_suffix(".envelope").exists()
