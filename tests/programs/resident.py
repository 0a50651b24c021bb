"""A resident server, the real program, with its listening sockets and its log."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.fakes.door import WAIT_S_MAX, wait_until

WITHOUT_UVLOOP = "import sys; sys.modules['uvloop'] = None; "


def environment(home: Path, **variables: str) -> dict[str, str]:
    """Return the environment to start a program in."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return {**kept, "QMAIL_HOME": str(home), **variables}


class ResidentProgram:
    """Runs `program`, Python's text, with `listeners`; QMAIL_LISTENERS is among `environ`."""

    def __init__(
        self,
        home: Path,
        program: str,
        listeners: Sequence[socket.socket],
        environ: Mapping[str, str],
    ) -> None:
        self.home = home
        self._listeners = listeners
        self._log_path, self._errors_path = home / "log.txt", home / "errors.txt"
        with self._log_path.open("wb") as log, self._errors_path.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=errors,
                env=environment(home, **environ),
                pass_fds=[listener.fileno() for listener in listeners],
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_trouble: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(WAIT_S_MAX)
        for listener in self._listeners:
            listener.close()

    @property
    def log(self) -> list[str]:
        """The lines of the log so far."""
        return self._log_path.read_text().splitlines()

    @property
    def errors(self) -> str:
        """What the program wrote to descriptor 2."""
        return self._errors_path.read_text()

    def wait_for_log(self, text: str) -> str:
        """Wait for a line with `text`, and return it."""
        wait_until(lambda: any(text in line for line in self.log))
        return next(line for line in self.log if text in line)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the server; return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(WAIT_S_MAX)
