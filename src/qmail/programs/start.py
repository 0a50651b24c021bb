"""qmail-start [defaultdelivery [logger arg ...]]: starts the suite and keeps it running.

Binds the ports of control/listeners and the inner doors, starts every resident program under its
own account with the descriptors it needs, starts again what dies, and stops all of it at TERM or
INT. It parses nothing but its list of listeners. Started by anybody but root, everything runs under
that one account. Source: spec/programs.md 1 for the arguments.
"""

import fcntl
import os
import pwd
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from qmail.core.settings.controls import ControlError, control_reader, load
from qmail.core.settings.places import DOORS
from qmail.core.settings.programs import Listener, LogControls, StartControls
from qmail.edge.children.offspring import ended_statuses
from qmail.edge.children.supervise import (
    Child,
    Program,
    describe_end,
    ended,
    start,
)
from qmail.edge.doors.doorway import door_path
from qmail.edge.doors.station import Station, listen_door
from qmail.edge.log.lines import RECORDS, Log, complain
from qmail.edge.log.pipe import LogPipe
from qmail.edge.machine.accounts import (
    Account,
    Accounts,
    MissingAccountError,
    accounts_of,
    home_folder,
)
from qmail.edge.machine.descriptors import raise_descriptor_limit
from qmail.edge.tls.certificate import CERTIFICATE, certificate_files
from qmail.protocol.exits import Exit

# Program: account, whether it stays root, its doors. Started in this order, stopped in waves.
RESIDENTS: Final = {
    "qmail-queue": ("qmailq", False, ("queue",)),
    "qmail-clean": ("qmailq", False, ("clean",)),
    "qmail-send": ("qmails", False, ("send", "control", "mailq")),
    "qmail-lspawn": ("qmails", True, ("lspawn", "mailbox")),
    "qmail-rspawn": ("qmailr", False, ("rspawn",)),
    "qmail-verify": ("qmailp", False, ("verify",)),
    "qmail-smtpd": ("qmaild", False, ()),
    "qmail-pspawn": ("qmailp", True, ("login",)),
    "qmail-popup": ("qmaild", False, ()),
}
DESCRIPTOR_VARIABLES: Final = {
    "qmail-smtpd": "QMAIL_LISTENERS",
    "qmail-popup": "QMAIL_LISTENERS",
    "qmail-log": "QMAIL_LOG_PIPE",
}
SERVED_BY: Final = {"qmail-smtpd": ("smtp",), "qmail-popup": ("pop3", "pop3s")}
"""Which program gets the listening sockets of which services."""
NEEDED_FOR: Final = {**SERVED_BY, "qmail-pspawn": SERVED_BY["qmail-popup"]}
NEEDS_CERTIFICATE: Final = ("pop3s",)
LOGGER: Final = "qmail-log"
"""Started before the others where control/log asks for it, and ends when all of them have."""
STOP_WAVES: Final = (("qmail-smtpd", "qmail-popup"), ("qmail-send",), tuple(RESIDENTS))
"""Nothing new comes in; what is being delivered ends; the rest has nothing left to do."""
HEAR_HUP: Final = ("qmail-send", "qmail-rspawn", "qmail-verify", "qmail-smtpd", "qmail-pspawn",
                   "qmail-popup")  # fmt: skip
WAVE_S_MAX: Final = 40.0
LOG_S_MAX: Final = 15.0
FIRST_START_S: Final = 20.0
"""So long a program may take, on a busy machine, to see that it can't do its work."""
BACKLOG: Final = 1024


# Before anything changes the folder: the programs lie beside this one.
BIN: Final = os.path.dirname(os.path.realpath(sys.argv[0]))


class CannotStartError(Exception):
    """Why the suite does not start; the text says what to do."""


