"""One client's connection, in clear or with TLS: the program above sees plain bytes either way."""

import asyncio
import ssl

from qmail.edge.tls.session import ServerTls


class TlsStream:
    """Carries plain bytes over a transport, and TLS from the moment it is started."""

    __slots__ = ("has_ended", "tls", "transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.tls: ServerTls | None = None
        self.has_ended = False
        """True when the client sends no more."""

    @property
    def is_ready(self) -> bool:
        """False as long as a handshake is under way."""
        return self.tls is None or self.tls.is_established

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on; what was written before goes out in clear."""
        self.tls = ServerTls(context)

    def received(self, data: bytes) -> bytes:
        """Return what the client says with `data`; b"" as `data` is the end of its input.

        Raises: TlsError: no TLS, or broken; what tells the client so is on its way.
        """
        if self.tls is None:
            self.has_ended = self.has_ended or not data
            return data
        self.tls.feed(data)
        found = []
        try:
            while said := self.tls.read():
                found.append(said)
        finally:
            self.flush()
        self.has_ended = self.tls.has_ended
        return b"".join(found)

    def write(self, data: bytes) -> None:
        """Send `data` to the client. Raises: TlsError: the connection is broken."""
        if self.tls is None:
            if data:
                self.transport.write(data)
            return
        self.tls.write(data)
        self.flush()

    def flush(self) -> None:
        """Send what TLS has to say by itself."""
        out = b"" if self.tls is None else self.tls.bytes_to_send()
        if out and not self.transport.is_closing():
            self.transport.write(out)

    def end(self) -> None:
        """End our side behind what was written; the client may still send."""
        if self.tls is not None:
            self.tls.end()
            self.flush()
        if not self.transport.is_closing():
            self.transport.write_eof()
