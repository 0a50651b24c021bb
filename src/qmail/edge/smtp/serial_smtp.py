"""One SMTP connection that somebody else opened, and messages over it, one after the other.

The conversation is protocol/smtp_client.py's; here are its bytes, its deadlines and the files.
"""

import contextlib
import os
import time
from typing import Final

from qmail.edge.smtp.body import Body
from qmail.edge.tools.line_tool import ToolError, reason_of
from qmail.edge.tools.serial_input import Stored
from qmail.edge.wires.timed_wire import TimedWire, WireError
from qmail.mail import failed
from qmail.protocol.remote_reports import Outcome
from qmail.protocol.smtp_client import Event, SmtpClient, State, is_sendable

REPLY_S_MAX: Final = 600
"""A reply may come in many pieces, but is whole after so long (RFC 5321 4.5.3.2.6)."""
GOODBYE_S_MAX: Final = 5
BAD_ADDRESS: Final = Outcome((), failed(b"An address can't be written in SMTP. (#5.1.3)\n"))


class SerialSmtp:
    """The connection."""

    def __init__(self, wire: TimedWire, peer: bytes, helohost: bytes) -> None:
        self._wire = wire
        self._client = SmtpClient(peer, helohost)

    @property
    def is_open(self) -> bool:
        """True while another message can be sent."""
        return self._client.state is not State.CLOSED

    def greet(self) -> None:
        """Wait until the server takes mail.

        Raises: ToolError: it does not.
        """
        while self._client.state is not State.READY:
            if self._next() in (Event.FINISHED, Event.CLOSED):
                outcome = self._client.outcome
                said = b"" if outcome is None else outcome.result.text.replace(b"\n", b" ").strip()
                raise ToolError(f"connected but the server takes no mail: {said.decode('latin-1')}")

    def send(self, stored: Stored) -> Outcome:
        """Offer one message. Returns what became of it.

        Raises: ToolError: nothing was said of it that counts: the connection broke, the server
        does not speak SMTP, or the message can't be read.
        """
        if not is_sendable(stored.top.sender) or not is_sendable(stored.recipient):
            os.close(stored.fd)
            return BAD_ADDRESS
        client = self._client
        with contextlib.closing(_body(stored)) as body:
            while client.state is not State.READY:
                # The answer to RSET is still under way.
                if self._next() is Event.CLOSED:
                    raise ToolError("the server has closed the connection")
            wire_bytes, is_8bit = body.measure() if client.wants_measures else (0, False)
            client.begin(stored.top.sender, (stored.recipient,), wire_bytes, is_8bit=is_8bit)
            while (event := self._next()) is not Event.FINISHED:
                if event is Event.SEND_BODY:
                    self._send_body(body)
        if client.is_broken:
            raise ToolError("protocol violation")
        assert client.outcome is not None
        return client.outcome

    def say_goodbye(self) -> None:
        """Say QUIT where a command may stand; whether it is answered makes no difference."""
        if self._client.state in (State.READY, State.RSET):
            self._client.quit()
        last_words = self._client.bytes_to_send()
        with contextlib.suppress(WireError):
            if last_words:
                self._wire.write(last_words)
                self._wire.read(time.monotonic() + GOODBYE_S_MAX)

    def _next(self) -> Event:
        """Return what is to be done next, when there is something."""
        client = self._client
        deadline = time.monotonic() + REPLY_S_MAX
        try:
            while (event := client.next_event()) is None:
                self._wire.write(client.bytes_to_send())
                client.feed(self._wire.read(deadline))
        except WireError as gone:
            raise ToolError(str(gone)) from None
        return event

    def _send_body(self, body: Body) -> None:
        client, wire = self._client, self._wire
        try:
            if body.whole is not None:
                wire.write(body.whole)
            else:
                while client.state is State.BODY and (part := body.next_part()):
                    wire.write(part)
                    if wire.is_readable():
                        # It refuses in the middle of the message, and the rest would be commands.
                        client.feed(wire.read())
        except WireError as gone:
            raise ToolError(str(gone)) from None
        except OSError as trouble:
            raise ToolError(f"unable to read file: {reason_of(trouble)}") from None
        client.body_sent()


def _body(stored: Stored) -> Body:
    try:
        return Body.of_file(stored.fd, stored.size, stored.top.size)
    except OSError as trouble:
        raise ToolError(f"unable to read file: {reason_of(trouble)}") from None
