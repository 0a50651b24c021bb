"""What qmail-popup reads in control/, to serve POP3."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from qmail.core.settings.controls import (
    ControlError,
    Line,
    control,
    parse_host,
    parse_integer,
    parse_word,
)


class Plaintext(StrEnum):
    """What control/plaintextauth may say: where a password may come without TLS."""

    NO = "no"
    """Nowhere."""
    LOOPBACK = "loopback"
    """From this host itself, where nobody else can listen."""
    YES = "yes"
    """From anywhere: whoever is on the way reads it."""


def parse_plaintext(name: str, lines: list[Line]) -> Plaintext:
    """First line as one of the words of `Plaintext`."""
    return parse_word(Plaintext, name, lines)


TIMEOUT_S_MIN: Final = 600
"""RFC 1939 3: a server that ends silent sessions waits ten minutes or more."""


def parse_timeout(name: str, lines: list[Line]) -> int:
    """First line as a number of seconds that is not too small."""
    seconds = parse_integer(name, lines)
    if seconds < TIMEOUT_S_MIN:
        raise ControlError(name, 1, f"{seconds} is below {TIMEOUT_S_MIN}, what POP3 allows")
    return seconds


CONCURRENCYPOP3: Final[int] = control(
    parse_integer, 500, kind="integer", doc="POP3 clients at once; 0 lets nobody in."
)
"""qmail-popup and qmail-pspawn read it: the one for clients, the other for sessions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PopupControls:
    """What qmail-popup reads."""

    me: bytes | None = control(parse_host, doc="The name of this host.")
    plaintextauth: Plaintext = control(
        parse_plaintext,
        Plaintext.LOOPBACK,
        doc="Where a password may come without TLS: no (nowhere), loopback (from this host), yes.",
    )
    concurrencypop3: int = CONCURRENCYPOP3
    concurrencypop3client: int = control(
        parse_integer,
        50,
        kind="integer",
        doc="POP3 clients at once from one address other than this host's own; 0 is no limit.",
    )
    timeoutpop3: int = control(
        parse_timeout,
        1200,
        unit="seconds",
        kind="integer",
        doc="Longest wait for a POP3 client; at least 600.",
    )
