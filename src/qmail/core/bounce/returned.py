"""How much of a message comes back with its bounce (control/bouncemaxbytes)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from qmail.core.bounce.rules import Material

HEADER_BYTES_MAX: Final = 65536
"""Of a longer header the beginning is returned."""
LINE_BYTES_MAX: Final = 998
NO_BINARY: Final = bytes(ord("?") if byte in b"\0\r" else byte for byte in range(256))
"""For bytes.translate."""

Parts = Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Returned:
    """What is returned of one message."""

    parts: Parts
    """Its bytes; the last one is a line feed."""
    why_cut: bytes = b""
    """A line that says why there is only the header; b"" where all of it is there."""


def returned(material: Material, bytes_max: int) -> Returned:
    """Return all of a message of at most `bytes_max` bytes, and the header of a longer one."""
    if material.size <= bytes_max:
        return Returned(lambda: ended(material.original()))
    reason = b": it has more than %d bytes" % bytes_max if bytes_max else b""
    return _header_alone(material, reason)


def returned_in_mime(material: Material, bytes_max: int) -> Returned:
    """Return the same, but the header alone where the rest can be neither 7bit nor 8bit.

    Source: RFC 2045 2.7, 2.8: no NUL, no CR without LF, no line of more than 998 bytes.
    """
    found = returned(material, bytes_max)
    if not found.why_cut and is_binary(found.parts()):
        return _header_alone(material, b": the rest can't stand in a report")
    return found


def _header_alone(material: Material, reason: bytes) -> Returned:
    return Returned(
        lambda: iter((header_of(material.original()).translate(NO_BINARY),)),
        b"--- Only its header is returned" + reason + b".\n",
    )


def ended(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Yield `parts` with a final line feed: without one they could not be sent by SMTP."""
    last = b""
    for last in parts:
        yield last
    if not last.endswith(b"\n"):
        yield b"\n"


def header_of(parts: Iterator[bytes]) -> bytes:
    """Return the beginning of a message, with the empty line that ends its header."""
    text = b""
    for part in parts:
        start = max(0, len(text) - 1)
        text += part
        end = text.find(b"\n\n", start)
        if 0 <= end < HEADER_BYTES_MAX:
            return text[: end + 2]
        if len(text) >= HEADER_BYTES_MAX:
            # Whole lines; of a line that is longer than all this nothing can be used.
            return text[: text.rfind(b"\n", 0, HEADER_BYTES_MAX) + 1] + b"\n"
    return text + (b"\n" if text.endswith(b"\n") else b"\n\n")


def is_8bit(parts: Iterator[bytes]) -> bool:
    """Tell whether there is a byte that ASCII does not have."""
    return not all(part.isascii() for part in parts)


def is_binary(parts: Iterator[bytes]) -> bool:
    """Tell whether there is something that neither 7bit nor 8bit may have."""
    line = b""
    for part in parts:
        # Searched for one by one: a pattern for all of it takes ten times as long.
        lines = (line + part).split(b"\n")
        if b"\0" in part or b"\r" in part or max(map(len, lines)) > LINE_BYTES_MAX:
            return True
        line = lines[-1]
    return False
