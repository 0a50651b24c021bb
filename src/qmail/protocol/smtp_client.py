"""SMTP, the client's side: bytes in, events out; the caller does the I/O (RFC 5321, RFC 2920).

One `SmtpClient` is one connection, for many transactions one after the other. The caller feeds what
it reads, writes `bytes_to_send`, and acts on the events: READY (call `begin`), SEND_BODY (write the
message, then call `body_sent`), FINISHED (take `outcome`), CLOSED (hang up). `lost` says that the
connection broke or that time ran out; an outcome comes in every case.

Only 2xx is success, 354 for DATA; anything that is neither success nor a refusal is temporary.
"""

import re
from collections.abc import Callable, Mapping
from enum import IntEnum
from functools import lru_cache
from typing import ClassVar, Final

from qmail.mail import Result, deferred, delivered, failed
from qmail.protocol.path import quote
from qmail.protocol.remote_reports import Ending, Outcome
from qmail.protocol.smtp_replies import Reply, ReplyReader

CLOSING: Final = 421
GO_AHEAD: Final = 354
_MAIL_EXTENSIONS: Final = frozenset((b"SIZE", b"8BITMIME", b"SMTPUTF8"))
"""Those that add a parameter to MAIL."""


class State(IntEnum):
    """What the client waits for."""

    GREETING = 0
    EHLO = 1
    HELO = 2
    READY = 3
    """Nothing: between two transactions."""
    MAIL = 4
    RCPT = 5
    DATA = 6
    BODY = 7
    """The caller, which is writing the message."""
    DOT = 8
    EMPTY_DOT = 9
    """The answer to a message that went to nobody, after a pipelined DATA."""
    RSET = 10
    CLOSED = 11


class Event(IntEnum):
    """What the caller must do."""

    READY = 0
    SEND_BODY = 1
    FINISHED = 2
    CLOSED = 3


def refusal(code: int, text: bytes) -> Result:
    """Say what a reply that is no success means: 5xx for good, all else for now."""
    return failed(text) if code >= 500 else deferred(text)


_SENDABLE: Final = re.compile(rb"(?:[^\0-\x1f\x7f]*@)?[^\0-\x20\x7f<>]*")


def is_sendable(address: bytes) -> bool:
    """Say whether an envelope address can stand in a command without ending or changing it."""
    return _SENDABLE.fullmatch(address) is not None


@lru_cache(maxsize=4096)
def _path(address: bytes) -> bytes:
    # Without @ an address goes out as it is (spec/smtp.md B.2).
    return quote(address) if b"@" in address else address


