"""A bounce as a delivery status notification: multipart/report (RFC 3464, RFC 6522).

    preamble           what QSBMF says, as far as the recipients: no mail program shows it, and
                       readers that know QSBMF alone find it at the beginning of the body, with the
                       first boundary for its break paragraph
    text/plain         the same once more, for people, and its break paragraph
    message/delivery-status
                       fields about the message, then a group of fields for each recipient
    message/rfc822 or text/rfc822-headers
                       what is returned of the message

Source: RFC 3464 2, RFC 6522 3, RFC 2045 6.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from qmail.core.bounce.returned import Returned, is_8bit, returned_in_mime
from qmail.core.bounce.rules import TOO_LONG, Material, Notice, on_one_line
from qmail.core.bounce.text import break_paragraph, header, return_path, told
from qmail.core.dates import mail_date
from qmail.protocol.path import quote

PARAGRAPH_BYTES_MAX: Final = 65536
DIAGNOSTIC_BYTES_MAX: Final = 900
_PEER: Final = re.compile(
    rb"(?:Connected to )?([0-9A-Fa-f.:]{2,45}) (?:but|does not like|failed|accepted)[^\n]*\n"
)
_REPLY_LINE: Final = re.compile(rb"([2-5][0-9][0-9])(?:[ -](?:([245]\.\d{1,3}\.\d{1,3})\b)?|$)")
_CODE: Final = re.compile(rb"\(#([245]\.\d{1,3}\.\d{1,3})\)")
_UNPRINTABLE: Final = re.compile(rb"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True)
class Failure:
    """One recipient's paragraph, read back."""

    address: bytes
    report: bytes

    @property
    def peer(self) -> bytes:
        """The address of the server that the report tells of; b"" where it tells of none."""
        found = _PEER.match(self.report)
        return found[1] if found else b""

    @property
    def reply(self) -> list[bytes]:
        """The lines of that server's reply."""
        found = _PEER.match(self.report)
        lines = []
        for line in self.report[found.end() :].split(b"\n") if found else ():
            if not _REPLY_LINE.match(line):
                break
            lines.append(line)
        return lines

    @property
    def status(self) -> bytes:
        """The enhanced status code (RFC 3463): the server's, else ours, else a general one."""
        reply = [_REPLY_LINE.match(line) for line in self.reply]
        told = [found[2] for found in reply if found and found[2]]
        if told:
            return told[-1]
        code = _CODE.search(self.report)
        if code:
            return code[1]
        if reply and reply[-1]:
            # The last line's class, and nothing said beyond it.
            return (b"4" if reply[-1][1].startswith(b"4") else b"5") + b".0.0"
        return b"4.4.7" if self.report.endswith(TOO_LONG.rstrip()) else b"5.0.0"

    @property
    def diagnostic(self) -> bytes:
        """The type and text of Diagnostic-Code: the server's reply, else our own words."""
        reply = self.reply
        kind = b"smtp; " if reply else b"x-qmail; "
        text = b" ".join(reply or self.report.split(b"\n")).strip()
        return kind + _UNPRINTABLE.sub(b"?", text)[:DIAGNOSTIC_BYTES_MAX]

    def fields(self) -> bytes:
        """Return the group of fields about this recipient (RFC 3464 2.3)."""
        peer = self.peer
        literal = b"IPv6:" + peer if b":" in peer else peer
        remote = b"Remote-MTA: dns; [%b]\n" % literal if peer else b""
        return b"Final-Recipient: %b\nAction: failed\nStatus: %b\n%bDiagnostic-Code: %b\n" % (
            typed_address(self.address),
            self.status,
            remote,
            self.diagnostic,
        )


def failures(reports: Iterator[bytes]) -> Iterator[Failure]:
    """Read the recipients' paragraphs back."""
    rest = b""
    for part in reports:
        *whole, rest = (rest + part).split(b"\n\n")
        yield from _understood(whole)
        if len(rest) > PARAGRAPH_BYTES_MAX:
            # Its end is what counts now: whether the next bytes end the paragraph.
            rest = rest[: PARAGRAPH_BYTES_MAX - 1] + rest[-1:]
    yield from _understood([rest])


def _understood(paragraphs: list[bytes]) -> Iterator[Failure]:
    for text in paragraphs:
        first, _, report = text.lstrip(b"\n").partition(b"\n")
        if first.startswith(b"<") and first.endswith(b">:"):
            yield Failure(first[1:-2], report.rstrip(b"\n"))


def typed_address(address: bytes) -> bytes:
    """Return the address type and the address, in ASCII (RFC 3464 2.3.2, RFC 6533 3)."""
    written = on_one_line(quote(address))
    if written.isascii():
        return b"rfc822; " + written
    pieces = (
        chr(code) if code < 128 else f"\\x{{{code:X}}}" for code in map(ord, written.decode())
    )
    return b"utf-8; " + "".join(pieces).encode()


def bounce_report(notice: Notice, material: Material, token: bytes) -> Iterator[bytes]:
    """Yield a bounce in the form of RFC 3464; `token` is what no other message has."""
    copy = returned_in_mime(material, notice.controls.bytes_max)
    boundary = b"=_" + token
    path = return_path(notice)
    text_is_8bit = is_8bit(material.reports())
    copy_is_8bit = is_8bit(copy.parts()) or not path.isascii()
    yield header(notice)
    yield b"Message-ID: <%b@%b>\n" % (token, notice.controls.bouncehost)
    yield b"Auto-Submitted: auto-replied\nMIME-Version: 1.0\n"
    yield b"Content-Type: multipart/report; report-type=delivery-status;\n"
    yield b'  boundary="%b"\n' % boundary + _encoding(text_is_8bit or copy_is_8bit) + b"\n"
    yield from told(notice, material)
    charset = b"utf-8" if text_is_8bit else b"us-ascii"
    yield _part(boundary, b"text/plain; charset=" + charset, text_is_8bit)
    yield from told(notice, material)
    yield break_paragraph(notice, copy)
    yield _part(boundary, b"message/delivery-status", False)
    yield from _status_fields(notice, material)
    yield b"\n" + _part(boundary, _kind_of(copy), copy_is_8bit)
    yield path
    yield from copy.parts()
    yield b"\n--" + boundary + b"--\n"


def _status_fields(notice: Notice, material: Material) -> Iterator[bytes]:
    yield b"Reporting-MTA: dns; " + notice.controls.bouncehost + b"\n"
    yield b"Arrival-Date: " + mail_date(material.arrived) + b"\n"
    for failure in failures(material.reports()):
        yield b"\n" + failure.fields()


def _part(boundary: bytes, kind: bytes, has_8bit: bool) -> bytes:
    return b"--" + boundary + b"\nContent-Type: " + kind + b"\n" + _encoding(has_8bit) + b"\n"


def _kind_of(copy: Returned) -> bytes:
    return b"text/rfc822-headers" if copy.why_cut else b"message/rfc822"


def _encoding(has_8bit: bool) -> bytes:
    return b"Content-Transfer-Encoding: 8bit\n" if has_8bit else b""
