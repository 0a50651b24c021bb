"""Postfix with a configuration, a queue and a log of its own; Debian's defaults otherwise."""

import grp
import os
import pwd
import signal
import subprocess
from enum import Enum
from typing import Final

from bench.crowd import LIST, Crowd
from bench.load import SEARCH_PATH, free_port, need, wait_for_greeting
from bench.values import BY_DNS, HOST, BenchError, wait_until

COMMAND_SECONDS_MAX: Final = 30.0
STOP_SECONDS_MAX: Final = 10.0
ACCOUNT: Final = "postfix"


class Withhold(Enum):
    """How Postfix is kept from delivering, for accept-only."""

    NOTHING = "delivering as usual"
    HOLD = "HOLD for every recipient"
    DEFER = "defer_transports = local"


SETTINGS: Final = {
    Withhold.NOTHING: "",
    Withhold.HOLD: "smtpd_recipient_restrictions = check_client_access static:HOLD\n",
    Withhold.DEFER: "defer_transports = local\n",
}

MAIN_CF: Final = """\
# Only names and places; the rest is as Debian sets it up.
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
maillog_file_prefixes = {folder}
maillog_file = {folder}/maillog
mail_owner = postfix
setgid_group = postdrop
myhostname = {host}
mydestination = {host}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = {relayhost}
alias_maps = hash:{folder}/aliases
alias_database = hash:{folder}/aliases
home_mailbox = Maildir/
smtpd_banner = $myhostname ESMTP $mail_name (Debian/GNU)
smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated defer_unauth_destination
biff = no
append_dot_mydomain = no
readme_directory = no
mailbox_size_limit = 0
recipient_delimiter = {delimiter}
"""

# Debian's master.cf without chroot and without the services that this work never asks for.
MASTER_CF: Final = """\
{port}    inet  n       -       n       -       -       smtpd
pickup    unix  n       -       n       60      1       pickup
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
verify    unix  -       -       n       -       1       verify
flush     unix  n       -       n       1000?   0       flush
proxymap  unix  -       -       n       -       -       proxymap
proxywrite unix -       -       n       -       1       proxymap
smtp      unix  -       -       n       -       -       smtp
relay     unix  -       -       n       -       -       smtp
showq     unix  n       -       n       -       -       showq
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
discard   unix  -       -       n       -       -       discard
local     unix  -       n       n       -       -       local
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
postlog   unix-dgram n  -       n       -       1       postlogd
"""


def version() -> str:
    """Return Postfix's version."""
    done = subprocess.run(
        [need("postconf"), "-dh", "mail_version"],
        capture_output=True,
        timeout=COMMAND_SECONDS_MAX,
        check=False,
    )
    return done.stdout.decode("ascii", "replace").strip() or "unknown"


class Postfix:
    """One instance of Postfix. `folder` is its own and exists; needs root."""

    name = "Postfix"

    def __init__(
        self, folder: str, *, sink_port: int, withhold: Withhold, crowd: Crowd | None = None
    ) -> None:
        self.port = free_port()
        self._folder = folder
        self._config = f"{folder}/etc"
        self._sink_port = sink_port
        self._withhold = withhold
        self._crowd = crowd
        self._pid = 0

    @property
    def pid(self) -> int:
        """The master's process."""
        return self._pid

    def configure(self) -> None:
        """Write the configuration. Raises: BenchError, OSError: it can't be."""
        for name in ("", "/etc", "/spool", "/data"):
            os.makedirs(f"{self._folder}{name}", mode=0o755, exist_ok=True)
        account = pwd.getpwnam(ACCOUNT)
        os.chown(f"{self._folder}/data", account.pw_uid, account.pw_gid)
        grp.getgrnam("postdrop")
        names = {
            "folder": self._folder,
            "host": HOST,
            "port": self.port,
            "relayhost": self._relayhost(),
            # As qmail has it, where both are to deliver to the same addresses.
            "delimiter": "+" if self._crowd is None else "-",
        }
        self._write("etc/main.cf", MAIN_CF.format(**names) + SETTINGS[self._withhold])
        self._write("etc/master.cf", MASTER_CF.format(**names))
        self._write("aliases", "postmaster: root\n" + self._list_alias())
        self._run(need("postalias"), "-c", self._config, f"hash:{self._folder}/aliases")

    def _relayhost(self) -> str:
        return "" if self._sink_port == BY_DNS else f"[127.0.0.1]:{self._sink_port}"

    def _list_alias(self) -> str:
        return "" if self._crowd is None else f"{LIST}: :include:{self._crowd.members}\n"

    def _write(self, name: str, text: str) -> None:
        with open(f"{self._folder}/{name}", "w", encoding="ascii") as file:
            file.write(text)

    def _run(self, *command: str) -> None:
        try:
            done = subprocess.run(
                command,
                env={"PATH": SEARCH_PATH, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=COMMAND_SECONDS_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BenchError(f"{command[0]} does not end") from None
        if done.returncode != 0:
            reason = done.stderr.decode("utf-8", "replace").strip()[-300:]
            raise BenchError(f"{os.path.basename(command[0])}: {reason or self._last_log_line()}")

    def _last_log_line(self) -> str:
        try:
            with open(f"{self._folder}/maillog", encoding="utf-8", errors="replace") as file:
                return file.read()[-500:].strip().split("\n")[-1]
        except FileNotFoundError:
            return "no log"

    def start(self) -> None:
        """Start it and wait for its greeting. Raises: BenchError."""
        self.configure()
        try:
            command = (need("postfix"), "-c", self._config, "start")
            self._run(*(command if self._crowd is None else self._crowd.command(*command)))
        finally:
            # Known even where the start command was cut off, so that stop() finds it.
            wait_until(self._read_pid, seconds_max=2.0, poll_s=0.05)
        wait_for_greeting(self.port, self.name, None)

    def _read_pid(self) -> bool:
        try:
            with open(f"{self._folder}/spool/pid/master.pid", encoding="ascii") as file:
                self._pid = int(file.read().strip() or 0)
        except (FileNotFoundError, ValueError):
            return False
        return self._pid > 1

    def stop(self) -> None:
        """End it: its own command first, a signal to its master where that does not help."""
        if not self._pid:
            return
        try:
            self._run(need("postfix"), "-c", self._config, "stop")
        except BenchError:
            self._signal(signal.SIGTERM)
        if not wait_until(self._is_gone, seconds_max=STOP_SECONDS_MAX, poll_s=0.05):
            self._signal(signal.SIGKILL)
        self._pid = 0

    def _is_gone(self) -> bool:
        try:
            with open(f"/proc/{self._pid}/comm", encoding="utf-8") as file:
                return file.read().strip() != "master"
        except (FileNotFoundError, ProcessLookupError):
            return True

    def _signal(self, number: signal.Signals) -> None:
        if not self._is_gone():
            os.kill(self._pid, number)

    def sendmail(self) -> tuple[list[str], dict[str, str]]:
        """Return Postfix's own sendmail for this configuration."""
        return [need("postdrop").replace("postdrop", "sendmail"), "-C", self._config], {}
