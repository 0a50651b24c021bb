"""Others that read bounces, and what they are given: ezmlm's rules, and Mailman's own code."""

import email
import email.policy
from collections.abc import Iterator

import flufl.bounce

from qmail.core.bounce.form import bounce_parts
from qmail.core.bounce.rules import BounceControls, Material, Notice, paragraph
from qmail.core.settings.programs import BounceFormat

ORIGINAL = b"Received: x\nSubject: hello\n\nbody\n"
ARRIVED = 86400
NOW = 172800


def controls(form: BounceFormat = BounceFormat.QSBMF, *, bytes_max: int = 65536) -> BounceControls:
    return BounceControls(b"MAILER-DAEMON", b"host.ex", b"postmaster", b"dbl.ex", bytes_max, form)


def material(reports: bytes, original: bytes = ORIGINAL) -> Material:
    """Return what is in the queue, read in small parts."""

    def small(text: bytes) -> Iterator[bytes]:
        yield from (text[at : at + 7] for at in range(0, len(text), 7))

    return Material(len(original), ARRIVED, lambda: small(reports), lambda: small(original))


def bounce(
    failures: list[tuple[bytes, bytes]],
    settings: BounceControls,
    *,
    sender: bytes = b"joe@a.ex",
    original: bytes = ORIGINAL,
    refusal: bytes = b"",
) -> bytes:
    """Return the bounce that tells `sender` of these addresses and reports."""
    is_single = bool(sender) and not refusal
    recipient = sender if is_single else b"postmaster@dbl.ex"
    notice = Notice(sender=sender, recipient=recipient, controls=settings, now=NOW, refusal=refusal)
    reports = b"".join(paragraph(address, report) for address, report in failures)
    return b"".join(bounce_parts(notice, material(reports, original), b"token"))


def ezmlm_addresses(message: bytes) -> list[bytes]:
    """Return the failed addresses of a bounce from the local queue, as ezmlm finds them.

    Raises: ValueError: not a bounce for it.
    Source: spec/companion.md 9, "QSBMF".
    """
    assert message.endswith(b"\n")
    texts = paragraphs(message)
    next(texts)
    if not next(texts, b"").startswith(b"Hi. This is the"):
        raise ValueError("the second paragraph is not the intro")
    found: list[bytes] = []
    for text in texts:
        if text.startswith(b"-"):
            return found
        first = text.partition(b"\n")[0]
        if first.startswith(b"<") and first.endswith(b">:"):
            found.append(first[1:-2])
    raise ValueError("no break paragraph")


def paragraphs(message: bytes) -> Iterator[bytes]:
    """Yield runs of lines that are not empty, each up to an empty line."""
    text = b""
    for line in message.splitlines(keepends=True):
        if line == b"\n":
            yield text
            text = b""
        else:
            text += line


def mailman_addresses(message: bytes) -> set[bytes]:
    """Return the failed addresses as Mailman 3 finds them."""
    return set(flufl.bounce.scan_message(email.message_from_bytes(message)))