class SmtpClient:
    """The conversation with one server. `peer` is its address, as it stands in reports."""

    __slots__ = (
        "_events", "_extensions", "_helohost", "_is_pipelining", "_next_rcpt", "_out", "_reader",
        "_recipients", "_reports", "_verdict", "is_broken", "outcome", "peer", "state",
        "transactions", "wants_measures",
    )  # fmt: skip

    def __init__(self, peer: bytes, helohost: bytes) -> None:
        self.peer = peer
        self.state = State.GREETING
        self.transactions = 0
        self.is_broken = False
        """True once the server has said what is no SMTP."""
        self.outcome: Outcome | None = None
        self.wants_measures = False
        """True where size or 8-bit content of a message would be told to this server."""
        self._helohost = helohost
        self._reader = ReplyReader()
        self._extensions: frozenset[bytes] = frozenset()
        self._is_pipelining = False
        self._out: list[bytes] = []
        self._events: list[Event] = []
        self._recipients: tuple[bytes, ...] = ()
        self._next_rcpt = 0
        self._reports: list[bytes] = []
        self._verdict: Result | None = None

    # --- what the caller calls ------------------------------------------------------------------

    def begin(
        self, sender: bytes, recipients: tuple[bytes, ...], wire_bytes: int, *, is_8bit: bool
    ) -> None:
        """Start passing on a message; only after READY, or FINISHED in state READY.

        `wire_bytes` is its size with CRLF line ends, about.
        """
        assert self.state is State.READY
        self._recipients = recipients
        self._next_rcpt = 0
        self._reports = []
        self._verdict = None
        self.outcome = None
        self.transactions += 1
        self.state = State.MAIL
        command = b"MAIL FROM:<%b>" % _path(sender)
        if self._extensions:
            command += self._mail_parameters(sender, wire_bytes, is_8bit=is_8bit)
        if not self._is_pipelining:
            self._out.append(command + b"\r\n")
        elif len(recipients) == 1:
            # RFC 2920 3.1: MAIL, RCPT and DATA may go out together, DATA last.
            self._out.append(b"%b\r\nRCPT TO:<%b>\r\nDATA\r\n" % (command, _path(recipients[0])))
        else:
            rcpts = b"".join([b"RCPT TO:<%b>\r\n" % _path(to) for to in recipients])
            self._out.append(b"%b\r\n%bDATA\r\n" % (command, rcpts))

    def feed(self, data: bytes) -> None:
        """Take what came from the server."""
        for reply in self._reader.feed(data):
            if self.state is State.CLOSED:
                return
            if reply.code:
                self._ON_REPLY[self.state](self, reply)
            else:
                self._on_malformed(reply)

    def next_event(self) -> Event | None:
        """Return the next thing to do; None: read more."""
        return self._events.pop(0) if self._events else None

    def bytes_to_send(self) -> bytes:
        """Return what must be written now, once."""
        if not self._out:
            return b""
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        return data

    def body_sent(self) -> None:
        """Say that all of the message, its dot included, has been handed to the network."""
        if self.state is State.BODY:
            self.state = State.DOT

    def lost(self) -> None:
        """Say that the connection broke, or that the server took too long."""
        if self.state is State.CLOSED:
            return
        if self._verdict is not None:
            self._finish(self._verdict, State.CLOSED)
        elif self.state in (State.READY, State.RSET):
            self._close()
        else:
            warning = b"Possible duplicate! " if self.state is State.DOT else b""
            text = b"Connected to %b but connection died. %b(#4.4.2)\n" % (self.peer, warning)
            self._finish(deferred(text), State.CLOSED, self._ending())

    def abandon(self, result: Result) -> None:
        """Break off while the message is being written, because of trouble on our side."""
        self._finish(result, State.CLOSED)

    def quit(self) -> None:
        """Say QUIT and close, between two transactions."""
        self._out.append(b"QUIT\r\n")
        self._close()

    # --- one handler for each state -------------------------------------------------------------

    def _on_greeting(self, reply: Reply) -> None:
        if reply.code == 220:
            self._out.append(b"EHLO %b\r\n" % self._helohost)
            self.state = State.EHLO
        else:
            text = b"Connected to %b but greeting failed.\n%b" % (self.peer, reply.said)
            self._turned_away(refusal(reply.code, text))

    def _on_ehlo(self, reply: Reply) -> None:
        if reply.code == 250:
            words = [line[4:].split() for line in reply.raw.upper().split(b"\n")[1:]]
            offered = frozenset(line[0] for line in words if line)
            self._is_pipelining = b"PIPELINING" in offered
            self._extensions = offered & _MAIL_EXTENSIONS
            self.wants_measures = not self._extensions.isdisjoint((b"SIZE", b"8BITMIME"))
            self._become_ready()
        elif reply.code >= 500:
            # RFC 5321 3.2: an old server that does not know EHLO.
            self._out.append(b"HELO %b\r\n" % self._helohost)
            self.state = State.HELO
        else:
            self._on_helo(reply)

    def _on_helo(self, reply: Reply) -> None:
        if reply.code == 250:
            self._become_ready()
        else:
            text = b"Connected to %b but my name was rejected.\n%b" % (self.peer, reply.said)
            self._turned_away(deferred(text))

    def _on_ready(self, reply: Reply) -> None:
        # A reply that nobody asked for, mostly 421: this server does not want to go on.
        del reply
        self._close()

    def _on_mail(self, reply: Reply) -> None:
        if 200 <= reply.code < 300:
            self.state = State.RCPT
            self._ask_rcpt()
            return
        text = b"Connected to %b but sender was rejected.\n%b" % (self.peer, reply.said)
        if reply.code == CLOSING:
            self._finish(deferred(text), State.CLOSED, self._ending())
        else:
            self._fail(reply.code, text, State.RCPT)

    def _on_rcpt(self, reply: Reply) -> None:
        self._next_rcpt += 1
        if self._verdict is None:
            if 200 <= reply.code < 300:
                self._reports.append(b"r")
            else:
                letter = b"h" if reply.code >= 500 else b"s"
                text = b"%b%b does not like recipient.\n%b" % (letter, self.peer, reply.said)
                self._reports.append(text)
        if self._must_hang_up(reply):
            self._finish(self._verdict or self._given_up(), State.CLOSED)
        elif self._next_rcpt < len(self._recipients):
            self._ask_rcpt()
        else:
            self._on_last_rcpt()

    def _on_last_rcpt(self) -> None:
        if b"r" not in self._reports and self._verdict is None:
            self._verdict = self._given_up()
        if self._is_pipelining:
            self.state = State.DATA
        elif self._verdict is not None:
            self._finish_and_reset(self._verdict)
        else:
            self._out.append(b"DATA\r\n")
            self.state = State.DATA

    def _on_data(self, reply: Reply) -> None:
        if reply.code == GO_AHEAD and self._verdict is None:
            self.state = State.BODY
            self._events.append(Event.SEND_BODY)
        elif reply.code == GO_AHEAD:
            # RFC 2920 3.1: DATA was taken though no recipient was; send nothing but the dot.
            self._out.append(b".\r\n")
            self.state = State.EMPTY_DOT
        else:
            text = b"%b failed on DATA command.\n%b" % (self.peer, reply.said)
            verdict = self._verdict or refusal(reply.code, text)
            if self._must_hang_up(reply) or reply.code < 400:
                self._finish(verdict, State.CLOSED)
            else:
                self._finish_and_reset(verdict)

    def _on_early_answer(self, reply: Reply) -> None:
        # A refusal in the middle of the message. The rest of it would be read as commands.
        if reply.code >= 400:
            self._finish(self._refused_message(reply), State.CLOSED)
        else:
            self._on_malformed(reply)

    def _on_dot(self, reply: Reply) -> None:
        if 200 <= reply.code < 300:
            text = b"%b accepted message.\n%b" % (self.peer, reply.said)
            self._finish(delivered(text), State.READY)
        elif self._must_hang_up(reply):
            self._finish(self._refused_message(reply), State.CLOSED)
        else:
            self._finish_and_reset(self._refused_message(reply))

    def _on_empty_dot(self, reply: Reply) -> None:
        assert self._verdict is not None
        if self._must_hang_up(reply):
            self._finish(self._verdict, State.CLOSED)
        else:
            self._finish_and_reset(self._verdict)

    def _on_rset(self, reply: Reply) -> None:
        if 200 <= reply.code < 300:
            self._become_ready()
        else:
            self._close()

    def _on_malformed(self, reply: Reply) -> None:
        self.is_broken = True
        if self.state in (State.READY, State.RSET):
            self._close()
            return
        warning = b"Possible duplicate! " if self.state is State.DOT else b""
        text = b"Connected to %b but its reply is not SMTP. %b(#4.5.0)\n%b"
        verdict = deferred(text % (self.peer, warning, reply.said))
        self._finish(self._verdict or verdict, State.CLOSED, self._ending())

    # --- parts of the above ---------------------------------------------------------------------

    def _mail_parameters(self, sender: bytes, wire_bytes: int, *, is_8bit: bool) -> bytes:
        offered = self._extensions
        parameters = b""
        if b"SIZE" in offered:
            parameters = b" SIZE=%d" % wire_bytes  # RFC 1870 6.1
        if is_8bit and b"8BITMIME" in offered:
            parameters += b" BODY=8BITMIME"  # RFC 6152 3
        if b"SMTPUTF8" in offered and not all(map(bytes.isascii, (sender, *self._recipients))):
            parameters += b" SMTPUTF8"  # RFC 6531 3.4
        return parameters

    def _ask_rcpt(self) -> None:
        if not self._is_pipelining:
            recipient = self._recipients[self._next_rcpt]
            self._out.append(b"RCPT TO:<%b>\r\n" % _path(recipient))

    def _become_ready(self) -> None:
        self.state = State.READY
        self._events.append(Event.READY)

    def _given_up(self) -> Result:
        return failed(b"Giving up on %b.\n" % self.peer)

    def _refused_message(self, reply: Reply) -> Result:
        text = b"%b failed after I sent the message.\n%b" % (self.peer, reply.said)
        return refusal(reply.code, text)

    @staticmethod
    def _must_hang_up(reply: Reply) -> bool:
        # 421 closes; 3xx where none belongs says that the two sides no longer mean the same.
        return reply.code == CLOSING or 300 <= reply.code < 400

    def _fail(self, code: int, text: bytes, draining: State) -> None:
        """MAIL was refused: what was pipelined after it must still be answered."""
        self._verdict = refusal(code, text)
        if code < 400:
            self._finish(self._verdict, State.CLOSED)
        elif self._is_pipelining:
            self.state = draining
        else:
            self._finish_and_reset(self._verdict)

    def _ending(self) -> Ending:
        if self.state is State.MAIL and self.transactions > 1:
            return Ending.SAME_HOST
        return Ending.NEXT_HOST if self.state <= State.MAIL else Ending.FINAL

    def _turned_away(self, result: Result) -> None:
        self._out.append(b"QUIT\r\n")
        self._finish(result, State.CLOSED, Ending.NEXT_HOST)

    def _finish_and_reset(self, result: Result) -> None:
        self._out.append(b"RSET\r\n")
        self._finish(result, State.RSET)

    def _finish(self, result: Result, state: State, ending: Ending = Ending.FINAL) -> None:
        self.outcome = Outcome(tuple(self._reports), result, ending)
        self._verdict = None
        self.state = state
        self._events.append(Event.FINISHED)
        if state is State.CLOSED:
            self._events.append(Event.CLOSED)

    def _close(self) -> None:
        self.state = State.CLOSED
        self._events.append(Event.CLOSED)

    _ON_REPLY: ClassVar[Mapping[State, Callable[["SmtpClient", Reply], None]]] = {
        State.GREETING: _on_greeting,
        State.EHLO: _on_ehlo,
        State.HELO: _on_helo,
        State.READY: _on_ready,
        State.MAIL: _on_mail,
        State.RCPT: _on_rcpt,
        State.DATA: _on_data,
        State.BODY: _on_early_answer,
        State.DOT: _on_dot,
        State.EMPTY_DOT: _on_empty_dot,
        State.RSET: _on_rset,
    }
    assert _ON_REPLY.keys() == set(State) - {State.CLOSED}
