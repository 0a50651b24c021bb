"""The logins of qmail-pspawn from their first frame to their session, as a table of stages.

    stage       who is waited for          frames that may come         then
    ----------  -------------------------  ---------------------------  --------------------------
    ASKED       the helper, or the system  X                            any of these
    CHALLENGED  the client                 C, X                         ASKED
    REFUSED     the time when it is told   X                            over
    ACCEPTED    the caller                 S, X                         RUNNING
    RUNNING     the session's process      X                            over

A frame about a tag that is over is passed over: it has crossed our last one. Any other frame that
may not come ends the connection.
"""

import heapq
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Final

from qmail.edge.children.desk import ChildDesk
from qmail.edge.doors.rights import RightsDoor
from qmail.edge.doors.station import Door
from qmail.edge.log.lines import complain
from qmail.edge.machine.wipe import wipe
from qmail.programs.pspawn_sessions import Claim, Sessions
from qmail.protocol.login_door import (
    Accepted,
    Answer,
    Begin,
    Begun,
    Call,
    Challenge,
    Ended,
    GiveUp,
    Proof,
    Refusal,
    Refused,
    Response,
    Start,
)
from qmail.protocol.netstring import FrameError
from qmail.protocol.password_door import (
    Found,
    Mailbox,
    Password,
    Trouble,
    unpack_finding,
)

NAME: Final = "qmail-pspawn"
LOGINS_MAX: Final = 1000
"""So many logins are under way at a time, sessions left out."""
REFUSAL_EVERY_S: Final = 0.5
"""Refusals are told at multiples of this time after the last frame of the client: how long a hash
took, or whether there was one, is not to be seen."""
ASKED_S_MAX: Final = 60.0
"""A child that is silent for so long while asked is killed."""
CLIENT_S_MAX: Final = 300.0
ACCEPTED_S_MAX: Final = 60.0
SAME_TROUBLE_S: Final = 60.0
"""The same line of trouble is logged so often at most."""
TROUBLES_MAX: Final = 100
TICK_S: Final = 1.0
SERVICE: Final = b"pop3"
"""The service that has sessions."""


class Stage(Enum):
    """How far a login is."""

    ASKED = auto()
    CHALLENGED = auto()
    REFUSED = auto()
    ACCEPTED = auto()
    RUNNING = auto()


STAGE_S_MAX: Final[Mapping[Stage, float]] = {
    Stage.ASKED: ASKED_S_MAX,
    Stage.CHALLENGED: CLIENT_S_MAX,
    Stage.ACCEPTED: ACCEPTED_S_MAX,
}
"""How long a stage may last. The others end by themselves."""


@dataclass(slots=True)
class _Login:
    """One login. `serial` is its number here, which no other login ever has."""

    serial: int
    door: RightsDoor
    begin: Begin
    """Without name and secret: those are gone as soon as they were passed on."""
    stage: Stage = Stage.ASKED
    since: float = 0.0
    heard_at: float = 0.0
    """When the client's last frame came (monotonic), as `since`."""
    whose: Mailbox | Claim | None = None
    is_counted: bool = False
    """It has a place among the sessions, by `login`."""
    login: bytes = b""
    pid: int = 0

    @property
    def tag(self) -> int:
        """The caller's number."""
        return self.begin.tag


Hear = Callable[[bytes], None]
Lost = Callable[[], None]
MakeDesk = Callable[[Hear, Lost], ChildDesk]


@dataclass(frozen=True, slots=True)
class Desks:
    """How the two children come to be."""

    helper: MakeDesk
    system: MakeDesk


@dataclass(slots=True)
class _Troubles:
    """Lines of trouble, each logged now and then at most."""

    said: dict[bytes, float] = field(default_factory=dict)

    def say(self, text: bytes) -> None:
        now = time.monotonic()
        if now - self.said.get(text, -SAME_TROUBLE_S) < SAME_TROUBLE_S:
            return
        if len(self.said) >= TROUBLES_MAX:
            self.said.clear()
        self.said[text] = now
        plain = "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in text)
        complain(NAME, f"warning: {plain}")


