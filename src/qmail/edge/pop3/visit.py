"""The second part of a POP3 connection: a login was accepted, and its session is with a process.

Where nothing is between the two, that process gets the client's socket itself: DIRECT. Else it gets
one end of a socket pair, and the connection carries bytes to and fro: RELAY, which TLS needs, and a
client that has sent more behind its login; and a login that is claimed and not proved, because then
the session's first word, or its exit code, tells whether it was good (protocol/login_door.py).
"""

import asyncio
import os
import socket
from collections.abc import Coroutine
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Protocol

from qmail.edge.pop3.entry import REFUSALS, Entry
from qmail.edge.pop3.log import Pop3Log
from qmail.edge.pop3.relay import Mailbox
from qmail.protocol import pop3_replies as replies
from qmail.protocol.login_door import Proof, Refusal
from qmail.protocol.pop3_replies import Reply

if TYPE_CHECKING:
    from qmail.edge.pop3.server import Pop3Server

START_S_MAX: Final = 60.0
"""Longest wait for the session's process to begin, and for its exit code."""
RELAY_S_MORE: Final = 60.0
"""The session keeps the time itself, and is cut off here only when it has not done so."""
NO_TELLING: Final = frozenset({0, 2, 111})
"""Exit codes of a checkpassword program that are no word about the password (spec/smtp.md E.2)."""
SIGNALS: Final = 128
"""Codes from here on mean that a signal has ended it."""


class Stage(Enum):
    """How far a visit is."""

    STARTING = "starting"
    DIRECT = "direct"
    RELAY = "relay"
    OVER = "over"


class VisitOwner(Protocol):
    """The client's connection."""

    has_eof: bool
    """True when the client sends no more."""

    def send(self, data: bytes) -> None:
        """Send to the client; a broken connection ends by itself."""
        ...

    def shown_tls(self) -> bytes:
        """Say for the log how the connection is protected."""
        ...

    def set_reading(self) -> None:
        """Read from the client, or stop: `Visit.is_full` may have changed."""
        ...

    def leave(self) -> None:
        """Close our descriptor: the session has its own."""
        ...

    def finish(self, reply: Reply | None = None) -> None:
        """Say `reply`, and end our side."""
        ...

    def cut_off(self) -> None:
        """End it, at once."""
        ...

    def forget(self) -> None:
        """Count a client out that has gone with its session."""
        ...


