"""Netstrings: the framing of every inner door, with a limit on each length.

Source: D. J. Bernstein, "Netstrings", 1997: decimal length, colon, bytes, comma.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # sendmail imports this file, and neither of these
    from collections.abc import Iterable
    from typing import Final

LENGTH_DIGITS_MAX: Final = 9
_SHORT: Final = {b"%d" % length: length for length in range(256)}
"""Most lengths, as they are written: to look them up takes less than to read them."""


class FrameError(ValueError):
    """The bytes are not a netstring, or one longer than allowed. The connection is useless now."""


def pack(payload: bytes) -> bytes:
    """Wrap `payload` into one netstring."""
    return b"%d:%b," % (len(payload), payload)


def pack_fields(*fields: bytes) -> bytes:
    """Return the netstrings of `fields` one after the other, not wrapped."""
    return b"".join([b"%d:%b," % (len(field), field) for field in fields])


def unpack_fields(packed: bytes, count: int) -> list[bytes]:
    """Split `packed` into exactly `count` netstrings.

    Raises: FrameError: a bad netstring, or another number of them.
    """
    # `_take`, written out: every message passes here several times.
    fields = []
    start = 0
    for _ in range(count):
        colon = packed.find(b":", start, start + LENGTH_DIGITS_MAX + 1)
        digits = packed[start:colon]
        if colon < 0:
            raise FrameError("no length")
        length = _SHORT.get(digits)
        end = colon + 1 + (_length(digits, len(packed)) if length is None else length)
        if packed[end : end + 1] != b",":
            raise FrameError("no comma")
        fields.append(packed[colon + 1 : end])
        start = end + 1
    if start != len(packed):
        raise FrameError("more fields than expected")
    return fields


def iter_fields(packed: bytes) -> Iterable[bytes]:
    """Yield the netstrings in `packed` up to its end.

    Raises: FrameError: a bad or unfinished netstring.
    """
    start = 0
    while start < len(packed):
        field, start = _take(packed, start, len(packed))
        yield field


def _take(packed: bytes, start: int, bytes_max: int) -> tuple[bytes, int]:
    colon = packed.find(b":", start, start + LENGTH_DIGITS_MAX + 1)
    if colon < 0:
        raise FrameError("no length")
    length = _length(packed[start:colon], bytes_max)
    end = colon + 1 + length
    if packed[end : end + 1] != b",":
        raise FrameError("no comma")
    return packed[colon + 1 : end], end + 1


def _length(digits: bytes, bytes_max: int) -> int:
    # isdigit first: int() would take signs, blanks and underscores.
    if not digits.isdigit() or (digits[0] == 48 and len(digits) > 1):
        raise FrameError("bad length")
    length = int(digits)
    if length > bytes_max:
        raise FrameError(f"longer than {bytes_max} bytes")
    return length


class FrameReader:
    """Cuts a stream of bytes into netstring payloads of at most `bytes_max` bytes each."""

    __slots__ = ("_buffer", "_bytes_max", "_wanted")

    def __init__(self, bytes_max: int) -> None:
        self._buffer = bytearray()
        self._bytes_max = bytes_max
        self._wanted = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the stream; return every payload that is now complete.

        Raises: FrameError: bad or padded length, more than `bytes_max`, or no comma.
        """
        buffer, whole = self._buffer, data
        if buffer:
            buffer += data
            if len(buffer) < self._wanted:
                return []
            whole = bytes(buffer)
            buffer.clear()
        payloads: list[bytes] = []
        start = 0
        self._wanted = 0
        while start < len(whole):
            colon = whole.find(b":", start, start + LENGTH_DIGITS_MAX + 1)
            if colon < 0:
                if len(whole) - start > LENGTH_DIGITS_MAX or not whole[start:].isdigit():
                    raise FrameError("no length")
                break
            end = colon + 1 + _length(whole[start:colon], self._bytes_max)
            if end >= len(whole):
                self._wanted = end + 1 - start
                break
            if whole[end] != 44:
                raise FrameError("no comma")
            payloads.append(whole[colon + 1 : end])
            start = end + 1
        buffer += whole[start:]
        return payloads

    @property
    def is_empty(self) -> bool:
        """True when the stream could end here without cutting a frame."""
        return not self._buffer
