"""The words of Sendmail's files: what /etc/aliases, :include: files and .forward list.

Addresses as in mail headers, without groups; programs, files and the names of list files among
them. Source: spec/companion.md 1, 2.3 and 2.4; spec/inject.md 6.
"""

from __future__ import annotations

from qmail.protocol.address_list import (
    ATOM,
    COMMA,
    COMMENT,
    QUOTED,
    Address,
    AddressSyntaxError,
    Token,
    addresses,
    group,
    plain,
)
from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Final

ADDRESS: Final = "address"
PROGRAM: Final = "program"
FILE: Final = "file"
LIST: Final = "list"

_INCLUDE: Final = b":include:"
_NEEDS_QUOTES: Final = 'a program with arguments needs quotes around all of it: "|program argument"'
_STRAY_COLON: Final = "a colon inside a list: does a line before it begin with a blank by mistake?"


class Word(Record):
    """One entry of a list. `text`: the address unquoted, the command, or the file's name."""

    kind: str
    text: bytes
    address: Address = Address(())
    """What an address was written as."""

    @property
    def has_host(self) -> bool:
        """True for an address with an @ that is not quoted."""
        return has_at(self.address.tokens)


def read_words(tokens: Sequence[Token]) -> list[Word]:
    """Return what a list names, from right to left, the order in which the files are read.

    Raises: AddressSyntaxError: not a list of addresses, programs and files.
    """
    found: list[Word] = []
    waiting: list[Token] = []
    for element in _elements(tokens):
        word = _program(element) or _list(element)
        if word is None:
            waiting += (COMMA, *element)
            continue
        found += (*_ordinary(waiting), word)
        waiting = []
    found += _ordinary(waiting)
    found.reverse()
    return found


def has_at(tokens: Sequence[Token]) -> bool:
    """Say whether an @ that is not quoted is among the tokens."""
    return any(token.kind == "@" for token in tokens)


def _elements(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """Cut a list at its commas; a semicolon counts as one, and inside <> none counts."""
    element: list[Token] = []
    depth = 0
    for token in tokens:
        depth += (token.kind == "<") - (token.kind == ">")
        if token.kind in (",", ";") and depth <= 0:
            yield element
            element = []
        else:
            element.append(token)
    yield element


def _list(element: Sequence[Token]) -> Word | None:
    """Read :include:FILE, also with quotes around all of it."""
    words = [token for token in element if token.kind != COMMENT]
    if len(words) == 1 and words[0].kind == QUOTED and words[0].text.startswith(_INCLUDE):
        return _named(LIST, words[0].text[len(_INCLUDE) :], ":include: without a file name")
    mark = [token.text.lower() for token in words[:3]]
    if mark != [b":", b"include", b":"] or words[1].kind != ATOM:
        return None
    name = words[3:]
    if any(token.spaced for token in name[1:]) or any(token.kind in "<:>" for token in name):
        raise AddressSyntaxError("the file name after :include: needs quotes, or a comma after it")
    return _named(LIST, plain(name), ":include: without a file name")


def _program(element: Sequence[Token]) -> Word | None:
    """Read |PROGRAM and |"PROGRAM ARGUMENT ...", where the | is not inside quotes."""
    if not element or element[0].kind != ATOM or not element[0].text.startswith(b"|"):
        return None
    if has_at(element):
        return None
    is_mark = element[0].text == b"|"
    if is_mark and len(element) == 2 and element[1].kind == QUOTED:
        return _named(PROGRAM, element[1].text, "no program after |")
    if any(token.spaced or token.kind not in (ATOM, ".") for token in element[1:]):
        raise AddressSyntaxError(_NEEDS_QUOTES)
    return _named(PROGRAM, plain(element)[1:], "no program after |")


def _named(kind: str, text: bytes, if_empty: str) -> Word:
    if not text.strip():
        raise AddressSyntaxError(if_empty)
    return Word(kind, text)


def _ordinary(tokens: list[Token]) -> list[Word]:
    _check_specials(tokens)
    return [_word(address) for address in addresses(group(tokens))]


def _check_specials(tokens: Sequence[Token]) -> None:
    """Only a route inside <> has colons, and each < has its >."""
    depth = 0
    for token in tokens:
        depth += (token.kind == "<") - (token.kind == ">")
        if token.kind == ":" and depth <= 0:
            raise AddressSyntaxError(_STRAY_COLON)
    if depth > 0:
        raise AddressSyntaxError("< without >")


def _word(address: Address) -> Word:
    text = plain(address.tokens)
    if not has_at(address.tokens):
        if text.startswith(b"|"):
            return _named(PROGRAM, text[1:], "no program after |")
        if text.startswith(b"/"):
            return Word(FILE, text)
    return Word(ADDRESS, text, address)
