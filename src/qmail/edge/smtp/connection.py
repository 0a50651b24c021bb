"""One client of the resident SMTP server: carries bytes and events, and keeps the deadlines.

There is no timer for each client: the server asks all of them now and then (`check`).
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from qmail.edge.doors.courier import QUEUE_SLOW, Parcel
from qmail.edge.log.lines import complain
from qmail.edge.smtp.log import refusal_line
from qmail.mail import Result
from qmail.protocol import reply as replies
from qmail.protocol.log_tail import packed_tail
from qmail.protocol.reply import Reply
from qmail.protocol.smtp_server import (
    OUT_BYTES_MAX,
    Body,
    DataBegins,
    Dropped,
    MailFrom,
    MessageEnds,
    Mistake,
    RcptTo,
    Session,
)
from qmail.protocol.trace import Peer, received_start
from qmail.protocol.verify_door import Verdict

if TYPE_CHECKING:
    from qmail.edge.smtp.server import SmtpServer

PENDING_BYTES_MAX: Final = 65536
"""So much of a client's input waits here behind an unanswered command; then reading stops."""
ANSWER_S_MAX: Final = 600.0
"""Longest wait for the queue to answer."""
DATA_S_MIN: Final = 600.0
DATA_BYTES_PER_S_MIN: Final = 1024
"""A message may take DATA_S_MIN, and a second for each so many bytes."""
LINGER_S: Final = 5.0
"""After a reply that ends the session by force: how long the client may take to read it."""


