"""qmail-pspawn: logins, and a process for each session under its mailbox's owner. Runs as root.

Whoever has a client, as qmail-popup does, sends names and proofs to run/login. A helper under
qmailp looks at them; of names that it does not know, a second child, which is root and does nothing
else, asks the system. This process passes bounded frames between them, checks whose mailbox it is
told, and forks the session, which becomes that user. Source: spec/smtp.md E.2.
"""

import gc
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

from qmail.core.login.passwd_file import PasswdFile
from qmail.core.login.passwd_line import LINES, MAILDIR
from qmail.core.login.password_check import PasswordCheck
from qmail.core.login.secret import ensure_secret, household
from qmail.core.settings.controls import ControlError, control_reader, load
from qmail.core.settings.login import Apop, LoginControls
from qmail.edge.children.desk import ChildDesk
from qmail.edge.children.offspring import ended_statuses
from qmail.edge.children.post import Post
from qmail.edge.children.session import Limits
from qmail.edge.children.threads import serve_answers
from qmail.edge.doors.admission import Admission
from qmail.edge.doors.rights import RightsDoor
from qmail.edge.doors.station import Door, Station, inherited_door
from qmail.edge.log.lines import complain
from qmail.edge.machine.accounts import Accounts, MissingAccountError, accounts_of, home_folder
from qmail.edge.machine.descriptors import raise_descriptor_limit
from qmail.edge.machine.home import command_path
from qmail.edge.machine.system_passwords import SystemPasswords
from qmail.edge.machine.wipe import leave_no_dump
from qmail.programs.pspawn_helper import LoginDesk
from qmail.programs.pspawn_logins import TICK_S, Desks, Logins
from qmail.programs.pspawn_sessions import Places, Sessions
from qmail.programs.pspawn_system import SystemDesk
from qmail.protocol.exits import Exit
from qmail.protocol.login_door import LOGIN_FRAME_MAX, Mechanism, Offer, unpack_call
from qmail.protocol.password_door import PASSWORD_FRAME_MAX

NAME: Final = "qmail-pspawn"
THREADS: Final = 4
"""So many passwords are looked at at a time by each child; a slow hash holds up no other login."""
IDLE_S: Final = 5.0
"""So often it is looked whether what is offered has changed."""
LAST_SESSIONS_S_MAX: Final = 5.0


class LoginWork:
    """What the children do, made before any of them is forked."""

    def __init__(self, home: str, accounts: Accounts, limits: Limits) -> None:
        self._home = home
        self._accounts = accounts
        self._limits = limits
        self.controls = load(LoginControls, control_reader(home))

    @property
    def is_external(self) -> bool:
        """Whether a checkpassword program decides."""
        return bool(self.controls.checkpassword)

    def offer(self) -> Offer:
        """Return the mechanisms that can work now."""
        found = [Mechanism.PLAIN, Mechanism.USER]
        if not self.is_external and os.path.exists(f"{self._home}/{LINES}"):
            # Accounts of the system alone have nothing that SCRAM could use.
            found.insert(0, Mechanism.SCRAM_SHA_256)
        if self.is_external and self.controls.apop is Apop.YES:
            found.append(Mechanism.APOP)
        return Offer(tuple(found))

    def places(self) -> Places:
        """Return what sessions need."""
        environ = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "PROTO": "TCP"}
        if "QMAIL_HOME" in os.environ:
            environ["QMAIL_HOME"] = os.environ["QMAIL_HOME"]
        return Places(
            sessions_max=self.controls.concurrencypop3,
            login_max=self.controls.concurrencypop3login,
            words=self.controls.checkpassword,
            daemon=(command_path("qmail-pop3d") or "qmail-pop3d", os.fsdecode(MAILDIR)),
            environ=environ,
            descriptors=self._limits,
        )

    def help(self, sock: socket.socket) -> int:
        """Look at proofs: the life of the helper under qmailp."""
        leave_no_dump()
        desk = LoginDesk(
            self._make_check, is_external=self.is_external, has_system=self._accounts.separate
        )
        return serve_answers(sock, LOGIN_FRAME_MAX, desk.reply, threads=THREADS)

    def _make_check(self, say: Callable[[str], None]) -> PasswordCheck:
        return PasswordCheck(
            PasswdFile(self._home),
            SystemPasswords(),
            household(self._home, self._accounts.sole),
            say,
        )

    def ask_system(self, sock: socket.socket) -> int:
        """Look at passwords of the system: the life of the child that is root."""
        leave_no_dump()
        return serve_answers(sock, PASSWORD_FRAME_MAX, SystemDesk().reply, threads=THREADS)


