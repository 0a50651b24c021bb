"""The nouns that all floors share: envelope, message number, job, result. Frozen, no I/O."""

from enum import IntEnum
from typing import Final, NamedTuple

from qmail.envelope import ADDRESS_BYTES_MAX, BadEnvelopeError, Envelope

__all__ = [
    "ADDRESS_BYTES_MAX",
    "SPARE_BYTES_MAX",
    "BadEnvelopeError",
    "Channel",
    "Envelope",
    "Letter",
    "Result",
    "deferred",
    "delivered",
    "failed",
]

SPARE_BYTES_MAX: Final = 65536
"""The queue's files of longer messages are unlinked when they are done; shorter ones are written
again later, so no program that may keep them open gets them (edge/children/private_copy.py)."""


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


_LETTERS: Final = {bytes((letter,)): letter for letter in Letter}


class Result(NamedTuple):
    """The end of one delivery attempt: a letter, and text for the log and the bounce."""

    letter: Letter
    text: bytes

    def pack(self) -> bytes:
        """Return the report as it crosses a door: the letter, then the text."""
        return bytes((self.letter,)) + self.text

    @classmethod
    def unpack(cls, report: bytes) -> "Result | None":
        """Parse a report. Returns None where the letter is not one of K, Z, D."""
        letter = _LETTERS.get(report[:1])
        return None if letter is None else cls(letter, report[1:])


def delivered(text: bytes = b"") -> Result:
    """Make the result of a success."""
    return Result(Letter.DELIVERED, text)


def deferred(text: bytes) -> Result:
    """Make the result of a temporary failure: also for anything we did not foresee."""
    return Result(Letter.DEFERRED, text)


def failed(text: bytes) -> Result:
    """Make the result of a permanent failure."""
    return Result(Letter.FAILED, text)
