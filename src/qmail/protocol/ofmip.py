"""A submission server for simple clients: bytes in, events out; the caller does the I/O.

    session.feed(data)
    while (event := session.next_event()) is not None:
        session.answer(reply)               to MailFrom, RcptTo, DataBegins and MessageEnds
    send(session.bytes_to_send())           once, before waiting again

It is SMTP as such clients speak it: addresses without brackets, lines that end in LF alone,
commands in any order that makes sense. Body and Mistake are told and not answered.
Source: spec/companion.md 7, spec/smtp.md A.4.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar, Final, NamedTuple

from qmail.protocol.conversation import LineReader, LineTooLongError
from qmail.protocol.lines import COMMAND_BYTES_MAX
from qmail.protocol.loose_data import LooseDataReader
from qmail.protocol.reply import Reply
from qmail.protocol.smtp_server import (
    BAD_COMMANDS_MAX,
    OUT_BYTES_MAX,
    RECIPIENT_BYTES_MAX,
    RECIPIENTS_MAX,
)

NAME: Final = b"ofmipd.local"
ADDRESS_BYTES_MAX: Final = 899
"""Longest address, rewritten."""

GREETING: Final = Reply(220, b"", NAME + b" ESMTP")
HELO_OK: Final = Reply(250, b"", NAME)
EHLO_OK: Final = Reply(250, b"", NAME + b"\nPIPELINING\n8BITMIME")
QUIT_OK: Final = Reply(221, b"", NAME)
OK: Final = Reply(250, b"", b"ok")
FLUSHED: Final = Reply(250, b"", b"flushed")
GO_AHEAD: Final = Reply(354, b"", b"go ahead")
HELP_TEXT: Final = Reply(214, b"", b"qmail: this takes outgoing mail, and completes it")
VRFY_UNSURE: Final = Reply(252, b"", b"send some mail, and it will be tried")
UNIMPLEMENTED: Final = Reply(502, b"", b"unimplemented (#5.5.1)")
SYNTAX: Final = Reply(555, b"", b"syntax error (#5.5.4)")
MAIL_FIRST: Final = Reply(503, b"", b"MAIL first (#5.5.1)")
RCPT_FIRST: Final = Reply(503, b"", b"RCPT first (#5.5.1)")
LINE_TOO_LONG: Final = Reply(500, b"", b"line too long (#5.5.2)")
TOO_MANY_RECIPIENTS: Final = Reply(452, b"", b"too many recipients (#4.5.3)")
TOO_MANY_ERRORS: Final = Reply(421, b"", NAME + b" too many errors (#4.7.0)")
BARE_CR: Final = Reply(554, b"", b"a CR inside a line (#5.6.0)")
TOO_BIG: Final = Reply(552, b"", b"message too big (#5.3.4)")
HEADER_TOO_BIG: Final = Reply(554, b"", b"header too big (#5.3.4)")
NO_CONFIGURATION: Final = Reply(451, b"", b"unable to read configuration (#4.3.0)")
NO_CDB: Final = Reply(451, b"", b"unable to read cdb (#4.3.0)")
TIMED_OUT: Final = Reply(421, b"", NAME + b" timeout (#4.4.2)")
UNFORESEEN: Final = Reply(421, b"", NAME + b" internal trouble (#4.3.0)")
AS_ROOT: Final = Reply(421, b"", NAME + b" does not run as root (#4.3.0)")


class MailFrom(NamedTuple):
    """MAIL, the address as it was given. Answered; 250 starts a transaction."""

    address: bytes


class RcptTo(NamedTuple):
    """RCPT. Answered; 250 adds the recipient that the answer names."""

    address: bytes


class DataBegins(NamedTuple):
    """DATA with a recipient at least. Answered by 354, or by a refusal."""


class Body(NamedTuple):
    """A part of the message in stored form. Not answered."""

    data: bytes


class MessageEnds(NamedTuple):
    """The last part of the message. Answered; the session itself has the answer to bad data."""

    data: bytes
    refusal: Reply | None


Event = MailFrom | RcptTo | DataBegins | Body | MessageEnds


class Session:
    """One conversation."""

    __slots__ = ("_bad_commands", "_data", "_has_mail", "_lines", "_out", "_recipient_bytes",
                 "_waiting", "has_quit", "is_closed", "recipients")  # fmt: skip

    def __init__(self) -> None:
        self._lines = LineReader()
        self._out = GREETING.wire
        self._data: LooseDataReader | None = None
        self._waiting: Event | None = None
        self._has_mail = False
        self._bad_commands = 0
        self._recipient_bytes = 0
        self.recipients: list[bytes] = []
        """Those of the transaction, as they were answered."""
        self.has_quit = False
        self.is_closed = False

    @property
    def is_in_data(self) -> bool:
        """True between 354 and the final dot."""
        return self._data is not None

    def feed(self, data: bytes) -> None:
        """Take what the client sent."""
        self._lines.feed(data)

    def bytes_to_send(self) -> bytes:
        """Return what is to be sent to the client, once."""
        out, self._out = self._out, b""
        return out

    def close(self, reply: Reply) -> None:
        """End the session from this side: say why, and read nothing more."""
        self._out += reply.wire
        self.is_closed = True

    def next_event(self) -> Event | None:
        """Return what happened next; None: needs bytes, an answer, or its output to be taken."""
        if self._waiting is not None:
            return None
        if self._data is not None:
            return self._take_data(self._data)
        while not self.is_closed and len(self._out) <= OUT_BYTES_MAX:
            try:
                line = self._lines.take(COMMAND_BYTES_MAX)
            except LineTooLongError:
                self._refuse(LINE_TOO_LONG)
                continue
            if line is None:
                return None
            self._waiting = self._command(line)
            if self._waiting is not None:
                return self._waiting
        return None

    def answer(self, reply: Reply, recipient: bytes = b"") -> None:
        """Answer the event that waits; `recipient` goes with an accepted RCPT."""
        event, self._waiting = self._waiting, None
        assert event is not None
        self._out += reply.wire
        if reply.code == GO_AHEAD.code:
            self._data = LooseDataReader()
        if reply.code == OK.code and isinstance(event, MailFrom):
            self._has_mail = True
            self._forget_recipients()
        elif reply.code == OK.code and isinstance(event, RcptTo):
            self.recipients.append(recipient)
            self._recipient_bytes += len(recipient)
        elif isinstance(event, DataBegins | MessageEnds):
            # One transaction is one message, sent or not.
            self._has_mail = False

    def _take_data(self, data: LooseDataReader) -> Event | None:
        chunk = self._lines.take_all()
        if not chunk:
            return None
        stored = data.feed(chunk)
        if not data.is_ended:
            return Body(stored)
        self._data = None
        self._lines.feed(data.rest)
        self._waiting = MessageEnds(stored, BARE_CR if data.has_bare_cr else None)
        return self._waiting

    # --- commands -------------------------------------------------------------------------------

    def _command(self, line: bytes) -> Event | None:
        verb, _, argument = line.partition(b" ")
        handler = self.HANDLERS.get(verb.upper())
        if handler is None:
            self._refuse(UNIMPLEMENTED)
            return None
        return handler(self, argument)

    def _refuse(self, reply: Reply) -> None:
        self._out += reply.wire
        self._bad_commands += 1
        if self._bad_commands >= BAD_COMMANDS_MAX:
            self.close(TOO_MANY_ERRORS)

    def _forget_recipients(self) -> None:
        self.recipients = []
        self._recipient_bytes = 0

    def _on_helo(self, _argument: bytes) -> None:
        self._has_mail = False
        self._out += HELO_OK.wire

    def _on_ehlo(self, _argument: bytes) -> None:
        self._has_mail = False
        self._out += EHLO_OK.wire

    def _on_rset(self, _argument: bytes) -> None:
        self._has_mail = False
        self._out += FLUSHED.wire

    def _on_noop(self, _argument: bytes) -> None:
        self._out += OK.wire

    def _on_help(self, _argument: bytes) -> None:
        self._out += HELP_TEXT.wire

    def _on_vrfy(self, _argument: bytes) -> None:
        self._out += VRFY_UNSURE.wire

    def _on_quit(self, _argument: bytes) -> None:
        self.has_quit = True
        self.close(QUIT_OK)

    def _on_mail(self, argument: bytes) -> Event | None:
        address = loose_path(argument)
        if address is None:
            self._refuse(SYNTAX)
            return None
        return MailFrom(address)

    def _on_rcpt(self, argument: bytes) -> Event | None:
        if not self._has_mail:
            self._refuse(MAIL_FIRST)
            return None
        address = loose_path(argument)
        if not address:
            # The original takes mail for nobody here, and throws it away (spec/oddities.md 2).
            self._refuse(SYNTAX)
            return None
        if len(self.recipients) >= RECIPIENTS_MAX or self._recipient_bytes > RECIPIENT_BYTES_MAX:
            self._refuse(TOO_MANY_RECIPIENTS)
            return None
        return RcptTo(address)

    def _on_data(self, _argument: bytes) -> Event | None:
        if not self._has_mail:
            self._refuse(MAIL_FIRST)
        elif not self.recipients:
            self._refuse(RCPT_FIRST)
        else:
            return DataBegins()
        return None

    HANDLERS: ClassVar[Mapping[bytes, Callable[["Session", bytes], Event | None]]] = {
        b"HELO": _on_helo,
        b"EHLO": _on_ehlo,
        b"MAIL": _on_mail,
        b"RCPT": _on_rcpt,
        b"DATA": _on_data,
        b"RSET": _on_rset,
        b"NOOP": _on_noop,
        b"VRFY": _on_vrfy,
        b"HELP": _on_help,
        b"QUIT": _on_quit,
    }


def loose_path(argument: bytes) -> bytes | None:
    """Find the address in what follows MAIL or RCPT, without quotes; None: there is none.

    It stands between < and >, or else after the colon and before a blank; what follows is not
    looked at. A source route is left out (RFC 5321 4.1.1.3).
    """
    _, bracket, text = argument.partition(b"<")
    end = b">"
    if not bracket:
        _, colon, text = argument.partition(b":")
        if not colon:
            return None
        text, end = text.lstrip(b" "), b" "
    if text.startswith(b"@"):
        text = text.partition(b":")[2]
    address = _unquoted(text, end)
    return None if any(byte < 32 or byte == 127 for byte in address) else address


def _unquoted(text: bytes, end: bytes) -> bytes:
    found: list[bytes] = []
    is_quoted = False
    at = 0
    while at < len(text):
        byte = text[at : at + 1]
        at += 1
        if byte == b"\\":
            found.append(text[at : at + 1])
            at += 1
        elif byte == b'"':
            is_quoted = not is_quoted
        elif byte == end and not is_quoted:
            break
        else:
            found.append(byte)
    return b"".join(found)
