"""qmail's own form of a bounce, QSBMF: paragraphs that software and people can read.

    header             Date, From, To, Subject, in this order and nothing else
    intro              begins with `Hi. This is the`
    recipients         a paragraph each: `<ADDRESS>:`, and lines that say why
    break              begins with `-`
    the original       Return-Path, then what is returned of the message

Source: spec/bounces.md 3 and 6.
"""

from collections.abc import Iterator

from qmail.core.bounce.returned import NO_BINARY, Returned, returned
from qmail.core.bounce.rules import Material, Notice, on_one_line
from qmail.core.dates import mail_date
from qmail.protocol.path import quote


def bounce_text(notice: Notice, material: Material) -> Iterator[bytes]:
    """Yield a bounce in qmail's form."""
    copy = returned(material, notice.controls.bytes_max)
    yield header(notice) + b"\n"
    yield from told(notice, material)
    yield break_paragraph(notice, copy)
    yield return_path(notice)
    yield from copy.parts()


def header(notice: Notice) -> bytes:
    """Return the four fields, without the empty line after them."""
    controls = notice.controls
    return b"Date: %b\nFrom: %b\nTo: %b\nSubject: failure notice\n" % (
        mail_date(notice.now),
        on_one_line(quote(controls.bouncefrom + b"@" + controls.bouncehost)),
        on_one_line(quote(notice.recipient)),
    )


def told(notice: Notice, material: Material) -> Iterator[bytes]:
    """Yield the intro and the recipients' paragraphs."""
    host = notice.controls.bouncehost
    yield b"Hi. This is the " + notice.program + b" program at " + host + b".\n"
    if notice.sender:
        yield b"Sorry, your message could not be delivered to the addresses below.\n"
        yield b"This is final: nothing more will be tried for them.\n\n"
    else:
        yield b"A bounce was sent to the address below, and that bounce came back itself.\n\n"
    for part in material.reports():
        # What a power cut may have left in bounce/N is no text.
        yield part.translate(NO_BINARY)


def break_paragraph(notice: Notice, copy: Returned) -> bytes:
    """Return what stands before the original. Its first line is one that software looks for."""
    what = b"a copy of the message" if notice.sender else b"the original bounce"
    return b"--- Below this line is " + what + b".\n" + copy.why_cut + b"\n"


def return_path(notice: Notice) -> bytes:
    """Return the first line of the original."""
    return b"Return-Path: <" + on_one_line(quote(notice.sender)) + b">\n"
