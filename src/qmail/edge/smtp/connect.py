"""One SMTP connection to one server: moves bytes between a socket and an `SmtpClient`.

Everything happens in callbacks of the event loop: no task and no timer is made for a message. The
owner looks at `deadline` now and then and calls `time_out`.
"""

import asyncio
from typing import Final, Generic, Protocol, TypeVar, cast

from qmail.edge.smtp.body import Body
from qmail.mail import Result, deferred
from qmail.protocol.remote_reports import Outcome
from qmail.protocol.smtp_client import Event, SmtpClient, State

GOODBYE_S_MAX: Final = 5.0
"""How long a closing connection may take to get rid of its last bytes."""
RECEIVE_BYTES: Final = 65536

CANNOT_READ: Final = deferred(b"Unable to read message. (#4.3.0)\n")


class Message(Protocol):
    """A message to pass on."""

    @property
    def sender(self) -> bytes:
        """The reverse-path."""
        ...

    @property
    def recipients(self) -> tuple[bytes, ...]:
        """Who gets it at this server."""
        ...

    @property
    def deadline(self) -> float:
        """When all attempts together must be over, in the loop's time."""
        ...

    def load(self) -> Body | Result:
        """Open it anew, for one attempt; or say why it can't be sent."""
        ...


Carried = TypeVar("Carried", bound=Message)


class Owner(Protocol[Carried]):
    """Who uses connections."""

    def is_open(self, connection: "Connection[Carried]") -> None:
        """Take note: the server's machine has taken the connection."""
        ...

    def is_free(self, connection: "Connection[Carried]") -> None:
        """Take note: this connection is ready for a message."""
        ...

    def is_over(
        self, connection: "Connection[Carried]", message: Carried | None, outcome: Outcome
    ) -> None:
        """Take note: the message, or (None) the attempt to get ready for one, has ended."""
        ...

    def is_gone(self, connection: "Connection[Carried]") -> None:
        """Take note: this connection will never be of use again."""
        ...


class Connection(asyncio.Protocol, Generic[Carried]):
    """One connection, from connect to close; passes on one message at a time."""

    def __init__(self, owner: Owner[Carried], client: SmtpClient, wait_s_max: float) -> None:
        self.client = client
        self.closed = asyncio.get_running_loop().create_future()
        """Done when the socket is closed."""
        self.deadline = float("inf")
        self.was_open = False
        self._owner = owner
        self._wait_s_max = wait_s_max
        self._now = asyncio.get_running_loop().time
        self._transport: asyncio.Transport | None = None
        self._message: Carried | None = None
        self._body: Body | None = None
        self._is_paused = False
        self._has_left = False
        self._goodbye: asyncio.TimerHandle | None = None

    def is_late(self, now: float) -> bool:
        """Say whether the server, or the message as a whole, has had its time."""
        message = self._message
        return self.deadline <= now or (message is not None and message.deadline <= now)

    def begin(self, message: Carried, body: Body) -> None:
        """Start passing on `message`; `body` is ours from now on.

        Raises: OSError: the message can't be read; the connection is as it was.
        """
        client = self.client
        wire_bytes, is_8bit = body.measure() if client.wants_measures else (0, False)
        self._message = message
        self._body = body
        client.begin(message.sender, message.recipients, wire_bytes, is_8bit=is_8bit)
        self._write(client.bytes_to_send())
        self._extend()

    def quit(self) -> None:
        """Say goodbye; only while no message is under way."""
        self.client.quit()
        self._leave()

    def hang_up(self) -> None:
        """Close as soon as QUIT is written, without waiting for its answer."""
        if self._transport is not None:
            self._transport.close()

    def time_out(self) -> None:
        """Give up waiting for the server."""
        self._abort()
        self.client.lost()
        self._pump()

    # --- called by the event loop ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the greeting."""
        # asyncio asks for 256 KiB at each read, which costs three system calls more.
        if hasattr(transport, "max_size"):
            transport.max_size = RECEIVE_BYTES
        # The transports of uvloop are not in asyncio's class tree.
        self._transport = cast("asyncio.Transport", transport)
        self.was_open = True
        self._extend()
        self._owner.is_open(self)

    def data_received(self, data: bytes) -> None:
        """Take what the server says."""
        if self.client.state is State.CLOSED:
            # The answer to QUIT: now both sides know.
            self._abort()
            return
        self._extend()
        self.client.feed(data)
        self._pump()

    def eof_received(self) -> bool:
        """Let the transport close; `connection_lost` follows."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Find out what the loss means for the message under way."""
        del exc
        self._transport = None
        self.client.lost()
        self._pump()
        self._leave()
        if self._goodbye is not None:
            self._goodbye.cancel()
        self.closed.set_result(None)

    def pause_writing(self) -> None:
        """Stop reading the file: the server is slower than we are."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Go on with the message."""
        self._is_paused = False
        if self._body is not None and self.client.state is State.BODY:
            self._extend()
            self._send_body()
            self._pump()

    # --- parts of the above ---------------------------------------------------------------------

    def _pump(self) -> None:
        client = self.client
        while (event := client.next_event()) is not None:
            if event is Event.SEND_BODY:
                self._send_body()
            elif event is Event.FINISHED:
                self._finish()
            elif event is Event.READY:
                # A server that speaks before it is asked may have changed its mind already.
                if client.state is State.READY:
                    self._owner.is_free(self)
            elif client.state is State.CLOSED:
                self._leave()
        self._write(client.bytes_to_send())

    def _finish(self) -> None:
        outcome = self.client.outcome
        assert outcome is not None
        message = self._message
        self._message = None
        if self._body is not None:
            self._body.close()
            self._body = None
        self._owner.is_over(self, message, outcome)

    def _send_body(self) -> None:
        body = self._body
        assert body is not None
        if body.whole is not None:
            self._write(body.whole)
            self.client.body_sent()
            return
        while not self._is_paused:
            try:
                part = body.next_part()
            except OSError:
                self.client.abandon(CANNOT_READ)
                # No dot and no QUIT: the server must not take the half for the whole.
                self._abort()
                return
            if not part:
                self.client.body_sent()
                break
            self._write(part)

    def _write(self, data: bytes) -> None:
        if data and self._transport is not None:
            self._transport.write(data)

    def _extend(self) -> None:
        self.deadline = self._now() + self._wait_s_max

    def _leave(self) -> None:
        if self._has_left:
            return
        self._has_left = True
        self._owner.is_gone(self)
        last_words = self.client.bytes_to_send()
        if last_words and self._transport is not None:
            self._write(last_words)
            loop = asyncio.get_running_loop()
            self._goodbye = loop.call_later(GOODBYE_S_MAX, self._abort)
        else:
            self._abort()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
