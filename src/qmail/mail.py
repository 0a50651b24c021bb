"""The nouns that all floors share: envelope, message number, job, result. Frozen, no I/O."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NewType

ADDRESS_BYTES_MAX: Final = 1002
"""Longest envelope address: its NUL must be among the first 1003 bytes (spec/queue.md 4)."""

MessageId = NewType("MessageId", int)
"""Number of a queued message; for the queue on disk the inode number of its mess file."""


class BadEnvelopeError(ValueError):
    """An envelope that may not enter the queue. `too_long` tells the two reasons apart."""

    def __init__(self, reason: str, *, too_long: bool = False) -> None:
        super().__init__(reason)
        self.too_long = too_long


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who sent it and who gets it. `sender` b"" is the null reverse-path (RFC 5321 4.5.5)."""

    sender: bytes
    recipients: tuple[bytes, ...]

    def __post_init__(self) -> None:
        for address in (self.sender, *self.recipients):
            if b"\0" in address:
                raise BadEnvelopeError("NUL inside an address")
            if len(address) > ADDRESS_BYTES_MAX:
                raise BadEnvelopeError("address too long", too_long=True)

    def pack(self) -> bytes:
        """Return the form that qmail-queue reads: F, sender, NUL, (T, recipient, NUL)*, NUL."""
        parts = [b"F", self.sender, b"\0"]
        for recipient in self.recipients:
            parts += (b"T", recipient, b"\0")
        parts.append(b"\0")
        return b"".join(parts)

    @classmethod
    def unpack(cls, packed: bytes) -> "Envelope":
        """Parse what `pack` made; the closing NUL must be the last byte.

        Raises: BadEnvelopeError: wrong letters, missing NUL, or an address over the limit.
        Source: spec/queue.md 4, steps 12 and 14.
        """
        sender, *records = packed.split(b"\0")
        if not sender.startswith(b"F"):
            raise BadEnvelopeError("envelope does not start with F")
        if len(records) < 2 or records[-1] or records[-2]:
            raise BadEnvelopeError("envelope does not end with two NULs")
        if not all(record.startswith(b"T") for record in records[:-2]):
            raise BadEnvelopeError("a recipient does not start with T")
        return cls(sender[1:], tuple(record[1:] for record in records[:-2]))


class Channel(IntEnum):
    """The two ways out of the queue."""

    LOCAL = 0
    REMOTE = 1

    @property
    def word(self) -> str:
        """The channel's name in log lines and folder names."""
        return "remote" if self else "local"


class Letter(IntEnum):
    """How a delivery ended, by the first byte of its report (spec/delivery.md 10)."""

    DELIVERED = ord("K")
    DEFERRED = ord("Z")
    FAILED = ord("D")


@dataclass(frozen=True, slots=True)
class Result:
    """The end of one delivery attempt: a letter, and text for the log and the bounce."""

    letter: Letter
    text: bytes

    def pack(self) -> bytes:
        """Return the report as it crosses a door: the letter, then the text."""
        return bytes((self.letter,)) + self.text

    @classmethod
    def unpack(cls, report: bytes) -> "Result | None":
        """Parse a report. Returns None where the letter is not one of K, Z, D."""
        if report[:1] in (b"K", b"Z", b"D"):
            return cls(Letter(report[0]), report[1:])
        return None


def delivered(text: bytes = b"") -> Result:
    """Make the result of a success."""
    return Result(Letter.DELIVERED, text)


def deferred(text: bytes) -> Result:
    """Make the result of a temporary failure: also for anything we did not foresee."""
    return Result(Letter.DEFERRED, text)


def failed(text: bytes) -> Result:
    """Make the result of a permanent failure."""
    return Result(Letter.FAILED, text)
