"""POP3: the commands, their states as tables, and what CAPA says in each.

One conversation is held by two machines of the same shape, because two programs hold it:

    protocol/pop3_login.py     AUTHORIZATION: up to the login, in qmail-popup
    protocol/pop3_mailbox.py   TRANSACTION: a mailbox, up to QUIT, in qmail-pop3d

Source: RFC 1939 4 and 5; RFC 2449 (CAPA); RFC 2595 4 (STLS); RFC 5034 (AUTH); RFC 6856 (UTF8,
LANG); spec/smtp.md E; spec/oddities.md 9.
"""

from __future__ import annotations

from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

USER: Final = b"USER"
PASS: Final = b"PASS"
APOP: Final = b"APOP"
AUTH: Final = b"AUTH"
STLS: Final = b"STLS"
CAPA: Final = b"CAPA"
NOOP: Final = b"NOOP"
QUIT: Final = b"QUIT"
UTF8: Final = b"UTF8"
LANG: Final = b"LANG"
STAT: Final = b"STAT"
LIST: Final = b"LIST"
UIDL: Final = b"UIDL"
RETR: Final = b"RETR"
TOP: Final = b"TOP"
DELE: Final = b"DELE"
LAST: Final = b"LAST"
RSET: Final = b"RSET"

COMMAND_BYTES_MAX: Final = 512
"""Longest command without its line end. RFC 2449 4 asks for 255; passwords can be longer."""
SASL_BYTES_MAX: Final = 12288
"""Longest line of a SASL exchange, and of AUTH with its initial response (RFC 5034 4)."""

# --- states -------------------------------------------------------------------------------------

START: Final = "start"
NAMED: Final = "named"
"""USER has been said."""
EXCHANGE: Final = "exchange"
"""The next line is a response of a SASL exchange and no command."""
OPEN: Final = "open"
"""A mailbox is open: RFC 1939 calls it TRANSACTION."""
CLOSED: Final = "closed"

_LOGIN_ANYTIME: Final = {
    USER: NAMED, APOP: START, AUTH: EXCHANGE, STLS: START, QUIT: CLOSED,
}  # fmt: skip

LOGIN_NEXT: Final[Mapping[str, Mapping[bytes, str]]] = {
    START: {**_LOGIN_ANYTIME, CAPA: START, NOOP: START, UTF8: START, LANG: START},
    NAMED: {**_LOGIN_ANYTIME, PASS: START, CAPA: NAMED, NOOP: NAMED, UTF8: NAMED, LANG: NAMED},
    EXCHANGE: {},
    CLOSED: {},
}
"""Which command may come in which state of AUTHORIZATION, and the state after it.

A login that is refused leads to START, and so does the end of an exchange.
"""

MAILBOX_NEXT: Final[Mapping[str, Mapping[bytes, str]]] = {
    OPEN: {
        STAT: OPEN, LIST: OPEN, UIDL: OPEN, RETR: OPEN, TOP: OPEN, DELE: OPEN, LAST: OPEN,
        RSET: OPEN, NOOP: OPEN, CAPA: OPEN, UTF8: OPEN, LANG: OPEN, QUIT: CLOSED,
    },
    CLOSED: {},
}  # fmt: skip
"""The same for TRANSACTION. UPDATE is what the answer to QUIT does."""


# --- what CAPA says -----------------------------------------------------------------------------


class Offer(Record):
    """What a client may log in with now: on a connection without TLS less than on one with it."""

    has_user: bool
    """USER and PASS."""
    has_apop: bool = False
    mechanisms: tuple[bytes, ...] = ()
    """SASL mechanisms, all of them such that the client speaks first."""
    has_stls: bool = False
    has_tls: bool = False
    """TLS is on."""


_ALWAYS: Final = (
    b"TOP", b"UIDL", b"RESP-CODES", b"AUTH-RESP-CODE", b"PIPELINING", b"UTF8", b"EXPIRE NEVER",
    b"IMPLEMENTATION qmail",
)  # fmt: skip


def capabilities(offer: Offer | None) -> bytes:
    """Return the answer to CAPA; without an offer the client has logged in.

    What serves to log in is left out after the login: it can't be used any more.
    Source: RFC 2449 5 and 6.
    """
    lines: list[bytes] = [*_ALWAYS]
    if offer is not None:
        if offer.has_user:
            lines.append(b"USER")
        if offer.mechanisms:
            lines.append(b"SASL " + b" ".join(offer.mechanisms))
        if offer.has_stls and not offer.has_tls:
            lines.append(b"STLS")
    return b"+OK \r\n%b\r\n.\r\n" % b"\r\n".join(lines)
