"""The mailbox's side of a relayed POP3 session: the resident server's end of a socket pair."""

import asyncio
from typing import Protocol, cast


class RelayOwner(Protocol):
    """The client's connection."""

    def on_mailbox_up(self, mailbox: "Mailbox") -> None:
        """Send what waits."""
        ...

    def on_mailbox_said(self, data: bytes) -> None:
        """Pass on what the session says."""
        ...

    def on_mailbox_end(self) -> None:
        """Learn that the session says no more."""
        ...

    def on_mailbox_room(self) -> None:
        """Go on or stop: `is_full` has changed."""
        ...


class Mailbox(asyncio.Protocol):
    """The session's process, as seen by the connection that it belongs to."""

    __slots__ = ("_owner", "_transport", "is_full")

    def __init__(self, owner: RelayOwner) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self.is_full = False
        """True while the session takes no more: the client is not read from."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # Not isinstance: uvloop's transports have the methods and not the class.
        self._transport = cast("asyncio.Transport", transport)
        self._owner.on_mailbox_up(self)

    def data_received(self, data: bytes) -> None:
        """Pass on what the session says."""
        self._owner.on_mailbox_said(data)

    def eof_received(self) -> bool:
        """Let what was written before go on its way; the owner closes."""
        self._owner.on_mailbox_end()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        del exc
        self._transport = None
        self._owner.on_mailbox_end()

    def pause_writing(self) -> None:
        """Stop: the session does not read."""
        self.is_full = True
        self._owner.on_mailbox_room()

    def resume_writing(self) -> None:
        """Go on."""
        self.is_full = False
        self._owner.on_mailbox_room()

    # --- what the owner calls -------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send to the session."""
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def write_eof(self) -> None:
        """Tell the session that the client sends no more."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def set_reading(self, *, is_wanted: bool) -> None:
        """Read from the session, or stop until the client has taken what there is."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            if is_wanted:
                transport.resume_reading()
            else:
                transport.pause_reading()

    def close(self) -> None:
        """Close this end, at once."""
        if self._transport is not None:
            self._transport.abort()
