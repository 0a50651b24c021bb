"""One SMTP conversation on descriptors 0 and 1, as tcpserver starts it. Blocking, no event loop.

Source: spec/smtp.md A.1 and A.2.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from typing import Final, NoReturn

from qmail.core.dates import mail_date
from qmail.core.smtp.guessing import hold_s
from qmail.core.smtp.policy import SmtpPolicy
from qmail.edge.doors.verify_call import ask_verifier
from qmail.edge.log.lines import complain
from qmail.edge.smtp.log import refusal_line
from qmail.edge.submit.queue import submit
from qmail.edge.wires.wire import GoneError, Wire
from qmail.protocol import reply as replies
from qmail.protocol.reply import Reply
from qmail.protocol.smtp_server import (
    OUT_BYTES_MAX,
    Body,
    DataBegins,
    Dropped,
    Event,
    MailFrom,
    MessageEnds,
    Mistake,
    RcptTo,
    Session,
)
from qmail.protocol.trace import Peer, received_start
from qmail.protocol.trace_id import TraceIds
from qmail.protocol.verify_door import Verdict

DATA_S_MIN: Final = 600.0
DATA_BYTES_PER_S_MIN: Final = 1024


class DroppedError(Exception):
    """The session has refused the message that is being read, and has said so."""


class Conversation:
    """One client."""

    def __init__(self, home: str, policy: SmtpPolicy, environ: Mapping[str, str]) -> None:
        self._home = home
        self._policy = policy
        self._environ = environ
        self._session = Session(policy.session_settings)
        self._wire = Wire(policy.timeout_s)
        self._peer = peer_of_environment(environ)
        self._relay_suffix: bytes | None = None
        if "RELAYCLIENT" in environ:
            self._relay_suffix = os.fsencode(environ["RELAYCLIENT"])
        elif policy.clients.may_relay(environ.get("TCPREMOTEIP", "")):
            self._relay_suffix = b""
        self._unknown_count = 0
        self._ids = TraceIds(os.getpid())
        self._trace_id = self._ids.make(time.time())

    def run(self) -> int:
        """Talk until the end; return the exit code: 0 only after QUIT (spec/smtp.md A.1)."""
        session = self._session
        with self._wire:
            try:
                self._talk()
            except GoneError:
                return 1
            except TimeoutError:
                self._end(replies.TIMED_OUT)
            except Exception as trouble:
                complain("qmail-smtpd", f"session: {trouble!r}")
                self._end(replies.UNFORESEEN)
            if not session.has_quit:
                self._wire.linger()
        return 0 if session.has_quit else 1

    def _end(self, reply: Reply) -> None:
        self._log(reply, self._session.sender)
        self._session.close(reply)
        with contextlib.suppress(GoneError):
            self._send()

    def _talk(self) -> None:
        session, wire = self._session, self._wire
        self._send()
        wire.begin_wait()
        while True:
            while (event := session.next_event()) is not None:
                self._handle(event)
            sent = self._send()
            if session.is_closed:
                return
            if sent:
                wire.begin_wait()
            if sent <= OUT_BYTES_MAX:
                session.feed(wire.read())

    def _send(self) -> int:
        out = self._session.bytes_to_send()
        self._wire.write(out)
        return len(out)

    def _handle(self, event: Event) -> None:
        match event:
            case MailFrom() | RcptTo():
                if isinstance(event, MailFrom):
                    self._trace_id = self._ids.make(time.time())
                reply, address = self._policy.judge(event, self._relay_suffix)
                if reply.code == 250 and isinstance(event, RcptTo) and self._policy.verifies:
                    reply = self._verified(address)
                if reply.code != 250:
                    self._log(reply, self._session.sender, address)
                self._session.answer(reply, address)
            case DataBegins():
                self._session.answer(replies.DATA_GO_AHEAD)
                self._take_message()
            case Mistake(reply):
                self._log(reply, self._session.sender)
            case _:
                raise AssertionError(f"{event} outside a message")

    def _verified(self, recipient: bytes) -> Reply:
        verdict = ask_verifier(self._home, recipient)
        if verdict is Verdict.UNKNOWN:
            self._unknown_count += 1
            wait_s = hold_s(self._unknown_count)
            if wait_s is None:
                return replies.TOO_MANY_UNKNOWN
            time.sleep(wait_s)
        return self._policy.verified(verdict, self._relay_suffix)

    def _take_message(self) -> None:
        session = self._session
        parts = self._message()
        # For qmail-queue at its door, and for one that a program in its place starts.
        trace_id = {"QMAIL_ID": self._trace_id.decode()}
        os.environ.update(trace_id)
        environ = {**self._environ, **trace_id}
        try:
            outcome = submit(self._home, parts, session.envelope(), environ)
            # Refused before all of it was read: the reply has to wait for its end all the same.
            for _ in parts:
                pass
        except DroppedError:
            return
        if outcome.result is None:
            session.answer(replies.queued_reply(int(time.time()), outcome.qp))
        else:
            reply = replies.refused_reply(outcome.result)
            self._log(reply, session.sender)
            session.answer(reply)

    def _message(self) -> Iterator[bytes]:
        """Yield the message as it arrives, the Received line first.

        Raises: DroppedError, GoneError, TimeoutError.
        """
        session = self._session
        protocol = b"ESMTP" if session.is_esmtp else b"SMTP"
        start = received_start(self._peer, session.helo, protocol)
        yield b"%b%b; %b\n" % (start, self._trace_id, mail_date(int(time.time())))
        limit = time.monotonic() + DATA_S_MIN
        while True:
            match session.next_event():
                case Body(part):
                    yield part
                case MessageEnds(part):
                    yield part
                    return
                case Dropped(reply, sender):
                    self._log(reply, sender)
                    self._skip_message(limit)
                case _:
                    limit += self._read_on(limit)

    def _read_on(self, limit: float) -> float:
        """Read more of the message. Returns by how many seconds that moves the limit."""
        self._send()
        data = self._wire.read(limit)
        if not data:
            raise GoneError
        self._session.feed(data)
        return len(data) / DATA_BYTES_PER_S_MIN

    def _skip_message(self, limit: float) -> NoReturn:
        # One that is too big or loops is told before its end; the reply comes at its end.
        while self._session.is_in_data:
            if self._session.next_event() is None:
                limit += self._read_on(limit)
        raise DroppedError

    def _log(self, reply: Reply, sender: bytes, recipient: bytes | None = None) -> None:
        line = refusal_line(self._peer.ip, sender, recipient, reply)
        with contextlib.suppress(OSError):
            os.write(2, line + b"\n")


def peer_of_environment(environ: Mapping[str, str]) -> Peer:
    """Return what the TCP server says of the client (spec/smtp.md A.1)."""
    info = environ.get("TCPREMOTEINFO")
    local = environ.get("TCPLOCALHOST") or environ.get("TCPLOCALIP") or "unknown"
    return Peer(
        host=os.fsencode(environ.get("TCPREMOTEHOST") or "unknown"),
        ip=os.fsencode(environ.get("TCPREMOTEIP") or "unknown"),
        info=None if info is None else os.fsencode(info),
        local=os.fsencode(local),
    )


def converse(home: str, policy: SmtpPolicy | None, environ: Mapping[str, str]) -> int:
    """Hold one conversation; return the exit code. Without a policy there is nothing to say."""
    if policy is None:
        with contextlib.suppress(OSError):
            os.write(1, replies.NOT_SET_UP.wire)
        return 1
    return Conversation(home, policy, environ).run()
