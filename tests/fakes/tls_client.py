"""A TLS client without sockets, for the server that has none either."""

import contextlib
import ssl


class TlsClient:
    """Bytes in, bytes out: the other side of edge/tls/session.py."""

    def __init__(self, context: ssl.SSLContext, host: str = "me.ex") -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_hostname=host)
        self.is_established = False

    def feed(self, data: bytes) -> None:
        """Take what the server sent."""
        self._in.write(data)

    def shake_hands(self) -> bytes:
        """Go on with the handshake. Returns: what goes to the server now."""
        try:
            self.tls.do_handshake()
            self.is_established = True
        except ssl.SSLWantReadError:
            pass
        return self._out.read()

    def said(self, data: bytes) -> bytes:
        """Return what goes to the server for `data`."""
        self.tls.write(data)
        return self._out.read()

    def farewell(self) -> bytes:
        """Return what goes to the server to say that nothing more comes."""
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        return self._out.read()

    def heard(self) -> bytes:
        """Return all that the server said and can be read now."""
        found = b""
        try:
            while data := self.tls.read(65536):
                found += data
        except ssl.SSLWantReadError:
            pass
        return found
