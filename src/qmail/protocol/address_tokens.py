"""Address lists of header fields, cut into tokens. Part of `address_list`, which exports all this.

Source: spec/inject.md 6; RFC 5322 3.2.
"""

from __future__ import annotations

from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

ATOM: Final = "atom"
QUOTED: Final = "quoted string"
LITERAL: Final = "literal"
COMMENT: Final = "comment"
WORDS: Final = (ATOM, QUOTED, LITERAL, COMMENT)
"""Kinds of tokens with a text. The others are one byte long, and their kind is that byte."""

_BLANKS: Final = b" \t\r\n"
_ATOM_ENDS: Final = _BLANKS + b'([":<>;@,.'
# Where a scanner has to look: all other bytes are passed over at once.
_MARKS: Final = bytes(0 if byte in _ATOM_ENDS + b")]\\" else 97 for byte in range(256))


class AddressSyntaxError(ValueError):
    """Text that is no address list; it says why."""


class Token(Record):
    """One lexical token. `text` has neither quotes, brackets nor backslashes."""

    kind: str
    text: bytes
    spaced: bool = False
    """White space stood before it."""


# A long list has many of these: they are made once, without and with white space before them.
_SPECIALS: Final = {
    byte: tuple(Token(chr(byte), bytes((byte,)), spaced) for spaced in (False, True))
    for byte in b".,@<>:;"
}
AT: Final = _SPECIALS[ord("@")][0]
DOT: Final = _SPECIALS[ord(".")][0]
COMMA: Final = _SPECIALS[ord(",")][0]


def tokenise(text: bytes) -> list[Token]:
    """Cut `text` into tokens.

    Raises: AddressSyntaxError: a stray bracket or parenthesis, or something that does not end.
    """
    return list(scan(text))


def scan(text: bytes) -> Iterator[Token]:
    """Yield the tokens of `text` one after the other; see `tokenise`."""
    return _Scanner(text).tokens()


class _Scanner:
    def __init__(self, text: bytes) -> None:
        self._text = text
        self._marks = text.translate(_MARKS)
        self._at = 0

    def tokens(self) -> Iterator[Token]:
        text = self._text
        size = len(text)
        spaced = False
        while self._at < size:
            byte = text[self._at]
            special = _SPECIALS.get(byte)
            if special is not None:
                self._at += 1
                yield special[spaced]
            elif byte in _BLANKS:
                self._at += 1
                spaced = True
                continue
            else:
                yield self._word(byte, spaced)
            spaced = False

    def _word(self, byte: int, spaced: bool) -> Token:
        if byte in b")]":
            raise AddressSyntaxError(f"{chr(byte)} without its opening one")
        if byte == ord("("):
            return Token(COMMENT, self._comment(), spaced)
        if byte == ord('"'):
            return Token(QUOTED, self._enclosed(b'"', QUOTED), spaced)
        if byte == ord("["):
            return Token(LITERAL, self._enclosed(b"]", LITERAL), spaced)
        return Token(ATOM, self._atom(), spaced)

    def _step(self, what: str) -> tuple[bytes, bytes]:
        """Return the plain bytes up to the next mark, and the mark; the place is after it."""
        end = self._marks.find(0, self._at)
        if end < 0:
            raise AddressSyntaxError(f"a {what} that does not end")
        plain = self._text[self._at : end]
        self._at = end + 1
        return plain, self._text[end : end + 1]

    def _escaped(self) -> bytes:
        byte = self._text[self._at : self._at + 1]
        if not byte:
            raise AddressSyntaxError("a backslash at the end")
        self._at += 1
        return byte

    def _enclosed(self, close: bytes, what: str) -> bytes:
        self._at += 1
        found = bytearray()
        while True:
            plain, mark = self._step(what)
            found += plain
            if mark == close:
                return bytes(found)
            found += self._escaped() if mark == b"\\" else mark

    def _comment(self) -> bytes:
        self._at += 1
        depth = 1
        found = bytearray()
        while True:
            plain, mark = self._step(COMMENT)
            found += plain
            if mark in (b"(", b")"):
                depth += 1 if mark == b"(" else -1
                if not depth:
                    return bytes(found)
            else:
                found += self._escaped() if mark == b"\\" else mark

    def _atom(self) -> bytes:
        found = bytearray()
        while True:
            end = self._marks.find(0, self._at)
            if end < 0:
                end = len(self._text)
            found += self._text[self._at : end]
            self._at = end
            mark = self._text[end : end + 1]
            if mark == b"\\":
                self._at += 1
                found += self._escaped()
            elif mark in (b")", b"]"):
                self._at += 1
                found += mark
            else:
                return bytes(found)