class Pspawn:
    """The service."""

    def __init__(self, home: str, accounts: Accounts, limits: Limits) -> None:
        self._home = home
        self._accounts = accounts
        self._limits = limits
        self._work = LoginWork(home, accounts, limits)
        self._offer = self._work.offer()
        self._station = Station()
        self._end_at: float | None = None
        self._sessions = Sessions(self._work.places())
        self._logins = Logins(self._desks(), self._sessions, accounts.without_mailbox)
        self._admission = Admission(self._station, NAME, on_close=self._logins.forget)
        self._admission.kind = RightsDoor
        self._admission.listen(
            inherited_door(home, "login"),
            LOGIN_FRAME_MAX,
            {accounts["qmaild"].uid},
            self._on_frames,
            greet=self._greeting,
        )
        self._station.on_signal(signal.SIGCHLD, self._reap)
        self._station.on_signal(signal.SIGHUP, self._read_again)
        self._station.on_signal(signal.SIGTERM, self._on_term)
        self._station.on_signal(signal.SIGINT, self._on_term)

    def _desks(self) -> Desks:
        qmailp = self._accounts["qmailp"]
        helper = Post("qmail-password", (qmailp.uid, qmailp.gid), self._help, PASSWORD_FRAME_MAX)
        system = Post("qmail-shadow", None, self._ask_system, PASSWORD_FRAME_MAX)
        return Desks(
            helper=lambda hear, lost: ChildDesk(self._station, helper, hear, lost),
            system=lambda hear, lost: ChildDesk(self._station, system, hear, lost),
        )

    def _help(self, sock: socket.socket) -> int:
        return self._work.help(sock)

    def _ask_system(self, sock: socket.socket) -> int:
        return self._work.ask_system(sock)

    def run(self) -> int:
        """Serve until TERM, then end the sessions."""
        next_tick = 0.0
        while self._end_at is None or (
            self._sessions.are_running and time.monotonic() < self._end_at
        ):
            self._station.turn(min(IDLE_S, self._logins.wait_s(time.monotonic())))
            now = time.monotonic()
            self._logins.pass_refusals(now)
            if now >= next_tick:
                next_tick = now + TICK_S
                self._logins.tick(now)
                self._tell_offer()
            for door in self._admission.callers:
                door.flush()
        self._logins.close()
        return Exit.OK

    def _on_term(self) -> None:
        if self._end_at is None:
            self._end_at = time.monotonic() + LAST_SESSIONS_S_MAX
            self._sessions.end_all()
            self._admission.shut()

    def _read_again(self) -> None:
        """Read the control files again; with a bad one, go on with the old settings."""
        try:
            self._work = LoginWork(self._home, self._accounts, self._limits)
        except (ControlError, OSError) as trouble:
            complain(NAME, f"{trouble}: going on with the old settings")
            return
        self._sessions.places = self._work.places()
        self._logins.restart_helper()
        self._tell_offer()

    def _tell_offer(self) -> None:
        offer = self._work.offer()
        if offer != self._offer:
            self._offer = offer
            for door in self._admission.callers:
                door.send(offer.pack())

    def _greeting(self) -> bytes:
        return self._offer.pack()

    def _on_frames(self, door: Door, payloads: list[bytes]) -> None:
        if not isinstance(door, RightsDoor) or self._end_at is not None:
            return
        for payload in payloads:
            self._logins.take(door, unpack_call(payload), time.monotonic())

    def _reap(self) -> None:
        for pid, status in ended_statuses():
            code = os.waitstatus_to_exitcode(status)
            if self._sessions.reaped(pid, code if code >= 0 else 128 - code):
                continue
            which = self._logins.reaped(pid)
            if which and code:
                complain(NAME, f"warning: {which} {pid} ended with {code}")


def prepare(home: str, accounts: Accounts) -> None:
    """Make the secret of the home where there is none; without one logins work as well."""
    owner = accounts["qmailp"]
    try:
        ensure_secret(home, lambda fd: os.fchown(fd, owner.uid, owner.gid))
    except OSError as trouble:
        complain(NAME, f"warning: {trouble.filename}: {trouble.strerror}")


def main(argv: Sequence[str]) -> int:
    """Serve until TERM. Returns: 0 after TERM, 111 when it can't start."""
    if argv:
        print(f"{NAME}: usage: {NAME} (no arguments)", file=sys.stderr)
        return Exit.PERMANENT
    home = home_folder()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    raise_descriptor_limit()
    leave_no_dump()
    try:
        accounts = accounts_of(home)
        prepare(home, accounts)
        service = Pspawn(home, accounts, limits)
    except (ControlError, MissingAccountError, OSError) as trouble:
        complain(NAME, f"fatal: {trouble}")
        return Exit.TEMPORARY
    # The children are copies of this process: what is here now stays shared with them.
    gc.collect()
    gc.freeze()
    return service.run()
