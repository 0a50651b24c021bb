"""How a message begins, made fit for a terminal: what qbiff and maildirwatch show."""

from __future__ import annotations

from qmail.protocol.header import HeaderReader, HeaderTooLongError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Final

    from qmail.protocol.header import Field

HEADER_BYTES_MAX: Final = 65536
BODY_BYTES: Final = 1024
"""No more of the body is asked for than this."""


def beginning(parts: Iterator[bytes]) -> tuple[Sequence[Field], bytes]:
    """Return the header of a message, and its text as far as it is at hand."""
    reader = HeaderReader(HEADER_BYTES_MAX)
    body: bytes | None = None
    try:
        while body is None:
            part = next(parts, b"")
            body = reader.feed(part) if part else reader.finish()
    except HeaderTooLongError:
        return reader.fields, b""
    while len(body) < BODY_BYTES and (part := next(parts, b"")):
        body += part
    return reader.fields, body.removeprefix(b"\n")


def gist(fields: Sequence[Field], body: bytes) -> bytes:
    """Return subject and text on one line, printable."""
    subjects = [field.value.strip() + b"\n" for field in fields if field.name == b"subject"]
    return printable(b"".join(subjects) + body[:BODY_BYTES], b"/")


def printable(text: bytes, other: bytes) -> bytes:
    """Replace every byte that a terminal might obey."""
    return bytes(byte if 32 <= byte <= 126 else other[0] for byte in text)
