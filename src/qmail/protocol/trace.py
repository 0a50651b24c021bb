"""What a message has passed: the Received line a server adds, and the count of those it has."""

import re
from dataclasses import dataclass
from typing import Final

HOPS_MAX: Final = 100
"""A message with this many fields of earlier hops is looping (RFC 5321 6.3)."""
_NAME_BYTES_MAX: Final = 64

_KEPT: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.@%+/=:-[]"
_SAFE: Final = bytes(byte if byte in _KEPT else ord("?") for byte in range(256))
_HOP: Final = re.compile(rb"\n(?:received|delivered-to)[ \t]*:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """What is known of a client, for the Received line."""

    host: bytes = b"unknown"
    """Its reverse name."""
    ip: bytes = b"unknown"
    info: bytes | None = None
    """TCPREMOTEINFO, where somebody asked."""
    local: bytes = b"unknown"
    """The name of this end."""


def received_start(peer: Peer, helo: bytes, protocol: bytes) -> bytes:
    """Return the Received line up to the message's id, which a semicolon and the date follow.

    `helo` is empty before any HELO. `protocol` is SMTP or ESMTP (RFC 3848).
    Source: spec/smtp.md A.7.
    """
    host = peer.host.translate(_SAFE)
    helo = helo.translate(_SAFE)
    said = b" (HELO %b)" % helo if helo and helo.lower() != host.lower() else b""
    info = peer.info.translate(_SAFE) + b"@" if peer.info is not None else b""
    return b"Received: from %b%b (%b%b)\n  by %b with %b id " % (
        host,
        said,
        info,
        peer.ip.translate(_SAFE),
        peer.local.translate(_SAFE),
        protocol,
    )


class HopCounter:
    """Counts the header fields named exactly Received or Delivered-To of a stored message."""

    __slots__ = ("_line", "count", "is_in_header")

    def __init__(self) -> None:
        self._line = b"\n"
        """The last line so far, with the LF before it, while it may still become a hop."""
        self.count = 0
        self.is_in_header = True

    def feed(self, part: bytes) -> None:
        """Look at the next part of the message; after the header it costs nothing."""
        if not self.is_in_header:
            return
        text = self._line + part
        end = text.find(b"\n\n")
        if end >= 0:
            self.is_in_header = False
            text = text[:end]
        lowered = text.lower()
        # Most parts have none: two counts are cheaper than one search with the pattern.
        if lowered.count(b"\nreceived") + lowered.count(b"\ndelivered-to"):
            self.count += len(_HOP.findall(lowered))
        last = lowered[lowered.rfind(b"\n") :] if 10 in lowered else b""
        self._line = b"" if 58 in last or len(last) > _NAME_BYTES_MAX else last
