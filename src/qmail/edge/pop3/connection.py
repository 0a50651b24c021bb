"""One client of the resident POP3 server: bytes in both directions, TLS, and what ends it.

First it is with an Entry, which has the commands up to the login, then with a Visit, which has the
session. There is no timer for each client: the server asks all of them now and then (`check`).
"""

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, Final, cast

from qmail.edge.log.lines import complain
from qmail.edge.pop3.entry import Entry
from qmail.edge.pop3.log import Pop3Log
from qmail.edge.pop3.visit import Visit
from qmail.edge.tls.session import HANDSHAKE_S_MAX, TlsError
from qmail.edge.tls.stream import TlsStream
from qmail.protocol import pop3_replies as replies
from qmail.protocol.login_door import Proof
from qmail.protocol.pop3 import Offer
from qmail.protocol.pop3_replies import Reply

if TYPE_CHECKING:
    from qmail.edge.pop3.server import Pop3Server

IMPLICIT: Final = "pop3s"
"""The service with TLS from the first byte (RFC 8314 3)."""
LINGER_S: Final = 10.0
"""After our side has ended: how long the client may take to end its own."""


class Phase(Enum):
    """Who has the connection."""

    ENTRY = "entry"
    VISIT = "visit"
    GIVEN_AWAY = "given away"
    """The session's process has the client's socket; here it only counts."""
    ENDING = "ending"
    """All is said; the client has to end its side."""


