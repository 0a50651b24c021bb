"""Address lists of header fields: text to tokens to addresses, and back.

Source: spec/inject.md 6 and 8, spec/oddities.md 8; RFC 5322 3.2 and 3.4.
"""

from __future__ import annotations

from qmail.protocol.encoded_word import encode_words
from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Final

ATOM: Final = "atom"
QUOTED: Final = "quoted string"
LITERAL: Final = "literal"
COMMENT: Final = "comment"
WORDS: Final = (ATOM, QUOTED, LITERAL, COMMENT)
"""Kinds of tokens with a text. The others are one byte long, and their kind is that byte."""

_SPECIALS: Final = b".,@<>:;"
_BLANKS: Final = b" \t\r\n"
_ATOM_ENDS: Final = _BLANKS + b'([":<>;@,.'
# Where a scanner has to look: all other bytes are passed over at once.
_MARKS: Final = bytes(0 if byte in _ATOM_ENDS + b")]\\" else 97 for byte in range(256))
_ATOM_BYTES: Final = bytes(byte for byte in range(33, 127) if byte not in b'()<>[]:;@\\,."')
_AROUND: Final = {ATOM: b'""', QUOTED: b'""', LITERAL: b"[]", COMMENT: b"()"}
_ESCAPED: Final = b'"[]()\\\r\n'
_LOCAL_BYTES: Final = (
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-/=?^_{|}~.`"
)


class AddressSyntaxError(ValueError):
    """Text that is no address list; it says why."""


class Token(Record):
    """One lexical token. `text` has neither quotes, brackets nor backslashes."""

    kind: str
    text: bytes
    spaced: bool = False
    """White space stood before it."""


class Address(Record):
    """One address of a list: local part, @ and host as they came. <> has no tokens."""

    tokens: tuple[Token, ...]


class Phrase(Record):
    """The words before <, or the name of a group."""

    tokens: tuple[Token, ...]


AT: Final = Token("@", b"@")
DOT: Final = Token(".", b".")
COMMA: Final = Token(",", b",")

if TYPE_CHECKING:
    Item = Token | Address | Phrase


# --- text to tokens -----------------------------------------------------------------------------


def tokenise(text: bytes) -> list[Token]:
    """Cut `text` into tokens.

    Raises: AddressSyntaxError: a stray bracket or parenthesis, or something that does not end.
    """
    return _Scanner(text).tokens()


class _Scanner:
    def __init__(self, text: bytes) -> None:
        self._text = text
        self._marks = text.translate(_MARKS)
        self._at = 0

    def tokens(self) -> list[Token]:
        found = []
        spaced = False
        text = self._text
        while self._at < len(text):
            byte = text[self._at]
            if byte in _BLANKS:
                self._at += 1
                spaced = True
                continue
            found.append(self._token(byte, spaced))
            spaced = False
        return found

    def _token(self, byte: int, spaced: bool) -> Token:
        if byte in _SPECIALS:
            self._at += 1
            return Token(chr(byte), bytes((byte,)), spaced)
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
        pieces = []
        while True:
            plain, mark = self._step(what)
            pieces.append(plain)
            if mark == close:
                return b"".join(pieces)
            pieces.append(self._escaped() if mark == b"\\" else mark)

    def _comment(self) -> bytes:
        self._at += 1
        depth = 1
        pieces = []
        while True:
            plain, mark = self._step(COMMENT)
            pieces.append(plain)
            if mark in (b"(", b")"):
                depth += 1 if mark == b"(" else -1
                if not depth:
                    return b"".join(pieces)
            else:
                pieces.append(self._escaped() if mark == b"\\" else mark)

    def _atom(self) -> bytes:
        pieces = []
        while True:
            end = self._marks.find(0, self._at)
            if end < 0:
                end = len(self._text)
            pieces.append(self._text[self._at : end])
            self._at = end
            mark = self._text[end : end + 1]
            if mark == b"\\":
                self._at += 1
                pieces.append(self._escaped())
            elif mark in (b")", b"]"):
                self._at += 1
                pieces.append(mark)
            else:
                return b"".join(pieces)


# --- tokens to addresses ------------------------------------------------------------------------


def parse_list(text: bytes) -> list[Item]:
    """Find the addresses in the value of a field. Returns everything, in reading order.

    Raises: AddressSyntaxError: no address list.
    Source: spec/inject.md 6: from right to left; two words side by side are two addresses.
    """
    return group(tokenise(text))


def group(tokens: list[Token]) -> list[Item]:
    """Find the addresses among tokens, as `parse_list` does; the list is used up.

    Raises: AddressSyntaxError: no address list.
    """
    return _Grouper(tokens).items()


def addresses(items: Iterable[Item]) -> list[Address]:
    """Return the addresses among `items`."""
    return [item for item in items if isinstance(item, Address)]


class _Grouper:
    """Reads tokens from the right, as far as `_left` says, and collects items from the right."""

    def __init__(self, tokens: list[Token]) -> None:
        self._left = tokens
        self._items: list[Item] = []
        self._address: list[Token] = []
        self._in_group = False
        self._word_ok = True

    def items(self) -> list[Item]:
        while self._left:
            token = self._left.pop()
            if token.kind in (ATOM, QUOTED, LITERAL):
                if not self._word_ok:
                    self._separate()
                self._address.append(token)
                self._word_ok = False
            elif token.kind in ("@", "."):
                self._address.append(token)
                self._word_ok = True
            elif token.kind == COMMENT:
                self._items.append(token)
            else:
                self._special(token)
        self._flush()
        self._items.reverse()
        return self._items

    def _special(self, token: Token) -> None:
        if token.kind == ",":
            self._flush()
            self._items.append(token)
        elif token.kind == ";":
            self._separate()
            if self._in_group:
                raise AddressSyntaxError("a group inside a group")
            self._in_group = True
            self._items.append(token)
        elif token.kind == ":":
            self._group_name(token)
        elif token.kind == ">":
            self._angle(token)
        else:
            # Nothing ends it: it is part of an address, which no envelope takes then.
            self._address.append(token)
        self._word_ok = token.kind != ">"

    def _group_name(self, colon: Token) -> None:
        self._flush()
        if not self._in_group:
            raise AddressSyntaxError("a colon without a semicolon")
        self._in_group = False
        self._items.append(colon)
        self._take_phrase(lambda kind: kind not in (",", ";"))

    def _angle(self, right: Token) -> None:
        self._separate()
        self._items.append(right)
        inside: list[Token] = []
        while self._left and self._left[-1].kind != "<":
            token = self._left.pop()
            (self._items if token.kind == COMMENT else inside).append(token)
        if not self._left:
            raise AddressSyntaxError("> without <")
        self._items += (Address(tuple(reversed(inside))), self._left.pop())
        self._take_phrase(lambda kind: kind in (ATOM, QUOTED, COMMENT, "@", "."))

    def _take_phrase(self, belongs: Callable[[str], bool]) -> None:
        words: list[Token] = []
        while self._left and belongs(self._left[-1].kind):
            words.append(self._left.pop())
        if words:
            self._items.append(Phrase(tuple(reversed(words))))

    def _separate(self) -> None:
        if self._address:
            self._flush()
            self._items.append(COMMA)

    def _flush(self) -> None:
        if self._address:
            self._items.append(Address(tuple(reversed(self._address))))
            self._address.clear()


# --- and back -----------------------------------------------------------------------------------


def plain(tokens: Iterable[Token]) -> bytes:
    """Return an address as envelopes have it: nothing quoted, nothing escaped."""
    return b"".join(
        b"[" + token.text + b"]" if token.kind == LITERAL else token.text
        for token in tokens
        if token.kind != COMMENT
    )


def quote(address: bytes) -> bytes:
    """Write an envelope address so that a header can hold it: the local part quoted if it must be.

    Source: spec/inject.md 8. Letters beyond ASCII need no quotes in a header: RFC 6532 3.2.
    """
    if not address:
        return address
    at = address.rfind(b"@")
    local, host = (address, b"") if at < 0 else (address[:at], address[at:])
    dots = local.startswith(b".") or local.endswith(b".") or b".." in local
    odd = local.translate(None, _LOCAL_BYTES)
    if local and not dots and (not odd or (min(odd) > 127 and _is_text(local))):
        return address
    return b'"' + _escape(local, b'\r\n"\\') + b'"' + host


def written(items: Sequence[Item]) -> list[bytes]:
    """Write a list. Returns the texts between its commas, which `header.folded` puts together."""
    pieces: list[bytes] = []
    start = 0
    for at, item in enumerate(items):
        if isinstance(item, Token) and item.kind == ",":
            pieces.append(_joined(items[start:at]))
            start = at + 1
    pieces.append(_joined(items[start:]))
    return pieces


def _joined(items: Iterable[Item]) -> bytes:
    out: list[bytes] = []
    last = ""
    for item in items:
        if isinstance(item, Phrase):
            out.append(b" " if _blank_between(last, item.tokens[0].kind) else b"")
            out.append(_phrase(item.tokens))
            last = ATOM
            continue
        for token in item.tokens if isinstance(item, Address) else (item,):
            if _blank_between(last, token.kind):
                out.append(b" ")
            out.append(_token(token))
            last = token.kind
    return b"".join(out)


def _blank_between(left: str, right: str) -> bool:
    if not left:
        return False
    return left in (":", ",") or right == "<" or (left in WORDS and right in WORDS)


def _phrase(tokens: Iterable[Token]) -> bytes:
    """Write the words of a name; blanks around its dots stay, what is not ASCII is encoded."""
    out: list[bytes] = []
    last = ""
    foreign: list[bytes] = []
    for token in tokens:
        is_word = token.kind in (ATOM, QUOTED)
        if is_word and not token.text.isascii() and _is_text(token.text):
            foreign.append(token.text)
            last = ATOM
            continue
        if foreign:
            _add_encoded(out, foreign)
        near_dot = "." in (last, token.kind)
        if _blank_between(last, token.kind) or (token.spaced and near_dot and last):
            out.append(b" ")
        out.append(_token(token))
        last = token.kind
    if foreign:
        _add_encoded(out, foreign)
    return b"".join(out).lstrip(b" ")


def _add_encoded(out: list[bytes], foreign: list[bytes]) -> None:
    # Blanks between encoded words are not shown, so neighbours are encoded together.
    out += (b" ", encode_words(b" ".join(foreign)))
    foreign.clear()


def _token(token: Token) -> bytes:
    text = token.text
    if token.kind == ATOM and text and _is_atom(text):
        return text
    pair = _AROUND.get(token.kind)
    return text if pair is None else pair[:1] + _escape(text, _ESCAPED) + pair[1:]


def _escape(text: bytes, special: bytes) -> bytes:
    if not text.translate(None, text.translate(None, special)):
        return text
    return b"".join(
        b"\\" + text[at : at + 1] if byte in special else text[at : at + 1]
        for at, byte in enumerate(text)
    )


def _is_text(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_atom(text: bytes) -> bool:
    if text.isascii():
        return not text.translate(None, _ATOM_BYTES)
    # Letters beyond ASCII may stand in atoms (RFC 6532 3.2).
    ascii_part = bytes(byte for byte in text if byte < 128)
    return not ascii_part.translate(None, _ATOM_BYTES) and _is_text(text)