class Starter:
    """One run of the suite."""

    def __init__(self, home: str, accounts: Accounts, arguments: Sequence[str]) -> None:
        self._home = home
        self._accounts = accounts
        self._delivery = arguments[0] if arguments else ""
        self._logger = list(arguments[1:])
        self._station = Station()
        self._children: dict[str, Child] = {}
        self._stopping = False
        self._failed = False
        self._log_fd = 1
        self._log_pipe: LogPipe | None = None
        self._log = Log(1)
        self._bin = BIN
        self._environ = dict(os.environ, QMAIL_HOME=home)
        self._environ["PATH"] = f"{self._bin}:{os.environ.get('PATH', '/usr/bin:/bin')}"
        for number in (signal.SIGTERM, signal.SIGINT):
            self._station.on_signal(number, self._on_stop)
        self._station.on_signal(signal.SIGCHLD, self._reap)
        for number in (signal.SIGHUP, signal.SIGALRM):
            self._station.on_signal(number, partial(self._pass_on, number))

    def _on_stop(self) -> None:
        self._stopping = True

    def _pass_on(self, number: int) -> None:
        """HUP goes to all that read controls, ALRM to qmail-send, as when it was the same pid."""
        names: tuple[str, ...] = ("qmail-send",)
        if number == signal.SIGHUP:
            names = HEAR_HUP
        for name in names:
            child = self._children.get(name)
            if child is not None and child.pid:
                os.kill(child.pid, number)

    def _say(self, text: str) -> None:
        self._log.line(f"qmail-start: {text}".encode(errors="replace"))
        self._log.flush()

    # --- starting -------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Bind everything and list the programs.

        Raises: CannotStartError, ControlError, OSError.
        """
        controls = load(StartControls, control_reader(self._home))
        wanted = controls.listeners
        if not self._delivery:
            self._delivery = _default_delivery(controls)
        log = load(LogControls, control_reader(self._home)).log
        listeners = [one for one in wanted if not self._lacks_certificate(one)]
        running = [name for name in RESIDENTS if is_wanted(name, listeners)]
        wanted_doors = [door for name in running for door in RESIDENTS[name][2]]
        doors = {name: self._bind_door(name) for name in DOORS if name in wanted_doors}
        ports = [(listener.service, self._bind_port(listener)) for listener in listeners]
        self._start_logger()
        if log.needs_logger:
            self._prepare_log(needs_records=log.needs_records)
        for name in running:
            account, keeps_root, own_doors = RESIDENTS[name]
            services = SERVED_BY.get(name, ())
            mine = [(service, fd) for service, fd in ports if service in services]
            descriptors = tuple(doors[door] for door in own_doors) or tuple(fd for _, fd in mine)
            program = self._program(name, self._accounts[account], keeps_root, descriptors)
            if len(services) > 1:
                program = replace(program, labels=tuple(service for service, _ in mine))
            self._children[name] = Child(program)
        self._tell(wanted, listeners)

    def _lacks_certificate(self, listener: Listener) -> bool:
        return listener.service in NEEDS_CERTIFICATE and certificate_files(self._home) is None

    def _tell(self, wanted: Sequence[Listener], listeners: Sequence[Listener]) -> None:
        """Say what was opened, what was not, and as whom."""
        if "qmail-smtpd" not in self._children:
            self._say("control/listeners has no smtp: no qmail-smtpd")
        if not self._accounts.separate:
            owner = self._accounts["alias"].uid
            try:
                user = pwd.getpwuid(owner).pw_name
            except KeyError:
                user = f"uid {owner}"
            self._say(f"not root: every program runs as {user}, all mail goes to alias")
        for listener in wanted:
            host = f"[{listener.host}]" if listener.is_ipv6 else listener.host
            where = f"{listener.service} {host}:{listener.port}"
            if listener in listeners:
                self._say(f"listening: {where}")
            else:
                self._say(f"warning: not listening: {where}: control/{CERTIFICATE} is missing")

    def _program(
        self, name: str, account: Account, keeps_root: bool, descriptors: tuple[int, ...]
    ) -> Program:
        path = f"{self._bin}/{name}"
        if not os.access(path, os.X_OK):
            raise CannotStartError(f"{path} is missing or not executable: run 'make install'")
        return Program(
            name=name,
            path=path,
            args=[self._delivery] if name == "qmail-lspawn" else [],
            account=account,
            keeps_root=keeps_root,
            descriptors=descriptors,
            environ=self._environ,
            descriptor_variable=DESCRIPTOR_VARIABLES.get(name, "QMAIL_DOOR"),
        )

    def _bind_door(self, name: str) -> int:
        owner, mode = DOORS[name]
        sock = listen_door(self._home, name)
        path = door_path(self._home, name)
        if self._accounts.separate:
            os.chown(path, self._accounts[owner].uid, self._accounts[owner].gid)
        os.chmod(path, mode)
        return sock.detach()

    def _bind_port(self, listener: Listener) -> int:
        family = socket.AF_INET6 if listener.is_ipv6 else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listener.is_ipv6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            sock.bind((listener.host, listener.port))
        except OSError as trouble:
            raise CannotStartError(
                f"control/listeners: {listener.host} port {listener.port}: {trouble.strerror}"
            ) from trouble
        sock.listen(BACKLOG)
        return sock.detach()

    def _start_logger(self) -> None:
        """Start the logger of the command line as qmaill; the log goes to its descriptor 0."""
        if not self._logger:
            return
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                os.dup2(reader, 0)
                account = self._accounts["qmaill"]
                if os.geteuid() == 0:
                    os.setgroups([account.gid])
                    os.setgid(account.gid)
                    os.setuid(account.uid)
                os.execvpe(self._logger[0], self._logger, self._environ)
            except OSError as trouble:
                os.write(2, f"qmail-start: fatal: {self._logger[0]}: {trouble}\n".encode())
            finally:
                os._exit(111)
        os.close(reader)
        self._log_fd = writer
        self._log = Log(writer)

    def _prepare_log(self, *, needs_records: bool) -> None:
        """Put qmail-log between the programs and what was to get the log; it goes first."""
        pipe = self._log_pipe = LogPipe(self._log_fd)
        program = self._program(LOGGER, self._accounts["qmaill"], False, (pipe.reader,))
        self._children[LOGGER] = Child(program)
        self._start(self._children[LOGGER])
        self._log_fd = pipe.writer
        self._log = Log(pipe.writer)
        if needs_records:
            self._environ = {**self._environ, RECORDS: "records"}

    # --- running --------------------------------------------------------------------------------

    def run(self) -> int:
        """Keep everything running until TERM or INT, then stop it in order."""
        while not self._stopping:
            now = time.monotonic()
            for child in self._children.values():
                if not child.pid and (child.start_at is None or child.start_at <= now):
                    self._start(child)
            waits = [c.start_at - now for c in self._children.values() if c.start_at is not None]
            self._station.turn(max(0.01, min(waits)) if waits else 60.0)
        for wave in STOP_WAVES:
            self._stop([self._children[name] for name in wave if name in self._children])
        self._say("stopped")
        self._end_log()
        return Exit.TEMPORARY if self._failed else Exit.OK

    def _end_log(self) -> None:
        """Let qmail-log come to the end of the log, and wait for it."""
        self._log.end()
        child = self._children.get(LOGGER)
        if child is None or self._log_pipe is None:
            return
        if not child.pid:
            # It died and rests before its next start; what it has not read is in the pipe.
            self._start(child)
        os.close(self._log_pipe.writer)
        if child.pid and time.monotonic() - child.started > FIRST_START_S:
            # Something that a program left behind may keep the pipe open: it need not wait for
            # that. One that has just been started may not know the signal yet.
            os.kill(child.pid, signal.SIGTERM)
        give_up = time.monotonic() + LOG_S_MAX
        while child.pid and time.monotonic() < give_up:
            self._station.turn(1.0)
        if child.pid:
            os.kill(child.pid, signal.SIGKILL)

    def _start(self, child: Child) -> None:
        log_fd = self._log_fd
        if self._log_pipe is not None and child.program.name == LOGGER:
            log_fd = self._log_pipe.outer
        try:
            start(child, log_fd)
        except OSError as trouble:
            ended(child, time.monotonic())
            self._say(f"warning: unable to start {child.program.name}: {trouble.strerror}")

    def _reap(self) -> None:
        for pid, status in ended_statuses():
            for child in self._children.values():
                if child.pid == pid:
                    self._on_end(child, status)

    def _on_end(self, child: Child, status: int) -> None:
        now = time.monotonic()
        first = child.starts == 1 and now - child.started < FIRST_START_S
        ended(child, now)
        if self._stopping:
            return
        name = child.program.name
        if first and os.WIFEXITED(status):
            # It said why: a control file, a missing folder. Trying again would change nothing.
            if name == LOGGER and self._log_pipe is not None:
                # Nobody will read the pipe.
                self._log = Log(self._log_pipe.outer)
            self._say(f"fatal: {name} does not start ({describe_end(status)}); stopping")
            self._failed = self._stopping = True
            return
        self._say(f"warning: {name} is gone ({describe_end(status)}); starting it again")

    def _stop(self, children: list[Child]) -> None:
        for child in children:
            if child.pid:
                os.kill(child.pid, signal.SIGTERM)
        give_up = time.monotonic() + WAVE_S_MAX
        while any(child.pid for child in children) and time.monotonic() < give_up:
            self._station.turn(1.0)
        for child in children:
            if child.pid:
                self._say(f"warning: {child.program.name} does not stop; killing it")
                os.kill(child.pid, signal.SIGKILL)


def is_wanted(name: str, listeners: Sequence[Listener]) -> bool:
    """Say whether a program has anything to do; what serves no listener always has."""
    services = NEEDED_FOR.get(name)
    return services is None or any(listener.service in services for listener in listeners)


def _default_delivery(controls: StartControls) -> str:
    """Return what the control file says. Raises: CannotStartError: nothing."""
    if not controls.defaultdelivery:
        raise CannotStartError("control/defaultdelivery says nothing: write ./Maildir/ into it")
    return os.fsdecode(b"\n".join(controls.defaultdelivery))


def check_home(home: str) -> Accounts:
    """Return who runs this home. Raises: CannotStartError: not by us."""
    try:
        accounts = accounts_of(home)
    except FileNotFoundError:
        raise CannotStartError(f"{home} has no queue: run 'qmail init --home {home}'") from None
    except (OSError, MissingAccountError) as trouble:
        raise CannotStartError(str(trouble)) from trouble
    uid = os.geteuid()
    if accounts.separate and uid != 0:
        raise CannotStartError(f"{home} has separate accounts: only root can start it")
    if not accounts.separate and accounts["qmails"].uid != uid:
        owner = accounts["qmails"].uid
        raise CannotStartError(f"{home} belongs to uid {owner}: start it as that user")
    if os.path.lexists(f"{home}/queue/repair/unfinished"):
        # Messages are between two numbers: to qmail-send they would look like what a crash left.
        raise CannotStartError(f"{home}/queue is half repaired: run 'qmail queue check --repair'")
    return accounts


def lock_home(home: str) -> int:
    """Make sure that we are the only qmail-start of this home.

    Returns: the descriptor that holds the lock. Raises: CannotStartError.
    """
    try:
        fd = os.open(f"{home}/run/lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CannotStartError(f"{home} is running already") from None
    except OSError as trouble:
        raise CannotStartError(f"{home}/run/lock: {trouble.strerror}") from trouble
    return fd


def open_standard_descriptors() -> None:
    """Give the numbers 0, 1 and 2 to something, or a door would get one and lose it again."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)


def main(argv: Sequence[str]) -> int:
    """Run until TERM or INT. Returns: 0, or 111 when the suite can't start."""
    if argv and argv[0].startswith("-"):
        complain("qmail-start", "usage: qmail-start [defaultdelivery [logger arg ...]]")
        return Exit.PERMANENT
    home = os.path.abspath(home_folder())
    open_standard_descriptors()
    try:
        os.chdir("/")
        os.umask(0o077)
        accounts = check_home(home)
        lock_home(home)
        raise_descriptor_limit()
        starter = Starter(home, accounts, argv)
        starter.prepare()
        return starter.run()
    except (CannotStartError, ControlError, OSError) as trouble:
        complain("qmail-start", f"fatal: {trouble}")
        return Exit.TEMPORARY
