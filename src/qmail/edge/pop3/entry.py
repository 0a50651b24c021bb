"""The first part of a POP3 connection: commands up to the login, and what qmail-pspawn says to it.

Bytes are carried by the connection (`EntryOwner`); the commands are understood by LoginSession.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from qmail.edge.pop3.log import Pop3Log
from qmail.protocol import pop3_replies as replies
from qmail.protocol.login_door import Begin, Mechanism, Proof, Refusal
from qmail.protocol.login_name import login_name
from qmail.protocol.netstring import FrameError
from qmail.protocol.pop3 import Offer
from qmail.protocol.pop3_login import (
    AuthCancelled,
    AuthContinue,
    Login,
    LoginSession,
    Mistake,
    StartTls,
)
from qmail.protocol.pop3_replies import Reply

if TYPE_CHECKING:
    from qmail.edge.pop3.server import Pop3Server

SERVICE: Final = b"pop3"
LOGIN_S_MAX: Final = 600.0
"""A client may take so long to log in (RFC 1939 3: no less, where it says nothing)."""
ANSWER_S_MAX: Final = 60.0
"""Longest wait for qmail-pspawn."""
FAILURES_MAX: Final = 5
"""The failed login of this number ends its connection."""
PENDING_BYTES_MAX: Final = 32768
"""So much of a client's input waits here behind an unanswered command; then reading stops."""
REFUSALS: Final[Mapping[Refusal, Reply]] = {
    Refusal.AUTH: replies.LOGIN_REFUSED,
    Refusal.TEMPORARY: replies.LOGIN_TROUBLE,
    Refusal.IN_USE: replies.LOGIN_LIMIT,
    Refusal.LIMIT: replies.LOGIN_LIMIT,
}
assert REFUSALS.keys() == set(Refusal)


class EntryOwner(Protocol):
    """The client's connection."""

    ip: str
    is_blocked: bool
    """True while the client does not read what it is told."""

    def send(self, data: bytes) -> None:
        """Send to the client. Raises: TlsError: the connection is broken."""
        ...

    def start_tls(self) -> Offer | None:
        """Speak TLS from now on. Returns: what can be used then; None: there is no TLS any more."""
        ...

    def let_in(self, entry: "Entry", proof: Proof) -> None:
        """Have the session started: `entry` has the tag, and what was sent behind the login."""
        ...

    def pump(self) -> None:
        """Go on with `Entry.pump`, and with what its end means."""
        ...


