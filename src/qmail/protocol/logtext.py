"""Text that may stand in a log field (spec/logging.md 1)."""

from typing import Final

SAFE: Final = bytes(
    47 if byte == 10 else 95 if byte < 33 or byte > 126 or byte == 37 else byte
    for byte in range(256)
)
"""For bytes.translate: a line feed becomes a slash; other unprintable bytes, blanks and % become
an underscore."""


def safe(text: bytes) -> bytes:
    """Return `text` without blanks and other bytes that would break a log field."""
    return text.translate(SAFE)
