"""SMTP paths and mailboxes: bytes from the wire to qmail's unquoted form, and back.

Inside, an address has no quotes and no backslashes; the last `@` divides local part and domain.
"""

import re
from typing import Final

_DOT_ATOM: Final = re.compile(
    rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
)
_NEEDS_BACKSLASH: Final = re.compile(rb'[\r\n"\\]')


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
