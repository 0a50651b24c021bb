"""The server's side of an SMTP conversation: bytes in, events out; the caller does the I/O.

    session.feed(data)                      what the client sent
    while (event := session.next_event()) is not None:
        session.answer(reply)               to MailFrom, RcptTo, DataBegins and MessageEnds
    send(session.bytes_to_send())           once, before waiting again

Body, Dropped and Mistake are told and not answered. Commands that come behind one that waits for
its answer, or behind the data of a message, stay where they are until then (RFC 2920 3.2).
Source: RFC 5321; spec/smtp.md part A; spec/oddities.md 1, 2, 5.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar, Final, NamedTuple

from qmail.mail import Envelope
from qmail.protocol import reply as replies
from qmail.protocol.conversation import Conversation, LineTooLongError
from qmail.protocol.lines import COMMAND_BYTES_MAX, BareLineEndError, DataReader
from qmail.protocol.path import parse_mail, parse_rcpt
from qmail.protocol.reply import Reply
from qmail.protocol.trace import HOPS_MAX, HopCounter

RECIPIENTS_MAX: Final = 65536
RECIPIENT_BYTES_MAX: Final = 4 * 1024 * 1024
BAD_COMMANDS_MAX: Final = 100
OUT_BYTES_MAX: Final = 65536
"""With more than this to be sent the session takes no further command."""
HELO_BYTES_MAX: Final = 255


START: Final = "start"
READY: Final = "ready"
IN_MAIL: Final = "mail"
IN_RCPT: Final = "rcpt"
IN_DATA: Final = "data"
CLOSED: Final = "closed"
"""Where a conversation is: words and not an Enum, whose members Python hashes slowly."""

HELO: Final = b"HELO"
EHLO: Final = b"EHLO"
MAIL: Final = b"MAIL"
RCPT: Final = b"RCPT"
DATA: Final = b"DATA"
RSET: Final = b"RSET"
NOOP: Final = b"NOOP"
VRFY: Final = b"VRFY"
HELP: Final = b"HELP"
QUIT: Final = b"QUIT"


def _row(state: str, moves: dict[bytes, str]) -> Mapping[bytes, str]:
    """Add what may come at any time to what is special to `state`."""
    anytime = {NOOP: state, VRFY: state, HELP: state, QUIT: CLOSED}
    return {HELO: READY, EHLO: READY, RSET: READY} | anytime | moves


NEXT: Final[Mapping[str, Mapping[bytes, str]]] = {
    # The original takes MAIL before HELO, and a second MAIL discards the first: kept, because
    # senders depend on both (spec/oddities.md 5).
    START: _row(START, {MAIL: IN_MAIL, RSET: START}),
    READY: _row(READY, {MAIL: IN_MAIL}),
    IN_MAIL: _row(IN_MAIL, {MAIL: IN_MAIL, RCPT: IN_RCPT}),
    IN_RCPT: _row(IN_RCPT, {MAIL: IN_MAIL, RCPT: IN_RCPT, DATA: IN_DATA}),
    IN_DATA: {},
    CLOSED: {},
}
"""Which command may come in which state, and the state after it has been accepted.

A refused DATA leads to READY, any other refused command leaves the state as it was.
"""


class SessionSettings:
    """What all sessions of a server share: the replies that are the same for each, made once."""

    __slots__ = ("databytes", "ehlo", "greeting", "helo", "quit")

    def __init__(self, greeting: bytes, databytes: int = 0) -> None:
        self.databytes = databytes
        """Largest message in stored form, in bytes; 0 is no limit."""
        self.greeting = replies.greeting_reply(greeting)
        self.helo = replies.helo_reply(greeting)
        self.ehlo = replies.ehlo_reply(greeting, databytes)
        self.quit = replies.quit_reply(greeting)


class MailFrom(NamedTuple):
    """MAIL. Answered; 250 starts a transaction with the sender that the answer names."""

    sender: bytes


class RcptTo(NamedTuple):
    """RCPT. Answered; 250 adds the recipient that the answer names."""

    recipient: bytes


class DataBegins(NamedTuple):
    """DATA with a recipient at least. Answered: 354, or a refusal that ends the transaction."""


class Body(NamedTuple):
    """A part of the message in stored form. Not answered."""

    data: bytes


class MessageEnds(NamedTuple):
    """The last part of the message. Answered by the final reply."""

    data: bytes


class Dropped(NamedTuple):
    """The message won't be taken: forget its parts. Not answered, the session replies itself."""

    reply: Reply
    sender: bytes


class Mistake(NamedTuple):
    """A command that the session refused by itself. Not answered; for the log."""

    reply: Reply


Event = MailFrom | RcptTo | DataBegins | Body | MessageEnds | Dropped | Mistake

_DATA_BEGINS: Final = DataBegins()