class Logins:
    """All logins that are not over. `barred`: users who have no mailbox, whatever is found."""

    def __init__(
        self,
        desks: Desks,
        sessions: Sessions,
        barred: frozenset[int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._helper = desks.helper(self._on_helper, self._on_helper_lost)
        self._system = desks.system(self._on_system, self._on_system_lost)
        self._sessions = sessions
        self._barred = barred
        self._by_serial: dict[int, _Login] = {}
        self._by_tag: dict[tuple[Door, int], _Login] = {}
        self._at_system: set[int] = set()
        self._under_way = 0
        self._last_serial = 0
        self._refusals: list[tuple[float, int]] = []
        self._troubles = _Troubles()

    # --- frames of the caller ---------------------------------------------------------------------

    def take(self, door: RightsDoor, call: Call, now: float) -> None:
        """Carry out a frame of a caller. Raises: FrameError: it may not come now."""
        if isinstance(call, Begin):
            self._begin(door, call, now)
            return
        login = self._by_tag.get((door, call.tag))
        match call:
            case Response():
                self._respond(login, call, now)
            case Start():
                self._start(login, door.take_descriptor(), now)
            case GiveUp():
                if login is not None:
                    self._give_up(login)

    def _begin(self, door: RightsDoor, begin: Begin, now: float) -> None:
        if (door, begin.tag) in self._by_tag:
            raise FrameError("the tag is taken")
        if self._under_way >= LOGINS_MAX:
            door.send(Refused(begin.tag, Refusal.LIMIT).pack())
            return
        serial = self._last_serial = self._last_serial % 10**9 + 1
        login = _Login(serial, door, replace(begin, login=b"", secret=b""))
        self._by_serial[serial] = self._by_tag[door, begin.tag] = login
        self._under_way += 1
        login.heard_at = now
        self._ask(login, replace(begin, tag=serial).pack(), now)
        wipe(begin.login, begin.secret)

    def _ask(self, login: _Login, frame: bytes, now: float) -> None:
        self._enter(login, Stage.ASKED, now)
        if not self._helper.ask(frame):
            self._refuse(login, Refusal.TEMPORARY)

    def _respond(self, login: _Login | None, call: Response, now: float) -> None:
        if login is None:
            return
        if login.stage is not Stage.CHALLENGED:
            raise FrameError("a response that nobody awaits")
        login.heard_at = now
        self._ask(login, Response(login.serial, call.data).pack(), now)
        wipe(call.data)

    def _start(self, login: _Login | None, fd: int, now: float) -> None:
        try:
            if login is None:
                return
            whose = login.whose
            if login.stage is not Stage.ACCEPTED or whose is None or login.begin.service != SERVICE:
                raise FrameError("no session can be started for this")
            try:
                login.pid = self._sessions.start(
                    fd, whose, login.login, lambda code: self._on_session_end(login, code)
                )
            except OSError as trouble:
                complain(NAME, f"warning: no process for a session: {trouble.strerror}")
                self._refuse(login, Refusal.TEMPORARY)
                return
        finally:
            os.close(fd)
        # From now on the process has the place, and frees it.
        login.is_counted = False
        self._drop_secret(login)
        self._enter(login, Stage.RUNNING, now)
        self._under_way -= 1
        self._answer(login, Begun(login.tag))

    def _give_up(self, login: _Login) -> None:
        if login.stage is Stage.RUNNING:
            self._sessions.end(login.pid)
        else:
            self._helper.ask(GiveUp(login.serial).pack())
        self._forget(login)

    def forget(self, door: Door) -> None:
        """Drop the logins of a caller that is gone; sessions that run go on."""
        for login in [each for each in self._by_serial.values() if each.door is door]:
            if login.stage is Stage.RUNNING:
                self._forget(login)
            else:
                self._give_up(login)

    # --- answers ----------------------------------------------------------------------------------

    def _enter(self, login: _Login, stage: Stage, now: float) -> None:
        login.stage = stage
        login.since = now

    def _answer(self, login: _Login, answer: Answer) -> None:
        if login.door.is_open:
            login.door.send(answer.pack())

    def _refuse(self, login: _Login, reason: Refusal) -> None:
        """Refuse at once, or when the time has come if the client has failed to prove itself."""
        if login.serial not in self._by_serial:
            # A child that was lost in between has refused all that it was asked.
            return
        if reason is not Refusal.AUTH:
            self._answer(login, Refused(login.tag, reason))
            self._forget(login)
            return
        now = self._clock()
        self._enter(login, Stage.REFUSED, now)
        steps = max(1, math.ceil((now - login.heard_at) / REFUSAL_EVERY_S))
        heapq.heappush(self._refusals, (login.heard_at + steps * REFUSAL_EVERY_S, login.serial))

    def pass_refusals(self, now: float) -> None:
        """Tell the refusals whose time has come (monotonic)."""
        while self._refusals and self._refusals[0][0] <= now:
            login = self._by_serial.get(heapq.heappop(self._refusals)[1])
            if login is not None and login.stage is Stage.REFUSED:
                self._answer(login, Refused(login.tag, Refusal.AUTH))
                self._forget(login)

    def wait_s(self, now: float) -> float:
        """Return how long nothing is due, in seconds."""
        if self._refusals:
            return max(0.0, self._refusals[0][0] - now)
        return TICK_S if self._under_way else math.inf

    def _accept(self, login: _Login, whose: Mailbox | Claim, name: bytes) -> None:
        if login.begin.service == SERVICE:
            if not self._sessions.reserve(name):
                self._refuse(login, Refusal.LIMIT)
                return
            login.is_counted = True
        login.login = name
        login.whose = whose
        proof = Proof.CLAIMED if isinstance(whose, Claim) else Proof.PROVED
        self._enter(login, Stage.ACCEPTED, self._clock())
        self._answer(login, Accepted(login.tag, name, proof))

    def _forget(self, login: _Login) -> None:
        if self._by_serial.pop(login.serial, None) is None:
            return
        self._by_tag.pop((login.door, login.tag), None)
        self._at_system.discard(login.serial)
        self._drop_secret(login)
        if login.stage is not Stage.RUNNING:
            self._under_way -= 1
        if login.is_counted:
            self._sessions.release(login.login)

    def _drop_secret(self, login: _Login) -> None:
        if isinstance(login.whose, Claim):
            wipe(login.whose.secret)
        login.whose = None

    def _on_session_end(self, login: _Login, code: int) -> None:
        if login.serial in self._by_serial:
            self._answer(login, Ended(login.tag, code))
            self._forget(login)

    # --- findings of the children -----------------------------------------------------------------

    def _on_helper(self, payload: bytes) -> None:
        finding = unpack_finding(payload)
        if isinstance(finding, Trouble):
            self._troubles.say(finding.text)
            return
        login = self._asked(finding, is_system=False)
        if login is None:
            return
        if isinstance(finding, Challenge):
            self._enter(login, Stage.CHALLENGED, self._clock())
            self._answer(login, Challenge(login.tag, finding.data))
        elif isinstance(finding, Password):
            self._pass_on(login, finding, payload)
        else:
            self._settle(login, finding)

    def _on_system(self, payload: bytes) -> None:
        finding = unpack_finding(payload)
        if not isinstance(finding, Found | Refused):
            raise FrameError("not an answer about a password")
        login = self._asked(finding, is_system=True)
        if login is not None:
            self._settle(login, finding)

    def _asked(
        self, finding: Challenge | Refused | Found | Password, *, is_system: bool
    ) -> _Login | None:
        """Return the login that a finding is about; None: it is over by now."""
        login = self._by_serial.get(finding.tag)
        if login is None:
            return None
        if login.stage is not Stage.ASKED or (login.serial in self._at_system) != is_system:
            raise FrameError("an answer that nobody asked for")
        self._at_system.discard(login.serial)
        return login

    def _settle(self, login: _Login, finding: Found | Refused) -> None:
        if isinstance(finding, Refused):
            self._refuse(login, finding.reason)
        elif finding.mailbox.uid in self._barred:
            self._troubles.say(b"uid %d can't have a mailbox" % finding.mailbox.uid)
            self._refuse(login, Refusal.TEMPORARY)
        else:
            self._accept(login, finding.mailbox, finding.mailbox.login)

    def _pass_on(self, login: _Login, finding: Password, payload: bytes) -> None:
        """Have a name that the helper does not know checked by somebody else."""
        if self._sessions.places.words:
            begin = login.begin
            claim = Claim(
                name=finding.name,
                secret=finding.password,
                challenge=begin.challenge,
                client=begin.client,
            )
            if claim.is_short and b"\0" not in claim.challenge:
                self._accept(login, claim, finding.name)
            else:
                self._refuse(login, Refusal.AUTH)
            wipe(payload)
            return
        self._at_system.add(login.serial)
        if not self._system.ask(Password(login.serial, finding.name, finding.password).pack()):
            self._refuse(login, Refusal.TEMPORARY)
        wipe(finding.password, payload)

    def _on_helper_lost(self) -> None:
        self._lose(lambda login: login.serial not in self._at_system)

    def _on_system_lost(self) -> None:
        self._lose(lambda login: login.serial in self._at_system)

    def _lose(self, is_lost: Callable[[_Login], bool]) -> None:
        for login in list(self._by_serial.values()):
            if login.stage is Stage.ASKED and is_lost(login):
                self._refuse(login, Refusal.TEMPORARY)

    # --- time and processes -----------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """End what has waited too long (monotonic)."""
        late = [
            login
            for login in self._by_serial.values()
            if now > login.since + STAGE_S_MAX.get(login.stage, math.inf)
        ]
        for login in late:
            if login.serial not in self._by_serial:
                continue
            if login.stage is Stage.ASKED:
                # This loses all that it was asked; the next one answers again.
                is_system = login.serial in self._at_system
                (self._system if is_system else self._helper).restart()
            else:
                self._helper.ask(GiveUp(login.serial).pack())
                self._refuse(login, Refusal.TEMPORARY)

    def restart_helper(self) -> None:
        """Have a new helper that knows the new settings."""
        self._helper.replace()

    def reaped(self, pid: int) -> str:
        """Note that a child has ended. Returns: which of the two it was, "" for neither."""
        if self._helper.reaped(pid):
            return "helper for passwords"
        return "helper for the system's passwords" if self._system.reaped(pid) else ""

    def close(self) -> None:
        """Let the children end."""
        self._helper.close()
        self._system.close()
