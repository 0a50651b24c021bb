"""What a sender is told, and who that is: the rules that both forms of a bounce share.

core/bounce/text.py writes qmail's own form, QSBMF, core/bounce/report.py that of RFC 3464.
Source: spec/bounces.md.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from qmail.core.settings.controls import ControlError
from qmail.core.settings.programs import BounceFormat, SendControls
from qmail.mail import ADDRESS_BYTES_MAX, Envelope

NOBODY: Final = b"#@[]"
"""Sender of a double bounce: what comes back for it is dropped."""
TOO_LONG: Final = b"The message has been queued too long; no further attempt will be made.\n"
LINE_BYTES_MAX: Final = 900
"""A longer line of a report is cut in two: SMTP ends at 998 (RFC 5321 4.5.3.1.6)."""
_LATER_LF: Final = re.compile(rb"(?<=\n)\n")
_LONG_LINE: Final = re.compile(rb"[^\n]{%d}(?=[^\n])" % LINE_BYTES_MAX)
# Mailman's reader looks at every line, and not at the first of each paragraph alone.
_LIKE_A_PARAGRAPH: Final = re.compile(rb"^(?=[ \t]*[-<])", re.MULTILINE)
_SAFE_REPORT: Final = bytes(
    byte if 32 <= byte < 127 or byte in b"\t\n" else ord("?") for byte in range(256)
)
_SAFE_ADDRESS: Final = bytes(byte if 32 <= byte != 127 else ord("_") for byte in range(256))
_ASCII: Final = bytes(byte if byte < 128 else ord("?") for byte in range(256))


@dataclass(frozen=True, slots=True)
class BounceControls:
    """What the control files say of bounces."""

    bouncefrom: bytes
    bouncehost: bytes
    doublebounceto: bytes
    """b"": double bounces are dropped."""
    doublebouncehost: bytes
    bytes_max: int = 65536
    """Of longer messages the header alone is returned."""
    format: BounceFormat = BounceFormat.QSBMF


def bounce_controls(controls: SendControls) -> BounceControls:
    """Build what bounces go by.

    Raises: ControlError: an address that is too long.
    """
    found = BounceControls(
        controls.bouncefrom,
        controls.bouncehost or b"bouncehost",
        controls.doublebounceto,
        controls.doublebouncehost or b"doublebouncehost",
        controls.bouncemaxbytes,
        controls.bounceformat,
    )
    if len(found.doublebounceto + found.doublebouncehost) >= ADDRESS_BYTES_MAX:
        raise ControlError("doublebounceto", 1, "too long for an address")
    return found


def paragraph(address: bytes, report: bytes) -> bytes:
    """Return what is appended to bounce/N for one recipient that failed for good.

    No line of the report can be taken for the end of the paragraph or the start of another one.
    Source: spec/bounces.md 2.
    """
    report = _LONG_LINE.sub(rb"\g<0>\n", report.translate(_SAFE_REPORT))
    report = _LIKE_A_PARAGRAPH.sub(b"/", report)
    text = _LATER_LF.sub(b"/", b"<" + on_one_line(address) + b">:\n" + report)
    return text + (b"\n" if text.endswith(b"\n") else b"\n\n")


def on_one_line(address: bytes) -> bytes:
    """Return an address that begins no further line or field, in ASCII or UTF-8."""
    text = address.translate(_SAFE_ADDRESS)
    if text.isascii():
        return text
    try:
        text.decode()
    except UnicodeDecodeError:
        return text.translate(_ASCII)
    return text


def bounce_envelope(
    sender: bytes, controls: BounceControls, *, is_refused: bool = False
) -> Envelope | None:
    """Return who the bounce for a message of `sender` goes to; None: nobody.

    Nobody gets a triple bounce, nor a double one where control/doublebounceto is empty. A bounce
    that was refused on its way to the sender becomes a double one.
    Source: spec/bounces.md 4.
    """
    sender = original_sender(sender)
    if sender and not is_refused:
        return None if sender == NOBODY else Envelope(b"", (sender,))
    if not controls.doublebounceto:
        return None
    return Envelope(NOBODY, (controls.doublebounceto + b"@" + controls.doublebouncehost,))


def original_sender(sender: bytes) -> bytes:
    """Return `sender` without the tail that asks for one sender a recipient."""
    return sender[:-4] if sender.endswith(b"-@[]") else sender


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """All that one bounce says, but for what lies in the queue."""

    sender: bytes
    """Of the message that bounces, without its tail; b"" makes this a double bounce."""
    recipient: bytes
    controls: BounceControls
    now: int
    program: bytes = b"qmail-send"
    """Who speaks, by the name that readers know bounces by (spec/bounces.md 6)."""
    refusal: bytes = b""
    """Why qmail-queue did not take the bounce to `sender`: a double bounce tells of that."""


@dataclass(frozen=True, slots=True)
class Material:
    """What the queue has of a message that bounces. Parts are read anew at each call."""

    size: int
    arrived: int
    """Seconds since 1970."""
    reports: Callable[[], Iterator[bytes]]
    """The paragraphs."""
    original: Callable[[], Iterator[bytes]]