class SmtpConnection(asyncio.Protocol):
    """One client."""

    __slots__ = (
        "_active_at",
        "_address",
        "_asked",
        "_bytes_in",
        "_data_began",
        "_ends_after_answer",
        "_has_eof",
        "_is_blocked",
        "_is_lingering",
        "_is_paused",
        "_parcel",
        "_relay_suffix",
        "_server",
        "_session",
        "_session_id",
        "_trace",
        "_traced_helo",
        "_transport",
        "_unknown_count",
        "ip",
        "trace_id",
    )  # fmt: skip

    def __init__(self, server: "SmtpServer") -> None:
        self._server = server
        self._session = Session(server.policy.session_settings)
        self._transport: asyncio.Transport | None = None
        self._parcel: Parcel | None = None
        self._relay_suffix: bytes | None = None
        self._asked: bytes | None = None
        self._unknown_count = 0
        self._active_at = 0.0
        self._data_began = 0.0
        self._bytes_in = 0
        self._trace = b""
        self._traced_helo: bytes | None = None
        self._is_blocked = False
        self._is_paused = False
        self._is_lingering = False
        self._has_eof = False
        self._ends_after_answer = False
        self.ip = ""
        self.trace_id = self._session_id = server.new_id()
        self._address = b""

    # --- what the event loop calls --------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, or send away where there are too many."""
        # Not isinstance: uvloop's transports have the methods and not the class.
        transport = cast("asyncio.Transport", transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self.ip = peer[0].removeprefix("::ffff:") if peer else "unknown"
        self._address = self.ip.encode()
        server = self._server
        self._active_at = server.now()
        if server.policy.clients.may_relay(self.ip):
            self._relay_suffix = b""
        if server.admit(self, is_trusted=self._relay_suffix is not None):
            self._log(b"connect %b" % self._address)
            transport.write(self._session.bytes_to_send())
            return
        self._log(b"refuse %b: %b" % (self._address, replies.TOO_MANY_SESSIONS.line))
        self._is_lingering = True
        transport.write(replies.TOO_MANY_SESSIONS.wire)
        transport.close()

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        if not self._is_lingering:
            self._bytes_in += len(data)
            self._session.feed(data)
            self._pump()

    def eof_received(self) -> bool:
        """Go on with what was sent before: a client may end its side and still read."""
        self._has_eof = True
        if self._is_lingering:
            # Both sides have ended: the loop closes.
            return False
        self._pump()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client; a message that is not at its end is given up."""
        del exc
        session = self._session
        if self._parcel is not None and not session.is_waiting:
            self._parcel.give_up()
            self._parcel = None
        session.feed(b"")
        self._transport = None
        if self._server.forget(self):
            self._log(b"close %b" % self._address)

    def pause_writing(self) -> None:
        """Stop: the client does not read its replies."""
        self._is_blocked = True
        self._active_at = self._server.now()
        self._set_reading()

    def resume_writing(self) -> None:
        """Go on: the client reads again."""
        self._is_blocked = False
        self._pump()

    # --- what the parcel calls ------------------------------------------------------------------

    def on_queued(self, result: Result | None, qp: int) -> None:
        """Answer the message that waits."""
        parcel, self._parcel = self._parcel, None
        size = 0 if parcel is None else parcel.size
        if result is None:
            reply = replies.queued_reply(int(time.time()), qp)
            self._log_accepted(qp, size)
        else:
            reply = replies.refused_reply(result)
            self._refused(reply)
        if self._session.is_waiting and not self._session.is_closed:
            self._session.answer(reply)
            if self._ends_after_answer:
                self._session.close(replies.SHUTTING_DOWN)
            self._pump()

    def on_room(self) -> None:
        """Go on: the parcel takes more again."""
        if not self._session.is_closed:
            self._pump()

    # --- what the verifier calls ----------------------------------------------------------------

    def on_verdict(self, verdict: Verdict) -> None:
        """Answer the recipient that waits."""
        address, self._asked = self._asked, None
        if address is not None and not self._session.is_closed:
            self._answer_recipient(address, verdict)
            self._pump()

    # --- what the server calls ------------------------------------------------------------------

    def check(self, now: float) -> None:
        """End what has been waiting for too long."""
        if now < self._deadline() or self._transport is None:
            return
        if self._is_lingering or self._is_blocked or self._session.is_closed:
            self._transport.abort()
        elif self._parcel is not None and self._session.is_waiting:
            self._parcel.give_up()
            self.on_queued(QUEUE_SLOW, 0)
        else:
            self._refused(replies.TIMED_OUT)
            self._session.close(replies.TIMED_OUT)
            self._pump()

    def shut_down(self) -> None:
        """End the session; one that waits for the queue ends when it has been answered."""
        if self._is_lingering and self._transport is not None:
            self._transport.abort()
        elif self._parcel is not None and self._session.is_waiting:
            self._ends_after_answer = True
        else:
            self._session.close(replies.SHUTTING_DOWN)
            self._pump()

    # --- the pump -------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Carry events to the policy and the queue, and replies to the client."""
        session, transport = self._session, self._transport
        if transport is None or self._is_lingering:
            return
        has_moved = False
        try:
            while not self._is_blocked:
                while (event := session.next_event()) is not None:
                    has_moved = True
                    self.HANDLERS[type(event)](self, event)
                out = session.bytes_to_send()
                if not out:
                    break
                has_moved = True
                transport.write(out)
                if len(out) <= OUT_BYTES_MAX:
                    break
        except Exception as trouble:
            complain("qmail-smtpd", f"session of {self.ip}: {trouble!r}")
            session.close(replies.UNFORESEEN)
            transport.write(session.bytes_to_send())
        if self._has_eof and not session.is_waiting and not self._is_blocked:
            session.feed(b"")
        if session.is_closed:
            self._finish(transport)
            return
        if has_moved or session.is_in_data:
            # Not for a byte more of a command line: the whole line has one timeout.
            self._active_at = self._server.now()
        if self._parcel is not None or self._is_paused or session.is_waiting:
            self._set_reading()

    def _deadline(self) -> float:
        """Return when this client has taken too long, by what it is doing now."""
        if self._is_lingering:
            return self._active_at + LINGER_S
        if self._session.is_waiting and not self._is_blocked:
            return self._active_at + ANSWER_S_MAX
        limit = self._active_at + self._server.policy.timeout_s
        if self._session.is_in_data:
            pace = DATA_S_MIN + self._bytes_in / DATA_BYTES_PER_S_MIN
            return min(limit, self._data_began + pace)
        return limit

    def _set_reading(self) -> None:
        should_pause = (
            self._is_blocked
            or self._session.bytes_pending > PENDING_BYTES_MAX
            or (self._parcel is not None and self._parcel.is_full)
        )
        if should_pause != self._is_paused and self._transport is not None:
            self._is_paused = should_pause
            if should_pause:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _finish(self, transport: asyncio.Transport) -> None:
        self._is_lingering = True
        if self._parcel is not None:
            self._parcel.give_up()
            self._parcel = None
        self._active_at = self._server.now()
        if self._session.has_quit or self._has_eof:
            transport.close()
            return
        # Closing with unread input would make the kernel throw away our last reply: end our side
        # only, and read on without looking until the client ends its side.
        if not transport.is_closing():
            transport.write_eof()
        if self._is_paused:
            self._is_paused = False
            transport.resume_reading()

    # --- events ---------------------------------------------------------------------------------

    def _on_mail(self, event: MailFrom) -> None:
        self.trace_id = self._server.new_id()
        self._answer(*self._server.policy.judge(event, self._relay_suffix))

    def _on_rcpt(self, event: RcptTo) -> None:
        policy, verifier = self._server.policy, self._server.verifier
        reply, address = policy.judge(event, self._relay_suffix)
        if reply.code != 250 or verifier is None or not policy.verifies:
            self._answer(reply, address)
            return
        verdict = verifier.verdict(address, self)
        if verdict is None:
            self._asked = address
        else:
            self._answer_recipient(address, verdict)

    def _answer_recipient(self, address: bytes, verdict: Verdict) -> None:
        server = self._server
        reply = server.policy.verified(verdict, self._relay_suffix)
        if verdict is Verdict.UNKNOWN:
            self._unknown_count += 1
            is_trusted = self._relay_suffix is not None
            hold_s = server.guesses.hold(self.ip, self._unknown_count, is_trusted=is_trusted)
            if hold_s is None:
                reply = replies.TOO_MANY_UNKNOWN
            elif hold_s:
                server.call_later(hold_s, self._answer_held, reply, address)
                return
        self._answer(reply, address)

    def _answer_held(self, reply: Reply, address: bytes) -> None:
        if not self._session.is_closed:
            self._answer(reply, address)
            self._pump()

    def _answer(self, reply: Reply, address: bytes) -> None:
        if reply.code != 250:
            self._refused(reply, address)
        self._session.answer(reply, address)

    def _on_data(self, _event: DataBegins) -> None:
        server, session = self._server, self._session
        parcel = self._parcel = server.courier.begin(self)
        if parcel is None:
            self._refused(replies.QUEUE_DOWN)
            session.answer(replies.QUEUE_DOWN)
            return
        if self._traced_helo is not session.helo:
            self._traced_helo = session.helo
            peer = Peer(ip=self._address, local=server.policy.host_name)
            protocol = b"ESMTP" if session.is_esmtp else b"SMTP"
            self._trace = received_start(peer, session.helo, protocol)
        date = server.mail_date(int(time.time()))
        parcel.add(b"%b%b; %b\n" % (self._trace, self.trace_id, date))
        self._data_began = server.now()
        self._bytes_in = 0
        session.answer(replies.DATA_GO_AHEAD)

    def _on_body(self, event: Body) -> None:
        if self._parcel is not None:
            self._parcel.add(event.data)

    def _on_end(self, event: MessageEnds) -> None:
        if self._parcel is not None:
            self._parcel.add(event.data)
            self._parcel.finish(self._session.envelope())

    def _on_dropped(self, event: Dropped) -> None:
        if self._parcel is not None:
            self._parcel.give_up()
            self._parcel = None
            line = refusal_line(self._address, event.sender, None, event.reply)
            self._log_refused(line, event.reply)

    def _on_mistake(self, event: Mistake) -> None:
        self._refused(event.reply)

    HANDLERS: ClassVar[Mapping[type, Callable[["SmtpConnection", Any], None]]] = {
        MailFrom: _on_mail,
        RcptTo: _on_rcpt,
        DataBegins: _on_data,
        Body: _on_body,
        MessageEnds: _on_end,
        Dropped: _on_dropped,
        Mistake: _on_mistake,
    }

    def _refused(self, reply: Reply, recipient: bytes | None = None) -> None:
        line = refusal_line(self._address, self._session.sender, recipient, reply)
        self._log_refused(line, reply)

    def _log_refused(self, line: bytes, reply: Reply) -> None:
        if self._server.is_detailed:
            line += packed_tail(
                id=self.trace_id,
                session=self._session_id,
                code=b"%d" % reply.code,
                helo=self._session.helo,
            )
        self._server.log_line(line)

    def _log_accepted(self, qp: int, size: int) -> None:
        line = b"smtpd: accept %b qp %d bytes %d" % (self._address, qp, size)
        if self._server.is_detailed:
            envelope = self._session.envelope()
            line += packed_tail(
                id=self.trace_id,
                session=self._session_id,
                helo=self._session.helo,
                sender=envelope.sender,
                recipients=b"%d" % len(envelope.recipients),
            )
        self._server.log_line(line)

    def _log(self, what: bytes) -> None:
        tail = packed_tail(session=self._session_id) if self._server.is_detailed else b""
        self._server.log_line(b"smtpd: " + what + tail)