class Pop3Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, server: "Pop3Server", service: str) -> None:
        self._server = server
        self._service = service
        self._phase = Phase.ENTRY
        self._log = Pop3Log(server, service)
        self._transport: asyncio.Transport | None = None
        self._stream: TlsStream
        self._entry: Entry
        self._visit: Visit
        self._active_at = 0.0
        self._is_paused = False
        self.is_blocked = False
        self.has_eof = False
        self.since = 0.0
        self.ip = ""

    @property
    def is_ours(self) -> bool:
        """False where the session's process has the client to itself."""
        return self._phase is not Phase.GIVEN_AWAY

    # --- what the event loop calls --------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, or send away where there are too many."""
        # Not isinstance: uvloop's transports have the methods and not the class.
        self._transport = cast("asyncio.Transport", transport)
        self._stream = TlsStream(self._transport)
        peer = transport.get_extra_info("peername")
        self.ip = self._log.ip = peer[0].removeprefix("::ffff:") if peer else "unknown"
        server, is_implicit = self._server, self._service == IMPLICIT
        self.since = self._active_at = server.now()
        context = server.settings.tls
        if not server.admit(self):
            self._log.refused(replies.TOO_MANY_SESSIONS)
            self._turn_away(b"" if is_implicit else replies.TOO_MANY_SESSIONS.wire)
            return
        if is_implicit:
            if context is None:
                self._log.no_tls("there is no certificate")
                self._turn_away(b"")
                return
            self._stream.start_tls(context)
        self._entry = Entry(self, server, self._log, server.offer(self.ip, has_tls=is_implicit))
        self.pump()

    def _turn_away(self, words: bytes) -> None:
        self._phase = Phase.ENDING
        if self._transport is not None:
            self._transport.write(words)
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Take what the client sent; b"" is the end of its input."""
        if self._phase is Phase.ENDING:
            return
        try:
            said = self._stream.received(data)
        except TlsError as wrong:
            self._on_tls_trouble(wrong)
            return
        if self._phase is Phase.ENTRY:
            if said:
                self._entry.session.feed(said)
            self.has_eof = self._stream.has_ended
            self.pump()
        elif self._phase is Phase.VISIT:
            if said:
                self._visit.client_said(said)
            if self._stream.has_ended and not self.has_eof:
                self.has_eof = True
                self._visit.client_ended()

    def eof_received(self) -> bool:
        """Go on with what was sent before: a client may end its side and still read."""
        if not (self.has_eof or self._is_ending):
            self.data_received(b"")
        # False where both sides have ended: the loop closes.
        return not self._is_ending

    @property
    def _is_ending(self) -> bool:
        return self._phase is Phase.ENDING

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client; a login that is under way is given up."""
        del exc
        self._transport = None
        if self._phase is Phase.GIVEN_AWAY:
            return
        if self._phase is Phase.ENTRY:
            self._entry.session.feed(b"")
            self._entry.give_up()
        elif self._phase is Phase.VISIT:
            self._visit.client_lost()
        self._phase = Phase.ENDING
        self._log.ended()
        self._server.forget(self)

    def pause_writing(self) -> None:
        """Stop: the client does not read what it is told."""
        self._block(is_blocked=True)

    def resume_writing(self) -> None:
        """Go on: the client reads again."""
        self._block(is_blocked=False)

    def _block(self, *, is_blocked: bool) -> None:
        self.is_blocked = is_blocked
        self._active_at = self._server.now()
        if self._phase is Phase.VISIT:
            self._visit.client_blocked(is_blocked=is_blocked)
        elif self._phase is Phase.ENTRY and not is_blocked:
            self.pump()
        self.set_reading()

    # --- what the entry calls -------------------------------------------------------------------

    def pump(self) -> None:
        """Go on with what the client has said, and end when that was its end."""
        if self._phase is not Phase.ENTRY or self._transport is None:
            return
        session = self._entry.session
        try:
            self._entry.pump()
            if self._phase is not Phase.ENTRY:
                return
            if self.has_eof and not session.is_waiting and not self.is_blocked:
                session.feed(b"")
            if session.is_closed:
                self.finish()
            else:
                self.set_reading()
        except TlsError as wrong:
            self._on_tls_trouble(wrong)
        except Exception as trouble:
            complain("qmail-popup", f"session of {self.ip}: {trouble!r}")
            self._entry.give_up()
            self.finish(replies.UNFORESEEN)

    def start_tls(self) -> Offer | None:
        """Speak TLS from now on. Returns: what can be used then; None: there is no TLS any more."""
        context = self._server.settings.tls
        if context is None:
            return None
        self._active_at = self._server.now()
        self._stream.start_tls(context)
        return self._server.offer(self.ip, has_tls=True)

    def let_in(self, entry: Entry, proof: Proof) -> None:
        """Have the session started."""
        transport = self._transport
        if transport is None:
            entry.give_up()
            return
        self._phase = Phase.VISIT
        self._server.has_logged_in(self)
        self._visit = Visit(self, self._server, self._log, entry)
        self.set_reading()
        fd = -1
        if self._stream.tls is None and not (self.has_eof or transport.get_write_buffer_size()):
            fd = transport.get_extra_info("socket").fileno()
        try:
            self._visit.begin(proof, fd)
        except OSError as trouble:
            complain("qmail-popup", f"session of {self.ip}: {trouble}")
            self._visit.time_is_up()

    # --- what the visit calls -------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send to the client."""
        try:
            self._stream.write(data)
        except TlsError as wrong:
            self._on_tls_trouble(wrong)

    def shown_tls(self) -> bytes:
        """Say for the log how the connection is protected."""
        tls = self._stream.tls
        return b"clear" if tls is None else tls.name.encode()

    def leave(self) -> None:
        """Close our descriptor: the session has its own, so nothing ends for the client."""
        self._phase = Phase.GIVEN_AWAY
        if self._transport is not None:
            self._transport.close()
        self._server.given_away()

    def forget(self) -> None:
        """Count a client out that has gone with its session."""
        self._server.forget(self)

    def set_reading(self) -> None:
        """Read from the client, or stop, as the one says who has it."""
        transport = self._transport
        if transport is None or transport.is_closing() or self._is_ending:
            return
        is_full = self._visit.is_full if self._phase is Phase.VISIT else self._entry.is_full
        should_pause = self.is_blocked or is_full
        if should_pause != self._is_paused:
            self._is_paused = should_pause
            if should_pause:
                transport.pause_reading()
            else:
                transport.resume_reading()

    # --- the end --------------------------------------------------------------------------------

    def _on_tls_trouble(self, wrong: TlsError) -> None:
        self._log.no_tls(str(wrong))
        if self._phase is Phase.VISIT:
            self._visit.client_lost()
        elif self._phase is Phase.ENTRY:
            self._entry.give_up()
        self._phase = Phase.ENDING
        self._active_at = self._server.now()
        if self._transport is not None:
            self._transport.close()

    def finish(self, reply: Reply | None = None) -> None:
        """Say `reply`, end our side, and wait for the client to end its own.

        Closing with unread input would make the kernel throw away our last reply.
        """
        if reply is not None:
            self.send(reply.wire)
        if self._is_ending:
            return
        self._phase = Phase.ENDING
        self._active_at = self._server.now()
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._stream.end()
        if self.has_eof:
            transport.close()
        elif self._is_paused:
            self._is_paused = False
            transport.resume_reading()

    def cut_off(self) -> None:
        """End it, at once."""
        if self._transport is not None:
            self._transport.abort()

    # --- what the server calls ------------------------------------------------------------------

    def check(self, now: float) -> None:
        """End what has been waiting for too long."""
        transport = self._transport
        if transport is None or not self.is_ours or now < self._deadline(transport):
            return
        if self._phase is Phase.VISIT:
            self._visit.time_is_up()
        elif self._phase is Phase.ENTRY and self._stream.is_ready and not self.is_blocked:
            self._entry.time_is_up()
            self.pump()
        else:
            self.cut_off()

    def _deadline(self, transport: asyncio.Transport) -> float:
        """Return when this client has taken too long, by what it is doing now."""
        timeout_s = self._server.settings.timeout_s
        if self._phase is Phase.VISIT:
            return self._visit.deadline(timeout_s)
        if self._phase is Phase.ENDING:
            has_more = transport.get_write_buffer_size() > 0
            return self._active_at + (timeout_s if has_more else LINGER_S)
        if not self._stream.is_ready:
            return self._active_at + HANDSHAKE_S_MAX
        return self._entry.deadline(self.since)

    def send_away(self, reply: Reply) -> None:
        """End a client that has not logged in."""
        if self._phase is not Phase.ENTRY:
            return
        self._entry.give_up()
        if self._stream.is_ready:
            self._log.refused(reply)
            self.finish(reply)
        else:
            self.cut_off()
