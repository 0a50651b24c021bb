"""SMTP paths and mailboxes: bytes from the wire to qmail's unquoted form, and back.

Inside, an address has no quotes and no backslashes; the last `@` divides local part and domain.
"""

import re
from dataclasses import dataclass
from typing import Final

from qmail.mail import ADDRESS_BYTES_MAX
from qmail.protocol import reply
from qmail.protocol.reply import Reply

_DOT_ATOM: Final = re.compile(
    rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
)
_NEEDS_BACKSLASH: Final = re.compile(rb'[\r\n"\\]')
# Nearly all arguments look like this; they need no closer look.
_PLAIN_FROM: Final = re.compile(rb"(?i:FROM):<((?:[\w!#$%&'*+/=?^`{|}~.-]+@[\w.:-]+)?)>", re.ASCII)
_PLAIN_TO: Final = re.compile(rb"(?i:TO):<([\w!#$%&'*+/=?^`{|}~.-]+@[\w.:-]+)>", re.ASCII)
_SOURCE_ROUTE: Final = re.compile(rb"@[^\x00-\x20:<>\"\\]*:")
# One of: plain bytes, a quoted string, a byte after a backslash. 8-bit bytes are told apart later,
# with a reply of their own.
_PIECE: Final = re.compile(
    rb"([^\x00-\x20<>\"\\\x7f]+)"
    rb"|\"((?:[^\x00-\x1f\"\\\x7f]|\\[^\x00-\x1f\x7f])*)\""
    rb"|\\([^\x00-\x1f\x7f])"
)
_ESCAPED: Final = re.compile(rb"\\(.)")
_SIZE_DIGITS_MAX: Final = 20


def quote(address: bytes) -> bytes:
    """Return `address` as it is written in SMTP commands, Return-Path and bounces.

    The part before the last `@` (all of it where there is none) gets quotes if it needs them; the
    domain is never touched, the empty address stays empty.
    Source: RFC 5321 4.1.2, spec/inject.md 8.
    """
    if not address:
        return address
    at = address.rfind(b"@")
    local, rest = (address, b"") if at < 0 else (address[:at], address[at:])
    if _DOT_ATOM.fullmatch(local):
        return address
    return b'"' + _NEEDS_BACKSLASH.sub(rb"\\\g<0>", local) + b'"' + rest


@dataclass(frozen=True, slots=True)
class MailArgument:
    """The argument of MAIL: the reverse-path b"" is the null one; `size` 0 is unknown."""

    sender: bytes
    size: int = 0


def parse_mail(argument: bytes) -> MailArgument | Reply:
    """Parse what follows the word MAIL; a Reply says what is wrong with it.

    Source: RFC 5321 4.1.1.2, 4.1.2; RFC 1870 6; RFC 6152 3; spec/smtp.md A.4.
    """
    found = _PLAIN_FROM.fullmatch(argument)
    if found is not None and len(found[1]) <= ADDRESS_BYTES_MAX:
        return MailArgument(found[1])
    split = _split(argument, b"FROM")
    if split is None:
        return reply.SENDER_SYNTAX
    address, parameters = split
    wrong = _wrong_with(address, syntax=reply.SENDER_SYNTAX, too_long=reply.SENDER_TOO_LONG)
    if wrong is not None:
        return wrong
    size = _parse_parameters(parameters)
    return size if isinstance(size, Reply) else MailArgument(address, size)


def parse_rcpt(argument: bytes) -> bytes | Reply:
    """Parse what follows the word RCPT; a Reply says what is wrong with it.

    Source: RFC 5321 4.1.1.3, 4.1.2; spec/smtp.md A.4.
    """
    found = _PLAIN_TO.fullmatch(argument)
    if found is not None and len(found[1]) <= ADDRESS_BYTES_MAX:
        return found[1]
    split = _split(argument, b"TO")
    if split is None:
        return reply.RECIPIENT_SYNTAX
    address, parameters = split
    if not address or address.rfind(b"@") == 0:
        return reply.RECIPIENT_EMPTY
    wrong = _wrong_with(address, syntax=reply.RECIPIENT_SYNTAX, too_long=reply.RECIPIENT_TOO_LONG)
    if wrong is not None:
        return wrong
    return reply.PARAMETER_UNKNOWN if parameters.strip() else address


def _split(argument: bytes, word: bytes) -> tuple[bytes, bytes] | None:
    """Return the address without quotes, and the parameters; None for a syntax error."""
    keyword = argument[: len(word)]
    rest = argument[len(word) :] if keyword.upper() == word else argument
    rest = rest.lstrip(b" ")
    has_colon = rest.startswith(b":")
    if has_colon:
        rest = rest[1:].lstrip(b" ")
    if rest.startswith(b"<"):
        return _unquoted(rest[1:], b">")
    return _unquoted(rest, b" ") if has_colon and rest else None


def _unquoted(text: bytes, terminator: bytes) -> tuple[bytes, bytes] | None:
    """Undo quotes and backslashes up to the unquoted `terminator`.

    Returns: the address and what follows the terminator; None for a syntax error.
    """
    if text.startswith(b"@"):
        # A source route is accepted, ignored and never sent on (RFC 5321 4.1.1.3, appendix C).
        colon = _SOURCE_ROUTE.match(text)
        if colon is None:
            return None
        text = text[colon.end() :]
    pieces = []
    at_quoted = -1
    start = length = 0
    while found := _PIECE.match(text, start):
        start = found.end()
        quoted, escaped = found[2], found[3]
        if quoted is not None:
            piece = _ESCAPED.sub(rb"\1", quoted)
        else:
            piece = escaped if escaped is not None else found[1]
        if escaped is not None or quoted is not None:
            at_quoted = length + max(len(piece) - 1, 0)
        pieces.append(piece)
        length += len(piece)
    ending = text[start : start + 1]
    if ending not in (terminator, b""):
        return None
    address = b"".join(pieces)
    # A quote in the domain, or around the last @, would give the address another meaning.
    if at_quoted >= 0 and at_quoted >= address.rfind(b"@") and b"@" in address:
        return None
    rest = text[start + 1 :]
    if terminator == b">" and rest and not rest.startswith(b" "):
        return None
    return address, rest


def _wrong_with(address: bytes, *, syntax: Reply, too_long: Reply) -> Reply | None:
    if len(address) > ADDRESS_BYTES_MAX:
        return too_long
    if not address.isascii():
        return reply.NOT_ASCII
    return syntax if address.endswith(b"@") else None


def _parse_parameters(parameters: bytes) -> int | Reply:
    """Return the value of SIZE, else 0."""
    size = 0
    for parameter in parameters.split():
        keyword, _, value = parameter.partition(b"=")
        match keyword.upper():
            case b"SIZE":
                if not value.isdigit() or len(value) > _SIZE_DIGITS_MAX:
                    return reply.PARAMETER_SYNTAX
                size = int(value)
            case b"BODY":
                if value.upper() not in (b"7BIT", b"8BITMIME"):
                    return reply.PARAMETER_SYNTAX
            case _:
                return reply.PARAMETER_UNKNOWN
    return size