class Session(Conversation):
    """One conversation."""

    __slots__ = ("_bad_commands", "_data", "_has_refused", "_hops", "_out", "_recipient_bytes",
                 "_recipients", "_refusal", "_sender", "_settings", "_size", "_state", "_target",
                 "has_quit", "helo", "is_esmtp")  # fmt: skip

    def __init__(self, settings: SessionSettings) -> None:
        super().__init__()
        self._settings = settings
        self._state: str = START
        self._target: str = START
        self._out = settings.greeting.wire
        self._waiting: Event | None = None
        self._bad_commands = 0
        self._sender = b""
        self._recipients: list[bytes] = []
        self._recipient_bytes = 0
        self._has_refused = False
        self._data: DataReader | None = None
        self._hops: HopCounter | None = None
        self._size = 0
        self._refusal: Reply | None = None
        self.helo = b""
        self.is_esmtp = False
        self.has_quit = False

    @property
    def sender(self) -> bytes:
        """The sender of the transaction; b"" where there is none, too."""
        return self._sender

    def envelope(self) -> Envelope:
        """Return who sent the message and who gets it."""
        return Envelope(self._sender, tuple(self._recipients))

    @property
    def is_in_data(self) -> bool:
        """True between 354 and the final dot."""
        return self._data is not None

    def bytes_to_send(self) -> bytes:
        """Return what is to be sent to the client, once."""
        out, self._out = self._out, b""
        return out

    def next_event(self) -> Event | None:
        """Return what happened next; None: needs bytes, an answer, or its output to be taken."""
        if self._waiting is not None:
            return None
        if self._data is not None:
            chunk = self._lines.take_all()
            event = self._take_data(self._data, chunk) if chunk else None
            if event is not None or self._data is not None:
                return event
        take = self._lines.take
        while not self.is_closed and len(self._out) <= OUT_BYTES_MAX:
            try:
                line = take(COMMAND_BYTES_MAX)
            except LineTooLongError:
                return self._mistake(replies.LINE_TOO_LONG)
            if line is None:
                return None
            event = self._command(line)
            if event is not None:
                return event
        return None

    def answer(self, reply: Reply, address: bytes | None = None) -> None:
        """Answer the event that waits; `address` goes with an accepted MAIL or RCPT."""
        event, self._waiting = self._waiting, None
        if event is None:
            raise AssertionError("nothing waits for an answer")
        if self.is_closed:
            return
        self._out += reply.wire
        self.ANSWERS[type(event)](self, reply, address)
        if reply.code == 421:
            self._close()

    def close(self, reply: Reply) -> None:
        """End the session from this side: say why, and read nothing more."""
        if not self.is_closed:
            self._out += reply.wire
            self._close()

    # --- commands -------------------------------------------------------------------------------

    def _command(self, line: bytes) -> Event | None:
        if 0 in line:
            return self._mistake(replies.NUL_IN_COMMAND)
        verb, _, argument = line.partition(b" ")
        verb = verb.upper()
        target = NEXT[self._state].get(verb)
        if target is not None:
            self._target = target
            return self.HANDLERS[verb](self, argument.strip(b" \t"))
        is_known = verb in self.HANDLERS
        return self._mistake(self._out_of_order(verb) if is_known else replies.UNIMPLEMENTED)

    def _out_of_order(self, verb: bytes) -> Reply:
        if self._state != IN_MAIL:
            return replies.MAIL_FIRST
        # A pipelining client sends DATA even where every recipient was refused (RFC 2920 3.1).
        return replies.NO_RECIPIENTS if verb == DATA and self._has_refused else replies.RCPT_FIRST

    def _mistake(self, reply: Reply) -> Event:
        self._bad_commands += 1
        if self._bad_commands >= BAD_COMMANDS_MAX:
            self.close(replies.TOO_MANY_ERRORS)
            return Mistake(replies.TOO_MANY_ERRORS)
        self._out += reply.wire
        return Mistake(reply)

    def _on_helo(self, argument: bytes) -> None:
        self._new_transaction()
        self.helo = argument[:HELO_BYTES_MAX]
        self.is_esmtp = False
        self._out += self._settings.helo.wire

    def _on_ehlo(self, argument: bytes) -> None:
        self._new_transaction()
        self.helo = argument[:HELO_BYTES_MAX]
        self.is_esmtp = True
        self._out += self._settings.ehlo.wire

    def _on_mail(self, argument: bytes) -> Event | None:
        parsed = parse_mail(argument)
        if isinstance(parsed, Reply):
            return self._mistake(parsed)
        if 0 < self._settings.databytes < parsed.size:
            # Refused before it is sent (RFC 1870 6.1).
            self._out += replies.MESSAGE_TOO_BIG.wire
            return Mistake(replies.MESSAGE_TOO_BIG)
        return self._ask(MailFrom(parsed.sender))

    def _on_rcpt(self, argument: bytes) -> Event | None:
        parsed = parse_rcpt(argument)
        if isinstance(parsed, Reply):
            self._has_refused = True
            return self._mistake(parsed)
        total = self._recipient_bytes + len(parsed)
        if len(self._recipients) >= RECIPIENTS_MAX or total > RECIPIENT_BYTES_MAX:
            self._out += replies.TOO_MANY_RECIPIENTS.wire
            return Mistake(replies.TOO_MANY_RECIPIENTS)
        return self._ask(RcptTo(parsed))

    def _on_data(self, _argument: bytes) -> Event:
        return self._ask(_DATA_BEGINS)

    def _on_rset(self, _argument: bytes) -> None:
        self._new_transaction()
        self._out += replies.RESET_OK.wire

    def _on_noop(self, _argument: bytes) -> None:
        self._out += replies.NOOP_OK.wire

    def _on_vrfy(self, _argument: bytes) -> None:
        self._out += replies.VRFY_UNSURE.wire

    def _on_help(self, _argument: bytes) -> None:
        self._out += replies.HELP_TEXT.wire

    def _on_quit(self, _argument: bytes) -> None:
        self.has_quit = True
        self.close(self._settings.quit)

    # --- answers --------------------------------------------------------------------------------

    def _mail_answered(self, reply: Reply, address: bytes | None) -> None:
        if reply.code == 250:
            self._new_transaction()
            self._sender = address or b""

    def _rcpt_answered(self, reply: Reply, address: bytes | None) -> None:
        if reply.code != 250 or address is None:
            self._has_refused = True
            return
        self._recipients.append(address)
        self._recipient_bytes += len(address)
        self._state = self._target

    def _data_answered(self, reply: Reply, _address: bytes | None) -> None:
        if reply.code != 354:
            self._end_transaction()
            return
        self._state = self._target
        self._data = DataReader()
        self._hops = HopCounter()

    def _message_answered(self, _reply: Reply, _address: bytes | None) -> None:
        self._end_transaction()

    # --- the data of a message ------------------------------------------------------------------

    def _take_data(self, data: DataReader, chunk: bytes) -> Event | None:
        try:
            part = data.feed(chunk)
        except BareLineEndError:
            # Nothing behind it is believed to be a command: the connection ends here.
            dropped = Dropped(replies.BARE_LINE_END, self._sender)
            self.close(replies.BARE_LINE_END)
            return dropped
        was_refused = self._refusal is not None
        if not was_refused:
            self._check(part)
        if data.is_ended:
            return self._end_data(data, part)
        if self._refusal is None:
            return Body(part) if part else None
        return None if was_refused else Dropped(self._refusal, self._sender)

    def _check(self, part: bytes) -> None:
        assert self._hops is not None
        self._size += len(part)
        self._hops.feed(part)
        if self._hops.count >= HOPS_MAX:
            self._refusal = replies.TOO_MANY_HOPS
        elif 0 < self._settings.databytes < self._size:
            self._refusal = replies.MESSAGE_TOO_BIG

    def _end_data(self, data: DataReader, part: bytes) -> Event:
        self._data = None
        self._lines.feed(data.rest)
        refusal = self._refusal
        if refusal is None:
            return self._ask(MessageEnds(part))
        dropped = Dropped(refusal, self._sender)
        self._out += refusal.wire
        self._end_transaction()
        return dropped

    # --- states ---------------------------------------------------------------------------------

    def _new_transaction(self) -> None:
        """Forget the transaction, if any; the state is what the table says."""
        self._state = self._target
        self._sender = b""
        self._recipients = []
        self._recipient_bytes = 0
        self._has_refused = False
        self._data = self._hops = self._refusal = None
        self._size = 0

    def _end_transaction(self) -> None:
        self._target = READY
        self._new_transaction()

    def _close(self) -> None:
        self._target = CLOSED
        self._new_transaction()
        super()._close()

    HANDLERS: ClassVar[Mapping[bytes, Callable[["Session", bytes], Event | None]]] = {
        HELO: _on_helo,
        EHLO: _on_ehlo,
        MAIL: _on_mail,
        RCPT: _on_rcpt,
        DATA: _on_data,
        RSET: _on_rset,
        NOOP: _on_noop,
        VRFY: _on_vrfy,
        HELP: _on_help,
        QUIT: _on_quit,
    }
    ANSWERS: ClassVar[Mapping[type, Callable[["Session", Reply, bytes | None], None]]] = {
        MailFrom: _mail_answered,
        RcptTo: _rcpt_answered,
        DataBegins: _data_answered,
        MessageEnds: _message_answered,
    }
    """What an answer does; the other events have none."""


assert {verb for row in NEXT.values() for verb in row} == Session.HANDLERS.keys()
