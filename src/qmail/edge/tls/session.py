"""TLS without sockets: bytes in, bytes out. The caller does the I/O and keeps the deadlines.

It knows no protocol above it: SMTP and POP3 use the same. What came in clear before the handshake
never gets here, so nothing of it can be taken for what came protected (RFC 2595 2.1).
Source: RFC 9325 3 and 4 (versions, ciphers, renegotiation, compression).
"""

import contextlib
import ssl
from typing import Final

HANDSHAKE_S_MAX: Final = 60.0
"""Longest time that a caller should wait for the end of a handshake."""
HANDSHAKE_BYTES_MAX: Final = 65536
"""So much a client may send before its handshake is done."""
RECORD_BYTES: Final = 16384
"""Largest record, and so the most that one read of the library returns (RFC 8446 5.1)."""
_LINES: Final = {
    "KEY_VALUES_MISMATCH": "the private key is not the certificate's",
    "NO_START_LINE": "no certificate, or no private key, in PEM form",
    "BAD_BASE64_DECODE": "damaged: not base64 between its BEGIN and END lines",
    "EE_KEY_TOO_SMALL": "the key is too short: make one of 2048 bits, or P-256",
    "CA_MD_TOO_WEAK": "signed with a hash that nobody believes any more",
}


class TlsError(Exception):
    """TLS can't go on; the text says why, and names the file where one is the reason."""


def _no_password() -> str:
    raise TlsError("the private key is encrypted: a server needs one that is not")


def server_context(chain: str, key: str | None = None) -> ssl.SSLContext:
    """Return what all connections of a server share: a context with certificate and key.

    `chain`: path of a PEM file, the server's certificate first. `key`: path of the private key;
    None: it is in `chain`.

    Raises: TlsError: a file can't be read, is no PEM, or the two do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Renegotiation lets a client have the server compute for ever (RFC 9325 3.5).
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        context.load_cert_chain(chain, key, _no_password)
    except TlsError as wrong:
        raise TlsError(f"{key or chain}: {wrong}") from None
    except ssl.SSLError as wrong:
        where = chain if key is None else f"{chain}, {key}"
        raise TlsError(f"{where}: {_LINES.get(wrong.reason or '', _reason_of(wrong))}") from None
    except OSError as trouble:
        # The library does not say which of the two it was.
        where = chain if key is None else _unreadable_one(chain, key)
        raise TlsError(f"{where}: {trouble.strerror}") from None
    return context


def _unreadable_one(chain: str, key: str) -> str:
    try:
        with open(chain, "rb"):
            return key
    except OSError:
        return chain


def _reason_of(wrong: ssl.SSLError) -> str:
    if wrong.reason is None:
        return "not a certificate and its key in PEM form"
    return wrong.reason.lower().replace("_", " ")


class ServerTls:
    """The TLS of one connection, server side.

    `feed` what came from the client and `read` what it means; `write` what is to go there, and take
    from `bytes_to_send`. Reading also carries the handshake on, so call it after every `feed`.
    """

    __slots__ = ("_early", "_fed", "_in", "_kept", "_object", "_out", "has_ended", "is_established")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._in, self._out, server_side=True)
        self._early: list[bytes] = []
        self._kept: list[bytes] = []
        self._fed = 0
        self.is_established = False
        """True when the handshake is done."""
        self.has_ended = False
        """True when the client sends no more, with its farewell or without."""

    @property
    def bytes_pending(self) -> int:
        """How much was fed and not read: with a lot of it, feed no more."""
        return self._in.pending

    @property
    def name(self) -> str:
        """Version and cipher, for a log: `TLSv1.3:TLS_AES_256_GCM_SHA384`; "" before a handshake.

        The shape that other mail programs' log readers know has no blanks.
        """
        cipher = self._object.cipher()
        return f"{self._object.version()}:{cipher[0]}" if self.is_established and cipher else ""

    def feed(self, data: bytes) -> None:
        """Take what the client sent; b"" is the end of its input."""
        if data:
            self._fed += len(data)
            self._in.write(data)
        else:
            self._in.write_eof()

    def read(self, bytes_max: int = 4 * RECORD_BYTES) -> bytes:
        """Return what the client said, b"" where nothing is there now: then `has_ended` may be set.

        It returns `bytes_max` and less than a record more at most.
        Raises: TlsError: no TLS, or broken. `bytes_to_send` has the alert that tells the client.
        """
        if self._kept:
            return self._kept.pop(0)
        if not (self.is_established or self._shake_hands()):
            return b""
        return self._read(bytes_max)

    def _read(self, bytes_max: int) -> bytes:
        found: list[bytes] = []
        count = 0
        try:
            while count < bytes_max and not self.has_ended:
                data = self._object.read(RECORD_BYTES)
                if not data:
                    self.has_ended = True
                found.append(data)
                count += len(data)
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self.has_ended = True
        except ssl.SSLError as wrong:
            raise TlsError(_reason_of(wrong)) from None
        return b"".join(found) if len(found) != 1 else found[0]

    def _shake_hands(self) -> bool:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            if self._fed > HANDSHAKE_BYTES_MAX:
                raise TlsError("too long a handshake") from None
            return False
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self.has_ended = True
            return False
        except ssl.SSLError as wrong:
            raise TlsError(_reason_of(wrong)) from None
        self.is_established = True
        early, self._early = self._early, []
        for data in early:
            self.write(data)
        return True

    def write(self, data: bytes) -> None:
        """Add what is to go to the client; before the handshake is done it waits for that.

        Raises: TlsError: the connection is broken.
        """
        if not data:
            return
        if not self.is_established:
            self._early.append(data)
            return
        try:
            self._object.write(data)
        except ssl.SSLError as wrong:
            raise TlsError(_reason_of(wrong)) from None

    def end(self) -> None:
        """Say that no more will come (close_notify); what the client sends can still be read."""
        if not self.is_established:
            return
        # The library would throw away what the client has sent and nobody has read yet.
        with contextlib.suppress(TlsError):
            while data := self._read(RECORD_BYTES):
                self._kept.append(data)
        # The client's own farewell may be still to come.
        with contextlib.suppress(ssl.SSLError):
            self._object.unwrap()

    def bytes_to_send(self) -> bytes:
        """Return what is to go to the client now."""
        return self._out.read()
