"""Addresses of outgoing mail made whole: the rules of spec/inject.md 5."""

from __future__ import annotations

from qmail.protocol.address_list import (
    AT,
    ATOM,
    COMMENT,
    DOT,
    LITERAL,
    QUOTED,
    Address,
    AddressSyntaxError,
    Token,
    plain,
    quote,
    tokenise,
)
from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

_ADDRESS_KINDS: Final = (ATOM, QUOTED, LITERAL, "@", ".")


class Hosts(Record):
    """What is added to incomplete addresses, and the right side of a Message-ID."""

    defaulthost: bytes
    defaultdomain: bytes
    plusdomain: bytes
    idhost: bytes


class Rewriter:
    """Rewrites the addresses of one message."""

    def __init__(self, hosts: Hosts) -> None:
        self._host = (AT, *host_tokens(hosts.defaulthost))
        self._domain = (DOT, *host_tokens(hosts.defaultdomain))
        self._plus = (DOT, *host_tokens(hosts.plusdomain))

    def rewrite(self, address: Address) -> Address:
        """Return the address with route, trailing dot and shortcuts resolved."""
        tokens = address.tokens
        if not tokens or (len(tokens) > 1 and _is_empty_literal(tokens[-1]) and is_at(tokens[-2])):
            return address
        if is_at(tokens[0]):
            tokens = _without_route(tokens)
        for kind in (".", "@"):
            if tokens and tokens[-1].kind == kind:
                tokens = tokens[:-1]
        if not tokens:
            return Address(())
        if not any(map(is_at, tokens)):
            tokens += self._host
        last = tokens[-1]
        if last.kind == ATOM and last.text.endswith(b"+"):
            short = Token(ATOM, last.text[:-1], last.spaced)
            tokens = (*tokens[:-1], *([short] if short.text else []), *self._plus)
        at = len(tokens) - 1
        while not is_at(tokens[at]):
            at -= 1
        if not any(token.kind in (".", LITERAL) for token in tokens[at:]):
            tokens += self._domain
        return Address(tokens)

    def argument(self, text: bytes) -> bytes:
        """Return the envelope address that a word of the command line means; b"" for <>.

        Raises: AddressSyntaxError: not one address.
        Source: spec/inject.md 5: quoted as in 8 first, so a blank in it belongs to the local part.
        """
        if text.startswith(b"<") and text.endswith(b">"):
            text = text[1:-1]
        return envelope_address(self.rewrite(Address(_without_comments(tokenise(quote(text))))))


def envelope_address(address: Address) -> bytes:
    """Return an address as the envelope has it.

    Raises: AddressSyntaxError: other things stand in it, and joined they would be another address.
    """
    misplaced = _misplaced(address.tokens)
    if misplaced is not None:
        raise AddressSyntaxError(f"misplaced {misplaced.text.decode('ascii', 'replace')}")
    text = plain(address.tokens)
    if b"\0" in text:
        raise AddressSyntaxError("a NUL byte inside an address")
    if b"\n" in text or b"\r" in text:
        raise AddressSyntaxError("a line ends inside an address")
    return text


def _misplaced(tokens: Iterable[Token]) -> Token | None:
    """Return what keeps the tokens from being one address: a special, or a word beside a word."""
    after_word = False
    for token in tokens:
        is_word = token.kind in (ATOM, QUOTED, LITERAL)
        if token.kind not in _ADDRESS_KINDS or (is_word and after_word):
            return token
        after_word = is_word
    return None


def _without_comments(tokens: Iterable[Token]) -> tuple[Token, ...]:
    return tuple(token for token in tokens if token.kind != COMMENT)


def host_tokens(host: bytes) -> tuple[Token, ...]:
    """Return the tokens of a host name or a literal."""
    try:
        return _without_comments(tokenise(host))
    except AddressSyntaxError:
        return (Token(ATOM, host),)


def is_host(host: bytes) -> bool:
    """Say whether an address can end in `host`, which may be empty or incomplete."""
    try:
        return _misplaced(_without_comments(tokenise(host))) is None
    except AddressSyntaxError:
        return False


def user_tokens(user: bytes) -> tuple[Token, ...]:
    """Return the tokens of a local part: a quoted string where it has to be."""
    if not user or b"@" in user or quote(user) != user:
        return (Token(QUOTED, user),)
    return tuple(tokenise(user))


def is_at(token: Token) -> bool:
    """Say whether the token is the sign between local part and host."""
    return token.kind == "@"


def _is_empty_literal(token: Token) -> bool:
    return token.kind == LITERAL and not token.text


def _without_route(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
    for at, token in enumerate(tokens):
        if token.kind == ":":
            return tokens[at + 1 :]
    return ()
