"""Our suite: a home of its own, made by `qmail init`, its control files then written by hand."""

import os
import shutil
import subprocess
import sys
from typing import Final

from bench.crowd import LIST, Crowd
from bench.load import POP3, end_process, free_port, wait_for_greeting
from bench.mailboxes import Mailboxes
from bench.values import BY_DNS, HOST, RELAY_DOMAIN, BenchError, Mailbox

INIT_SECONDS_MAX: Final = 60.0
BIN: Final = os.path.realpath(os.path.dirname(sys.executable))
"""The folder of the programs; the interpreter of .venv runs this."""
ONE_ACCOUNT_NAME: Final = "bench"


def is_there() -> bool:
    """Say whether the programs are installed."""
    return all(os.access(f"{BIN}/{name}", os.X_OK) for name in ("qmail", "qmail-start", "sendmail"))


class Ours:
    """One instance of our suite. `folder` is its own and exists."""

    name = "ours"

    def __init__(
        self, folder: str, *, sink_port: int, is_withheld: bool, crowd: Crowd | None = None
    ) -> None:
        self.port = free_port()
        self.home = f"{folder}/home"
        self._log = f"{folder}/log"
        self._sink_port = sink_port
        self._is_withheld = is_withheld
        self._crowd = crowd
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process of qmail-start."""
        return 0 if self._process is None else self._process.pid

    def mailbox(self) -> Mailbox:
        """Return the recipient that a home of one account has."""
        return Mailbox(local_part=ONE_ACCOUNT_NAME, new=f"{self.home}/alias/Maildir/new")

    def controls(self) -> dict[str, str]:
        """Return the control files that are written by hand."""
        written = {
            "listeners": f"smtp 127.0.0.1:{self.port}\n",
            "locals": f"{HOST}\n",
            "rcpthosts": f"{HOST}\n{RELAY_DOMAIN}\n",
            "smtproutes": f":[127.0.0.1]:{self._sink_port}\n",
        }
        if self._sink_port == BY_DNS:
            del written["smtproutes"]
        if self._is_withheld:
            written["concurrencylocal"] = "0\n"
        return written

    def configure(self) -> None:
        """Make the home. Raises: BenchError: `qmail init` failed."""
        command = [f"{BIN}/qmail", "init", "--no-maildirs", "--home", self.home, "--host", HOST]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=INIT_SECONDS_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BenchError("qmail init does not end") from None
        if done.returncode != 0:
            reason = done.stderr.decode("utf-8", "replace").strip()[-500:]
            raise BenchError(f"qmail init: {reason or done.returncode}")
        for name, text in self.controls().items():
            with open(f"{self.home}/control/{name}", "w", encoding="ascii") as file:
                file.write(text)
        if self._crowd is not None:
            self._write_list(self._crowd)
        if os.geteuid() != 0:
            path = f"{self.home}/alias/.qmail-{ONE_ACCOUNT_NAME}"
            with open(path, "w", encoding="ascii") as file:
                file.write("./Maildir/\n")

    def _write_list(self, crowd: Crowd) -> None:
        with open(crowd.members, encoding="ascii") as file:
            lines = [f"&{line}" for line in file]
        with open(f"{self.home}/alias/.qmail-{LIST}", "w", encoding="ascii") as file:
            file.writelines(lines)

    def start(self) -> None:
        """Start it, in the home that is there or a new one, and wait for its greeting.

        Raises: BenchError: it does not come up.
        """
        if not os.path.exists(self.home):
            self.configure()
        command = [f"{BIN}/qmail-start", "./Maildir/"]
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                command if self._crowd is None else self._crowd.command(*command),
                cwd="/",
                env={**os.environ, "QMAIL_HOME": self.home},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_for_greeting(self.port, "qmail-start", self._process)
        except BenchError as problem:
            raise BenchError(f"{problem}: {self.last_log_line()}") from None

    def last_log_line(self) -> str:
        """Return the end of the log."""
        with open(self._log, "rb") as log:
            return log.read()[-500:].decode("utf-8", "replace").strip().split("\n")[-1]

    def stop(self) -> None:
        """End it by TERM to qmail-start."""
        end_process(self._process)
        self._process = None

    def sendmail(self) -> tuple[list[str], dict[str, str]]:
        """Return our sendmail, and the home it works for."""
        return [f"{BIN}/sendmail"], {"QMAIL_HOME": self.home}


class OursReading(Ours):
    """Our suite with mailboxes to be read by POP3."""

    def __init__(self, folder: str, *, sink_port: int, mailboxes: Mailboxes) -> None:
        super().__init__(folder, sink_port=sink_port, is_withheld=False)
        self.pop3_port = free_port()
        self._mailboxes = mailboxes

    def controls(self) -> dict[str, str]:
        """Add the listener, and room for all clients at one address."""
        written = super().controls()
        written["listeners"] += f"pop3 127.0.0.1:{self.pop3_port}\n"
        return written

    def configure(self) -> None:
        """Make the home. Raises: BenchError: `qmail init` failed."""
        super().configure()
        path = f"{self.home}/users/passwd"
        with open(path, "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(self._mailboxes.lines)
        if os.geteuid() == 0:
            shutil.chown(path, "qmailp")

    def start(self) -> None:
        """Start it and wait for both greetings. Raises: BenchError: it does not come up."""
        super().start()
        wait_for_greeting(self.pop3_port, "qmail-popup", self._process, POP3)
