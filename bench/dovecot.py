"""Dovecot's POP3 server with a configuration of its own; Debian's defaults otherwise."""

import os
import subprocess
from typing import Final

from bench.load import POP3, end_process, free_port, tool, wait_for_greeting
from bench.mailboxes import Mailboxes

CONFIGURATION: Final = """\
# Only names, places and who can log in; the rest is as it comes.
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/log
protocols = pop3
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
mail_location = maildir:~/Maildir
first_valid_uid = 1
auth_mechanisms = plain
service pop3-login {{
  inet_listener pop3 {{
    address = 127.0.0.1
    port = {port}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
passdb {{
  driver = passwd-file
  args = username_format=%u {folder}/passwd
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {folder}/passwd
}}
"""
VERSION_SECONDS_MAX: Final = 10.0


def is_there() -> bool:
    """Say whether Dovecot and its POP3 server are installed, and may be started."""
    return (
        os.geteuid() == 0
        and tool("dovecot") is not None
        and os.path.exists("/usr/lib/dovecot/pop3-login")
    )


def version() -> str:
    """Return Dovecot's version."""
    done = subprocess.run(
        [tool("dovecot") or "dovecot", "--version"],
        capture_output=True,
        timeout=VERSION_SECONDS_MAX,
        check=False,
    )
    return done.stdout.decode("ascii", "replace").split(" ")[0].strip() or "unknown"


class Dovecot:
    """One instance of Dovecot. `folder` is its own and exists; needs root."""

    def __init__(self, folder: str, mailboxes: Mailboxes) -> None:
        self.port = free_port()
        self._folder = folder
        self._mailboxes = mailboxes
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The master's process."""
        return 0 if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it and wait for its greeting. Raises: BenchError: it does not come up."""
        os.makedirs(f"{self._folder}/run", exist_ok=True)
        names = {"folder": self._folder, "port": self.port}
        self._write("dovecot.conf", CONFIGURATION.format(**names), 0o644)
        self._write("passwd", self._mailboxes.lines, 0o644)
        command = [tool("dovecot") or "dovecot", "-F", "-c", f"{self._folder}/dovecot.conf"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_for_greeting(self.port, "dovecot", self._process, POP3)

    def _write(self, name: str, text: str, mode: int) -> None:
        path = f"{self._folder}/{name}"
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(path, mode)

    def stop(self) -> None:
        """End it by TERM to its master."""
        end_process(self._process)
        self._process = None