class Visit:
    """One session, from the accepted login to its end."""

    __slots__ = ("_active_at", "_entry", "_exit_code", "_has_ended", "_is_proved", "_is_relayed",
                 "_log", "_mailbox", "_owner", "_rest", "_server", "_tag", "stage")  # fmt: skip

    def __init__(self, owner: VisitOwner, server: "Pop3Server", log: Pop3Log, entry: Entry) -> None:
        self._owner = owner
        self._server = server
        self._log = log
        self._entry = entry
        self._tag, entry.tag = entry.tag, 0
        self._rest, entry.rest = entry.rest, b""
        self._is_proved = False
        self._is_relayed = True
        self._mailbox: Mailbox | None = None
        self._has_ended = False
        self._exit_code: int | None = None
        self._active_at = server.now()
        self.stage = Stage.STARTING

    def begin(self, proof: Proof, client_fd: int) -> None:
        """Have the session started. `client_fd`: the client's socket; -1: it can't be given away.

        Raises: OSError: no descriptor left.
        """
        self._is_proved = proof is Proof.PROVED
        line = self._server.line
        line.pass_on(self._tag, self)
        self._is_relayed = client_fd < 0 or bool(self._rest) or not self._is_proved
        if not self._is_relayed:
            line.start(self._tag, os.dup(client_fd))
            return
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        connecting = loop.create_connection(lambda: Mailbox(self), sock=ours)
        self._server.run(loop.create_task(_done(connecting)))
        line.start(self._tag, theirs.detach())

    # --- what the line calls --------------------------------------------------------------------

    def on_challenge(self, data: bytes) -> None:
        """There is nothing left to be proved."""

    def on_accepted(self, login: bytes, proof: Proof) -> None:
        """There is nothing left to be accepted."""

    def on_refused(self, reason: Refusal) -> None:
        """Tell the client: its login was good, but there is no session."""
        self._tag = 0
        if self.stage in (Stage.STARTING, Stage.RELAY):
            self._log.denied(REFUSALS[reason])
            self._end(REFUSALS[reason])

    def on_begun(self) -> None:
        """Leave the client to its session, or carry for it what it has sent already."""
        if self.stage is not Stage.STARTING:
            return
        self._active_at = self._server.now()
        if self._is_proved:
            self._log.logged_in(self._owner.shown_tls())
        if not self._is_relayed:
            self.stage = Stage.DIRECT
            self._owner.leave()
            return
        self.stage = Stage.RELAY
        self._send_rest()

    def on_ended(self, code: int | None) -> None:
        """Learn that the session's process is gone; None: nobody knows."""
        self._tag = 0
        self._exit_code = 111 if code is None else code
        if self.stage is Stage.DIRECT:
            self.stage = Stage.OVER
            self._log.ended()
            self._owner.forget()
        elif self.stage is Stage.STARTING and not self._is_relayed:
            self._end(replies.LOGIN_TROUBLE)
        elif self._has_ended:
            self._settle()

    # --- what the mailbox calls -----------------------------------------------------------------

    def on_mailbox_up(self, mailbox: Mailbox) -> None:
        """Take our end of the pair."""
        self._mailbox = mailbox
        if self.stage is Stage.OVER:
            mailbox.close()
        elif self.stage is Stage.RELAY:
            self._send_rest()

    def on_mailbox_said(self, data: bytes) -> None:
        """Pass on what the session says."""
        # It can be faster than the frame that tells of its beginning.
        self.on_begun()
        if self.stage is Stage.RELAY:
            self._active_at = self._server.now()
            if not self._is_proved:
                self._on_first_word(data)
            self._owner.send(data)

    def _on_first_word(self, data: bytes) -> None:
        """A session without a proof has begun: so the password was good."""
        self._is_proved = True
        if data.startswith(b"+"):
            self._entry.count_success()
            self._log.logged_in(self._owner.shown_tls())

    def on_mailbox_end(self) -> None:
        """End our side: the session says no more."""
        if self._has_ended or self.stage is Stage.OVER:
            return
        self._has_ended = True
        self._active_at = self._server.now()
        if self._is_proved or self._exit_code is not None:
            self._settle()

    def _settle(self) -> None:
        """The session has ended, and if its exit code matters that is known."""
        if self.stage is Stage.OVER:
            return
        if self._is_proved and self.stage is Stage.RELAY:
            self._end(None)
            return
        code = self._exit_code
        is_refused = not (self._is_proved or code is None or code in NO_TELLING or code >= SIGNALS)
        reply = replies.LOGIN_REFUSED if is_refused else replies.LOGIN_TROUBLE
        if is_refused:
            self._entry.count_failure()
        self._log.denied(reply)
        self._end(reply)

    def on_mailbox_room(self) -> None:
        """Go on or stop reading from the client."""
        self._owner.set_reading()

    # --- what the connection calls --------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """True while nothing should be read from the client."""
        return self.stage is not Stage.RELAY or self._mailbox is None or self._mailbox.is_full

    def client_said(self, data: bytes) -> None:
        """Pass on what the client says."""
        self._active_at = self._server.now()
        if self.stage is Stage.RELAY and self._mailbox is not None:
            self._mailbox.write(data)
        elif self._is_relayed:
            self._rest += data
        elif data:
            # Read although reading was off: the session can't be given what is missing.
            self._owner.cut_off()

    def client_ended(self) -> None:
        """Pass on that the client sends no more."""
        if self.stage is Stage.RELAY and self._mailbox is not None:
            self._mailbox.write_eof()

    def client_blocked(self, *, is_blocked: bool) -> None:
        """Read from the session only as fast as the client reads."""
        self._active_at = self._server.now()
        if self._mailbox is not None:
            self._mailbox.set_reading(is_wanted=not is_blocked)

    def client_lost(self) -> None:
        """End: the session sees that its client is gone, and ends by itself."""
        was_starting = self.stage is Stage.STARTING
        self._close()
        self._log.ended()
        if was_starting and self._tag:
            self._server.line.give_up(self._tag)

    def deadline(self, timeout_s: float) -> float:
        """Return when this has taken too long."""
        is_waited_for = self.stage is Stage.STARTING or (self._has_ended and not self._is_proved)
        return self._active_at + (START_S_MAX if is_waited_for else timeout_s + RELAY_S_MORE)

    def time_is_up(self) -> None:
        """End a session that does not begin, or does not end."""
        if self._tag:
            self._server.line.give_up(self._tag)
            self._tag = 0
        if self.stage is Stage.STARTING or not self._is_proved:
            self._log.denied(replies.LOGIN_TROUBLE)
            self._end(replies.LOGIN_TROUBLE)
        else:
            self._owner.cut_off()

    def _send_rest(self) -> None:
        if self._mailbox is not None:
            rest, self._rest = self._rest, b""
            self._mailbox.write(rest)
            if self._owner.has_eof:
                self._mailbox.write_eof()
        self._owner.set_reading()

    def _end(self, reply: Reply | None) -> None:
        self._close()
        self._owner.finish(reply)

    def _close(self) -> None:
        self.stage = Stage.OVER
        if self._mailbox is not None:
            self._mailbox.close()


async def _done(connecting: Coroutine[Any, Any, object]) -> None:
    await connecting