class Entry:
    """One client's way in."""

    __slots__ = ("_challenge", "_failures", "_log", "_name", "_owner", "_server", "asked_at",
                 "rest", "session", "tag")  # fmt: skip

    def __init__(self, owner: EntryOwner, server: "Pop3Server", log: Pop3Log, offer: Offer) -> None:
        self._owner = owner
        self._server = server
        self._log = log
        self._name = b""
        self._failures = 0
        self._challenge = server.new_challenge() if offer.has_apop else b""
        self.session = LoginSession(self._challenge or server.settings.host, offer)
        self.tag = 0
        """What the door calls the login that is under way; 0: none is."""
        self.asked_at: float | None = None
        """Since when qmail-pspawn is being waited for."""
        self.rest = b""
        """What the client has sent behind its login."""

    # --- commands -------------------------------------------------------------------------------

    def pump(self) -> None:
        """Carry events to their handlers, and replies to the client. Raises: TlsError."""
        session = self.session
        while not self._owner.is_blocked:
            event = session.next_event()
            if event is not None:
                self.HANDLERS[type(event)](self, event)
            out = session.bytes_to_send()
            self._owner.send(out)
            if isinstance(event, StartTls):
                # Only now: the reply had to go out in clear.
                self._start_tls()
            if event is None and not out:
                return

    def _on_mistake(self, event: Mistake | AuthCancelled) -> None:
        if isinstance(event, AuthCancelled):
            self.give_up()
        if self.session.is_closed:
            self._log.refused(event.reply)

    def _on_start_tls(self, _event: StartTls) -> None:
        """Leave it to `pump`, which sends the reply first."""

    def _start_tls(self) -> None:
        offer = self._owner.start_tls()
        if offer is None:
            self.session.feed(b"")
        else:
            self.session.tls_started(offer)

    def _on_login(self, event: Login) -> None:
        server = self._server
        self._name = self._log.name = login_name(event.mechanism, event.identity)
        self._log.mechanism = event.mechanism
        hold_s = server.guesses.hold(self._owner.ip, self._name)
        if hold_s is None:
            self._log.denied(replies.TOO_MANY_LOGINS)
            self.session.close(replies.TOO_MANY_LOGINS)
            return
        self.asked_at = server.now() + hold_s
        if hold_s:
            server.call_later(hold_s, self._ask_held, event)
        else:
            self._ask(event)

    def _ask_held(self, event: Login) -> None:
        if self.session.is_waiting and not self.tag:
            self._ask(event)
            self._owner.pump()

    def _ask(self, event: Login) -> None:
        tag = self._server.line.new_tag()
        try:
            call = Begin(
                tag=tag,
                service=SERVICE,
                mechanism=Mechanism(event.mechanism),
                login=event.identity,
                secret=event.secret,
                challenge=self._challenge,
                client=self._owner.ip.encode(),
            )
        except FrameError:
            # Longer than any name or password can be.
            self._refuse(Refusal.AUTH)
            return
        self.tag = tag
        self._server.line.begin(call, self)

    def _on_response(self, event: AuthContinue) -> None:
        self.asked_at = self._server.now()
        try:
            self._server.line.respond(self.tag, event.response)
        except FrameError:
            self.give_up()
            self._refuse(Refusal.AUTH)

    HANDLERS: ClassVar[Mapping[type, Callable[["Entry", Any], None]]] = {
        Login: _on_login,
        AuthContinue: _on_response,
        AuthCancelled: _on_mistake,
        StartTls: _on_start_tls,
        Mistake: _on_mistake,
    }

    # --- what the line calls --------------------------------------------------------------------

    def on_challenge(self, data: bytes) -> None:
        """Pass a challenge on to the client."""
        if self.session.is_waiting:
            self.asked_at = None
            self.session.challenge(data)
            self._owner.pump()

    def on_accepted(self, login: bytes, proof: Proof) -> None:
        """Have the session started."""
        if not self.session.is_waiting:
            self.give_up()
            return
        self._log.name = login
        if proof is Proof.PROVED:
            self._server.guesses.succeeded(self._owner.ip, self._name)
        self.rest = self.session.accept()
        self._owner.let_in(self, proof)

    def on_refused(self, reason: Refusal) -> None:
        """Refuse the login."""
        self.tag = 0
        if self.session.is_waiting:
            self._refuse(reason)
            self._owner.pump()

    def on_begun(self) -> None:
        """Nothing has begun before somebody is let in."""

    def on_ended(self, code: int | None) -> None:
        """Nothing has ended either."""

    def _refuse(self, reason: Refusal) -> None:
        reply = REFUSALS[reason]
        self.asked_at = None
        if reason is Refusal.AUTH:
            self.count_failure()
            self._failures += 1
        self._log.denied(reply)
        if self._failures >= FAILURES_MAX:
            self.session.close(replies.TOO_MANY_LOGINS)
        else:
            self.session.answer(reply)

    def count_failure(self) -> None:
        """Let the next try with this name, or from this address, wait longer."""
        self._server.guesses.failed(self._owner.ip, self._name)

    def count_success(self) -> None:
        """Let this name in from this address without a wait, whatever others do with it."""
        self._server.guesses.succeeded(self._owner.ip, self._name)

    # --- what the connection calls --------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """True while nothing more should be read from the client."""
        return self.session.bytes_pending > PENDING_BYTES_MAX

    def give_up(self) -> None:
        """Forget the login that is under way."""
        tag, self.tag = self.tag, 0
        if tag:
            self._server.line.give_up(tag)

    def deadline(self, since: float) -> float:
        """Return when this has taken too long, of a client that came at the time `since`."""
        if self.asked_at is not None:
            return self.asked_at + ANSWER_S_MAX
        return since + LOGIN_S_MAX

    def time_is_up(self) -> None:
        """Refuse the login that waits for too long; without one, end."""
        if self.session.is_waiting:
            self.give_up()
            self._refuse(Refusal.TEMPORARY)
        else:
            self._log.refused(replies.TIMED_OUT)
            self.session.close(replies.TIMED_OUT)
