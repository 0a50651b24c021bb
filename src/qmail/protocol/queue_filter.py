"""Which queued messages, and which of their recipients, an operator means.

Addresses are matched by patterns with `*`, `?` and `[...]`: the local part as it is written, the
domain in any case. A reason is an enhanced status code, matched whole, or text in any case.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from typing import Final

from qmail.mail import Channel
from qmail.protocol.netstring import FrameError, pack_fields, unpack_fields
from qmail.protocol.queue_door import number

NUMBERS_MAX: Final = 10000
PATTERN_BYTES_MAX: Final = 1024
SECONDS_MAX: Final = 10**10
_CODE: Final = re.compile(rb"[245]\.\d{1,3}\.\d{1,3}")
_CHANNELS: Final = {b"local": Channel.LOCAL, b"remote": Channel.REMOTE}
_FIELDS: Final = 10

Matcher = Callable[[bytes], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What has to be true of a message and a recipient; a field that is None or empty: anything."""

    numbers: tuple[int, ...] = ()
    sender: bytes | None = None
    recipient: bytes | None = None
    older_s: int | None = None
    younger_s: int | None = None
    reason: bytes | None = None
    channel: Channel | None = None
    held: bool = False
    size_min: int | None = None
    size_max: int | None = None

    @property
    def names_recipients(self) -> bool:
        """True where it can be true of one recipient of a message and not of another."""
        chooses = self.held or self.channel is not None
        return chooses or self.recipient is not None or self.reason is not None

    @property
    def is_empty(self) -> bool:
        """True where it lets everything pass."""
        return self == Filter()

    def pack(self) -> bytes:
        """Return it as it crosses a door."""
        return pack_fields(
            b" ".join([b"%d" % each for each in self.numbers]),
            _maybe(self.sender),
            _maybe(self.recipient),
            _maybe_number(self.older_s),
            _maybe_number(self.younger_s),
            _maybe(self.reason),
            b"" if self.channel is None else self.channel.word.encode(),
            b"held" if self.held else b"",
            _maybe_number(self.size_min),
            _maybe_number(self.size_max),
        )

    @classmethod
    def unpack(cls, packed: bytes) -> "Filter":
        """Parse what `pack` made. Raises: FrameError: it is something else."""
        fields = unpack_fields(packed, _FIELDS)
        numbers, sender, recipient, older, younger, reason, channel, held, least, most = fields
        words = numbers.split(b" ") if numbers else []
        wrong_channel = channel and channel not in _CHANNELS
        if len(words) > NUMBERS_MAX or wrong_channel or held not in (b"", b"held"):
            raise FrameError("not a filter")
        return cls(
            numbers=tuple(number(word) for word in words),
            sender=_text(sender),
            recipient=_text(recipient),
            older_s=_number(older),
            younger_s=_number(younger),
            reason=_text(reason),
            channel=_CHANNELS.get(channel),
            held=bool(held),
            size_min=_number(least),
            size_max=_number(most),
        )

    # --- matching -------------------------------------------------------------------------------

    def takes_age(self, age_s: int) -> bool:
        """Say whether a message of this age is meant."""
        return (self.older_s is None or age_s >= self.older_s) and (
            self.younger_s is None or age_s < self.younger_s
        )

    def takes_size(self, size: int) -> bool:
        """Say whether a message of so many bytes is meant."""
        return (self.size_min is None or size >= self.size_min) and (
            self.size_max is None or size <= self.size_max
        )

    def takes_sender(self, sender: bytes) -> bool:
        """Say whether a message of this sender is meant; b"" is the sender of bounces."""
        return self.sender is None or address_matcher(self.sender)(sender)

    def takes_recipient(self, channel: Channel, address: bytes) -> bool:
        """Say whether this recipient is meant, as far as the address tells."""
        if self.channel is not None and channel is not self.channel:
            return False
        return self.recipient is None or address_matcher(self.recipient)(address)

    def takes_reason(self, reason: bytes) -> bool:
        """Say whether a recipient that was deferred for this reason is meant."""
        return self.reason is None or reason_matcher(self.reason)(reason)


@lru_cache(maxsize=16)
def address_matcher(pattern: bytes) -> Matcher:
    """Return what tells whether an address fits; a pattern without `@` names a domain.

    `<>` is the empty address.
    """
    if pattern in (b"", b"<>"):
        return lambda address: not address
    local, at, domain = pattern.rpartition(b"@")
    if pattern == b"*":
        return lambda _: True
    fits_local = _glob(local if at else b"*")
    fits_domain = _glob(domain.lower())

    def fits(address: bytes) -> bool:
        local, _, domain = address.rpartition(b"@")
        return fits_local(local) and fits_domain(domain.lower())

    return fits


@lru_cache(maxsize=16)
def reason_matcher(wanted: bytes) -> Matcher:
    """Return what tells whether a reason fits: it has this code, or else this text in it."""
    if _CODE.fullmatch(wanted):
        whole = re.compile(rb"(?<![\d.])" + re.escape(wanted) + rb"(?![\d]|\.\d)")
        return lambda reason: whole.search(reason) is not None
    folded = wanted.lower()
    return lambda reason: folded in reason.lower()


def _glob(pattern: bytes) -> Matcher:
    if pattern.strip(b"*") == b"" and pattern:
        return lambda _: True
    # Bytes 128 to 255 are letters like others: latin-1 keeps each of them one character.
    compiled = re.compile(translate(pattern.decode("latin-1")).encode("latin-1"))
    return lambda text: compiled.match(text) is not None


def code_of(reason: bytes) -> bytes:
    """Return the enhanced status code in a reason, b"" where there is none."""
    found = _CODE.search(reason)
    return found[0] if found else b""


def _maybe(text: bytes | None) -> bytes:
    return b"" if text is None else b"=" + text


def _maybe_number(value: int | None) -> bytes:
    return b"" if value is None else b"%d" % value


def _text(field: bytes) -> bytes | None:
    if not field:
        return None
    if field[:1] != b"=" or len(field) > PATTERN_BYTES_MAX + 1:
        raise FrameError("not a pattern")
    return field[1:]


def _number(field: bytes) -> int | None:
    return number(field) if field else None
