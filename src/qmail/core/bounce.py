"""What a sender is told: qmail's bounce message, QSBMF (spec/bounces.md)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from qmail.core.dates import mail_date
from qmail.mail import Envelope
from qmail.protocol.path import quote

NOBODY: Final = b"#@[]"
"""Sender of a double bounce: what comes back for it is dropped."""
_LATER_LF: Final = re.compile(rb"(?<=\n)\n")
TOO_LONG: Final = b"The message has been queued too long; no further attempt will be made.\n"


@dataclass(frozen=True, slots=True)
class BounceControls:
    """Names that stand in bounces."""

    bouncefrom: bytes
    bouncehost: bytes
    doublebounceto: bytes
    doublebouncehost: bytes


def paragraph(address: bytes, report: bytes) -> bytes:
    """Return what is appended to bounce/N for one recipient that failed for good.

    Source: spec/bounces.md 2.
    """
    text = b"<" + _on_one_line(address) + b">:\n" + report
    # An empty line inside would end the paragraph for those who read it.
    text = _LATER_LF.sub(b"/", text)
    return text + (b"\n" if text.endswith(b"\n") else b"\n\n")


def bounce_envelope(sender: bytes, controls: BounceControls) -> Envelope | None:
    """Return who the bounce for a message of `sender` goes to; None: nobody (triple bounce)."""
    sender = original_sender(sender)
    if sender == NOBODY:
        return None
    if not sender:
        return Envelope(NOBODY, (controls.doublebounceto + b"@" + controls.doublebouncehost,))
    return Envelope(b"", (sender,))


def original_sender(sender: bytes) -> bytes:
    """Return `sender` without the tail that asks for one sender a recipient."""
    return sender[:-4] if sender.endswith(b"-@[]") else sender


def bounce_head(
    sender: bytes, reports: bytes, controls: BounceControls, now: int
) -> Iterator[bytes]:
    """Yield the bounce up to where the original message begins.

    Source: spec/bounces.md 3.
    """
    sender = original_sender(sender)
    envelope = bounce_envelope(sender, controls)
    recipient = envelope.recipients[0] if envelope else b""
    host = controls.bouncehost
    yield b"Date: " + mail_date(now) + b"\n"
    yield b"From: " + quote(controls.bouncefrom + b"@" + host) + b"\n"
    yield b"To: " + _on_one_line(quote(recipient)) + b"\n"
    yield b"Subject: failure notice\n\n"
    yield b"Hi. This is the qmail-send program at " + host + b".\n"
    if sender:
        yield b"Sorry, your message could not be delivered to the addresses below.\n"
        yield b"This is final: nothing more will be tried for them.\n\n"
    else:
        yield b"A bounce was sent to the address below, and that bounce came back itself.\n\n"
    yield reports
    if sender:
        yield b"--- Below this line is a copy of the message.\n\n"
    else:
        yield b"--- Below this line is the original bounce.\n\n"
    yield b"Return-Path: <" + _on_one_line(quote(sender)) + b">\n"


def _on_one_line(address: bytes) -> bytes:
    # A line feed in an address would begin another field.
    return address.replace(b"\n", b"_")
