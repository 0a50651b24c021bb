"""AUTHORIZATION: a POP3 conversation up to the login. Bytes in, events out; the caller does I/O.

    session.feed(data)                      what the client sent; b"" is the end of its input
    while (event := session.next_event()) is not None:
        Login, AuthContinue                 answered: answer(reply), challenge(data) or accept()
        StartTls                            answered: handshake, then tls_started(offer)
        AuthCancelled, Mistake              told, not answered
    send(session.bytes_to_send())           before anything else is done with the connection

`accept` ends the session and hands back what the client has sent behind its login: that belongs to
the mailbox. The first `+OK ` of the mailbox, or its failure, is said by whoever opens it.
Source: RFC 1939 4 and 7; RFC 2449; RFC 2595 4; RFC 5034; spec/smtp.md E.1; spec/oddities.md 9.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64

from qmail.protocol import pop3
from qmail.protocol import pop3_replies as replies
from qmail.protocol.conversation import Conversation, LineTooLongError
from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import ClassVar, Final

    from qmail.protocol.pop3 import Offer
    from qmail.protocol.pop3_replies import Reply

MISTAKES_MAX: Final = 25
OUT_BYTES_MAX: Final = 65536
"""With more than this to be sent the session takes no further command."""
CHALLENGE_BYTES_MAX: Final = 9000
PLAIN: Final = b"PLAIN"


class Login(Record):
    """Somebody wants to log in.

    `mechanism` USER or APOP: `identity` is the name, `secret` the password, or the digest in hex.
    A SASL mechanism: `identity` is its initial response, decoded; `secret` is empty.
    """

    mechanism: bytes
    identity: bytes
    secret: bytes = b""


class AuthContinue(Record):
    """The response to a challenge, decoded."""

    response: bytes


class AuthCancelled(Record):
    """The client has given the exchange up that had a challenge. Not answered."""

    reply: Reply


class StartTls(Record):
    """STLS. What the client sent behind it in the clear is gone (RFC 2595 4)."""


class Mistake(Record):
    """A command that the session refused by itself. Not answered; for the log."""

    reply: Reply


if TYPE_CHECKING:
    Event = Login | AuthContinue | AuthCancelled | StartTls | Mistake


class LoginSession(Conversation):
    """One connection up to its login. `greeting` is the text behind the first `+OK `."""

    __slots__ = ("_is_challenged", "_mechanism", "_mistakes", "_name", "_offer", "_out", "_state",
                 "has_quit")  # fmt: skip

    def __init__(self, greeting: bytes, offer: Offer) -> None:
        super().__init__()
        self._offer = offer
        self._state: str = pop3.START
        self._out = b"+OK %b\r\n" % greeting
        self._waiting: Event | None = None
        self._mistakes = 0
        self._name = b""
        self._mechanism = b""
        self._is_challenged = False
        self.has_quit = False

    @property
    def has_tls(self) -> bool:
        """True on a connection with TLS."""
        return self._offer.has_tls

    def bytes_to_send(self) -> bytes:
        """Return what is to be sent to the client, once."""
        out, self._out = self._out, b""
        return out

    def next_event(self) -> Event | None:
        """Return what happened next; None: needs bytes, an answer, or its output to be taken."""
        while not (self.is_closed or self._waiting or len(self._out) > OUT_BYTES_MAX):
            try:
                line = self._lines.take(pop3.SASL_BYTES_MAX)
            except LineTooLongError:
                return self._too_long()
            if line is None:
                return None
            is_exchange = self._state == pop3.EXCHANGE
            event = self._response(line) if is_exchange else self._command(line)
            if event is not None:
                return event
        return None

    # --- answers --------------------------------------------------------------------------------

    def answer(self, reply: Reply) -> None:
        """Refuse the login or the STLS that waits; the client may try again."""
        self._answered()
        if not self.is_closed:
            self._out += reply.wire
            self._state = pop3.START

    def challenge(self, data: bytes) -> None:
        """Go on with the exchange that waits: `data` is what the mechanism says, not encoded."""
        self._answered()
        if len(data) > CHALLENGE_BYTES_MAX:
            raise AssertionError("challenge too long")
        if not self.is_closed:
            self._is_challenged = True
            self._state = pop3.EXCHANGE
            self._out += b"+ %b\r\n" % b2a_base64(data, newline=False)

    def accept(self) -> bytes:
        """Let the client in. Returns: what it has sent behind its login."""
        self._answered()
        rest = self._lines.take_all()
        self._close()
        return rest

    def tls_started(self, offer: Offer) -> None:
        """Go on with TLS: what was said before is forgotten (RFC 2595 4)."""
        self._answered()
        self._offer = offer
        self._state = pop3.START
        self._name = b""

    def close(self, reply: Reply) -> None:
        """End the session from this side: say why, and read nothing more."""
        if not self.is_closed:
            self._out += reply.wire
            self._close()

    def _answered(self) -> None:
        if self._waiting is None:
            raise AssertionError("nothing waits for an answer")
        self._waiting = None

    def _close(self) -> None:
        self._state = pop3.CLOSED
        self._waiting = None
        super()._close()

    # --- commands -------------------------------------------------------------------------------

    def _command(self, line: bytes) -> Event | None:
        verb, _, argument = line.partition(b" ")
        verb = verb.upper()
        if len(line) > pop3.COMMAND_BYTES_MAX and verb != pop3.AUTH:
            return self._mistake(replies.LINE_TOO_LONG)
        if 0 in line:
            # It would end a name or a password early.
            return self._mistake(replies.SYNTAX)
        target = pop3.LOGIN_NEXT[self._state].get(verb)
        if target is None:
            is_pass = verb == pop3.PASS
            return self._mistake(replies.USER_FIRST if is_pass else replies.AUTHORIZE_FIRST)
        return self.HANDLERS[verb](self, argument, target)

    def _too_long(self) -> Event:
        if self._state == pop3.EXCHANGE:
            return self._end_exchange(replies.LINE_TOO_LONG)
        return self._mistake(replies.LINE_TOO_LONG)

    def _mistake(self, reply: Reply) -> Mistake:
        self._mistakes += 1
        if self._mistakes >= MISTAKES_MAX:
            reply = replies.TOO_MANY_MISTAKES
            self.close(reply)
        else:
            self._out += reply.wire
        return Mistake(reply)

    def _on_user(self, argument: bytes, target: str) -> Event | None:
        if not self._offer.has_user:
            return self._mistake(replies.TLS_FIRST)
        name = argument.strip(b" \t")
        if not name:
            return self._mistake(replies.SYNTAX)
        # Known or not, that is not told before the password (spec/smtp.md E.1).
        self._name = name
        self._state = target
        self._out += replies.OK.wire
        return None

    def _on_pass(self, argument: bytes, target: str) -> Event:
        # Blanks belong to the password (RFC 1939 7).
        self._state = target
        return self._ask(Login(pop3.USER, self._name, argument))

    def _on_apop(self, argument: bytes, target: str) -> Event:
        if not self._offer.has_apop:
            return self._mistake(replies.NO_APOP)
        words = argument.split()
        if len(words) != 2:
            return self._mistake(replies.SYNTAX)
        self._state = target
        return self._ask(Login(pop3.APOP, words[0], words[1].lower()))

    def _on_stls(self, argument: bytes, target: str) -> Event:
        if argument.strip():
            return self._mistake(replies.SYNTAX)
        if self._offer.has_tls:
            return self._mistake(replies.TLS_ALREADY)
        if not self._offer.has_stls:
            return self._mistake(replies.NO_STLS)
        self._lines.take_all()
        self._state = target
        self._out += replies.TLS_GO_AHEAD.wire
        return self._ask(StartTls())

    def _on_capa(self, _argument: bytes, target: str) -> None:
        self._state = target
        self._out += pop3.capabilities(self._offer)

    # UTF8 as well: a message is sent as it is stored, with and without it (pop3_mailbox.py).
    def _on_noop(self, _argument: bytes, target: str) -> None:
        self._state = target
        self._out += replies.OK.wire

    def _on_lang(self, _argument: bytes, _target: str) -> Event:
        return self._mistake(replies.NO_LANGUAGE)

    def _on_quit(self, _argument: bytes, _target: str) -> None:
        self.has_quit = True
        self.close(replies.OK)

    # --- SASL (RFC 5034 4) ----------------------------------------------------------------------

    def _on_auth(self, argument: bytes, target: str) -> Event | None:
        words = argument.split()
        if not words:
            # Not in RFC 5034; old clients ask so which mechanisms there are.
            names = [name + b"\r\n" for name in self._offer.mechanisms]
            self._out += b"+OK \r\n%b.\r\n" % b"".join(names)
            return None
        mechanism = words[0].upper()
        if mechanism not in self._offer.mechanisms:
            is_clear = mechanism == PLAIN and self._offer.has_stls and not self._offer.has_tls
            return self._mistake(replies.TLS_FIRST if is_clear else replies.NO_MECHANISM)
        if len(words) > 2:
            return self._mistake(replies.SYNTAX)
        self._mechanism = mechanism
        self._is_challenged = False
        self._state = target
        if len(words) == 1:
            self._out += b"+ \r\n"
            return None
        return self._response(b"" if words[1] == b"=" else words[1])

    def _response(self, line: bytes) -> Event:
        if line == b"*":
            return self._end_exchange(replies.CANCELLED)
        try:
            response = a2b_base64(line, strict_mode=True)
        except Base64Error:
            return self._end_exchange(replies.BAD_BASE64)
        if self._is_challenged:
            return self._ask(AuthContinue(response))
        return self._ask(Login(self._mechanism, response))

    def _end_exchange(self, reply: Reply) -> Event:
        """End the exchange from the client's side; somebody waits for it after a challenge."""
        self._state = pop3.START
        was_challenged, self._is_challenged = self._is_challenged, False
        mistake = self._mistake(reply)
        return AuthCancelled(mistake.reply) if was_challenged else mistake

    HANDLERS: ClassVar[Mapping[bytes, Callable[[LoginSession, bytes, str], Event | None]]] = {
        pop3.USER: _on_user,
        pop3.PASS: _on_pass,
        pop3.APOP: _on_apop,
        pop3.AUTH: _on_auth,
        pop3.STLS: _on_stls,
        pop3.CAPA: _on_capa,
        pop3.NOOP: _on_noop,
        pop3.UTF8: _on_noop,
        pop3.LANG: _on_lang,
        pop3.QUIT: _on_quit,
    }


assert {verb for row in pop3.LOGIN_NEXT.values() for verb in row} == LoginSession.HANDLERS.keys()
