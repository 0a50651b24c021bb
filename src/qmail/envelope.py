"""The envelope: who sent a message and who gets it. Part of `qmail.mail`, which exports it.

It stands alone so that sendmail and qmail-inject need not import the rest of the nouns.
"""

from __future__ import annotations

from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

ADDRESS_BYTES_MAX: Final = 1002
"""Longest envelope address: its NUL must be among the first 1003 bytes (spec/queue.md 4)."""


class BadEnvelopeError(ValueError):
    """An envelope that may not enter the queue. `too_long` tells the two reasons apart."""

    def __init__(self, reason: str, *, too_long: bool = False) -> None:
        super().__init__(reason)
        self.too_long = too_long


class _Parties(Record):
    sender: bytes
    recipients: tuple[bytes, ...]


class Envelope(_Parties):
    """Who sent it and who gets it. `sender` b"" is the null reverse-path (RFC 5321 4.5.5)."""

    __slots__ = ()

    def __new__(cls, sender: bytes, recipients: tuple[bytes, ...]) -> Envelope:
        """Check the addresses.

        Raises: BadEnvelopeError: a NUL inside an address, or more than ADDRESS_BYTES_MAX bytes.
        """
        for address in (sender, *recipients):
            if 0 in address:  # a number: looking for bytes in bytes costs eight times as much
                raise BadEnvelopeError("NUL inside an address")
            if len(address) > ADDRESS_BYTES_MAX:
                raise BadEnvelopeError("address too long", too_long=True)
        return tuple.__new__(cls, (sender, recipients))

    def pack(self) -> bytes:
        """Return the form that qmail-queue reads: F, sender, NUL, (T, recipient, NUL)*, NUL."""
        if not self.recipients:
            return b"F%b\0\0" % self.sender
        return b"F%b\0T%b\0\0" % (self.sender, b"\0T".join(self.recipients))

    @classmethod
    def unpack(cls, packed: bytes) -> Envelope:
        """Parse what `pack` made; the closing NUL must be the last byte.

        Raises: BadEnvelopeError: wrong letters, missing NUL, or an address over the limit.
        Source: spec/queue.md 4, steps 12 and 14.
        """
        if not packed.startswith(b"F"):
            raise BadEnvelopeError("envelope does not start with F")
        if not packed.endswith(b"\0\0"):
            raise BadEnvelopeError("envelope does not end with two NULs")
        # What is no recipient stays behind its NUL, in an address, where none may be.
        sender, *recipients = packed[1:-2].split(b"\0T")
        return cls(sender, tuple(recipients))
