"""Address lists of header fields: text to tokens to addresses, and back.

Source: spec/inject.md 6 and 8, spec/oddities.md 8; RFC 5322 3.2 and 3.4.
"""

from __future__ import annotations

from qmail.protocol.address_tokens import (
    AT,
    ATOM,
    COMMA,
    COMMENT,
    DOT,
    LITERAL,
    QUOTED,
    WORDS,
    AddressSyntaxError,
    Token,
    scan,
    tokenise,
)
from qmail.protocol.encoded_word import encode_words
from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Final

__all__ = [
    "AT",
    "ATOM",
    "COMMA",
    "COMMENT",
    "DOT",
    "LITERAL",
    "QUOTED",
    "WORDS",
    "Address",
    "AddressSyntaxError",
    "Phrase",
    "Token",
    "addresses",
    "elements",
    "group",
    "parse_list",
    "plain",
    "quote",
    "tokenise",
    "written",
    "written_element",
]

PART_TOKENS_MAX: Final = 100_000
"""As many tokens are held at a time: those between two commas."""
_ATOM_BYTES: Final = bytes(byte for byte in range(33, 127) if byte not in b'()<>[]:;@\\,."')
_AROUND: Final = {ATOM: b'""', QUOTED: b'""', LITERAL: b"[]", COMMENT: b"()"}
# The backslash first: those that are put in stay single.
_ESCAPED: Final = b'\\"[]()\r\n'
_LOCAL_BYTES: Final = (
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-/=?^_{|}~.`"
)


class Address(Record):
    """One address of a list: local part, @ and host as they came. <> has no tokens."""

    tokens: tuple[Token, ...]


class Phrase(Record):
    """The words before <, or the name of a group."""

    tokens: tuple[Token, ...]


if TYPE_CHECKING:
    Item = Token | Address | Phrase


# --- tokens to addresses ------------------------------------------------------------------------


def parse_list(text: bytes) -> list[Item]:
    """Find the addresses in the value of a field. Returns everything, in reading order.

    Raises: AddressSyntaxError: no address list.
    Source: spec/inject.md 6: from right to left; two words side by side are two addresses.
    """
    return _flat(elements(text))


def group(tokens: Iterable[Token]) -> list[Item]:
    """Find the addresses among tokens, as `parse_list` does.

    Raises: AddressSyntaxError: no address list.
    """
    return _flat(_elements(tokens))


def elements(text: bytes) -> Iterator[list[Item]]:
    """Yield what stands between the commas of a list, also those that are only meant.

    Whoever wants no half list waits for the end: a field of megabytes is not held as tokens.
    Raises: AddressSyntaxError: no address list; what was found before counts for nothing then.
    """
    return _elements(scan(text))


def addresses(items: Iterable[Item]) -> list[Address]:
    """Return the addresses among `items`."""
    return [item for item in items if isinstance(item, Address)]


def _flat(found: Iterable[list[Item]]) -> list[Item]:
    items: list[Item] = []
    for element in found:
        items += element
        items.append(COMMA)
    items.pop()
    return items


def _elements(tokens: Iterable[Token]) -> Iterator[list[Item]]:
    wanted: bool | None = None
    for part in _parts(tokens):
        grouper = _Grouper(part)
        yield from grouper.elements()
        if grouper.is_in_group is not None:
            _match(wanted, grouper.is_in_group)
            wanted = grouper.wants_group
    _match(wanted, False)


def _match(wanted: bool | None, is_in_group: bool) -> None:
    """Compare what the marks of a part need on its right with what is there."""
    if wanted is True and not is_in_group:
        raise AddressSyntaxError("a colon without a semicolon")
    if wanted is False and is_in_group:
        raise AddressSyntaxError("a group inside a group")


def _parts(tokens: Iterable[Token]) -> Iterator[list[Token]]:
    """Cut tokens at their commas; between < and > they part nothing."""
    part: list[Token] = []
    is_open = has_comma = False
    for token in tokens:
        kind = token.kind
        if kind == ",":
            if not is_open:
                yield part
                part = []
                continue
            has_comma = True
        elif kind == "<":
            if has_comma:
                # Nothing has ended the one before: its commas do part.
                *whole, part = _cut(part)
                yield from whole
            is_open, has_comma = True, False
        elif kind == ">":
            is_open = has_comma = False
        part.append(token)
        if len(part) > PART_TOKENS_MAX:
            raise AddressSyntaxError(f"more than {PART_TOKENS_MAX} words and no comma")
    yield from _cut(part) if has_comma else [part]


def _cut(tokens: Iterable[Token]) -> list[list[Token]]:
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if token.kind == ",":
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


class _Grouper:
    """Reads tokens from the right, as far as `_left` says, and collects items from the right."""

    def __init__(self, tokens: list[Token]) -> None:
        self._left = tokens
        self._elements: list[list[Item]] = []
        self._items: list[Item] = []
        self._address: list[Token] = []
        self._word_ok = True
        self.wants_group: bool | None = None
        """Whether a group must go on to the right of all this; None: no matter."""
        self.is_in_group: bool | None = None
        """Whether one goes on to the left of it; None: as on the right."""

    def elements(self) -> Iterable[list[Item]]:
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
        self._end_element()
        return reversed(self._elements)

    def _special(self, token: Token) -> None:
        if token.kind == ";":
            self._separate()
            self._turn(False, "a group inside a group")
            self._items.append(token)
        elif token.kind == ":":
            self._flush()
            self._turn(True, "a colon without a semicolon")
            self._items.append(token)
            self._take_phrase(lambda kind: kind not in (";", ">"))
        elif token.kind == ">":
            self._angle(token)
        else:
            # Nothing ends it: it is part of an address, which no envelope takes then.
            self._address.append(token)
        self._word_ok = token.kind != ">"

    def _turn(self, wanted: bool, wrong: str) -> None:
        """Pass the end or the beginning of a group."""
        if self.is_in_group is None:
            self.wants_group = wanted
        elif self.is_in_group is not wanted:
            raise AddressSyntaxError(wrong)
        self.is_in_group = not wanted

    def _angle(self, right: Token) -> None:
        self._separate()
        self._items.append(right)
        inside: list[Token] = []
        while self._left and self._left[-1].kind != "<":
            token = self._left.pop()
            (self._items if token.kind == COMMENT else inside).append(token)
        if not self._left:
            raise AddressSyntaxError("> without <")
        self._items += (_address(inside), self._left.pop())
        self._take_phrase(lambda kind: kind in (ATOM, QUOTED, COMMENT, "@", "."))

    def _take_phrase(self, belongs: Callable[[str], bool]) -> None:
        words: list[Token] = []
        while self._left and belongs(self._left[-1].kind):
            words.append(self._left.pop())
        if words:
            self._items.append(Phrase(tuple(reversed(words))))

    def _separate(self) -> None:
        if self._address:
            self._end_element()

    def _end_element(self) -> None:
        self._flush()
        self._items.reverse()
        self._elements.append(self._items)
        self._items = []

    def _flush(self) -> None:
        if self._address:
            self._items.append(_address(self._address))
            self._address = []


_NOBODY: Final = Address(())


def _address(from_right: list[Token]) -> Address:
    return Address(tuple(reversed(from_right))) if from_right else _NOBODY


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
    return b'"' + _escape(local, b'\\\r\n"') + b'"' + host


def written(items: Sequence[Item]) -> list[bytes]:
    """Write a list. Returns the texts between its commas, which `header.folded` puts together."""
    pieces: list[bytes] = []
    start = 0
    for at, item in enumerate(items):
        if isinstance(item, Token) and item.kind == ",":
            pieces.append(written_element(items[start:at]))
            start = at + 1
    pieces.append(written_element(items[start:]))
    return pieces


def written_element(items: Iterable[Item]) -> bytes:
    """Write what stands between two commas of a list."""
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
    last = DOT
    for token in _encoded(tokens):
        # RFC 2047 5 (3): nothing stands beside an encoded word without a blank.
        keeps = any(_is_encoded(one) or one.kind == "." for one in (last, token))
        if out and (_blank_between(last.kind, token.kind) or (token.spaced and keeps)):
            out.append(b" ")
        out.append(_token(token))
        last = token
    return b"".join(out)


def _encoded(tokens: Iterable[Token]) -> Iterator[Token]:
    """Encode the words beyond ASCII: neighbours together, as blanks between them are not shown."""
    foreign: list[bytes] = []
    is_after = False
    for token in tokens:
        if token.kind in (ATOM, QUOTED) and not token.text.isascii() and _is_text(token.text):
            foreign.append(token.text)
            continue
        if foreign:
            yield Token(ATOM, encode_words(b" ".join(foreign)), True)
            foreign.clear()
            is_after = True
        yield token._replace(spaced=True) if is_after else token
        is_after = False
    if foreign:
        yield Token(ATOM, encode_words(b" ".join(foreign)), True)


def _is_encoded(token: Token) -> bool:
    return token.kind == ATOM and token.text.startswith(b"=?")


def _token(token: Token) -> bytes:
    text = token.text
    if token.kind == ATOM and text and _is_atom(text):
        return text
    pair = _AROUND.get(token.kind)
    return text if pair is None else pair[:1] + _escape(text, _ESCAPED) + pair[1:]


def _escape(text: bytes, special: bytes) -> bytes:
    if not text.translate(None, text.translate(None, special)):
        return text
    for byte in special:
        one = bytes((byte,))
        text = text.replace(one, b"\\" + one)
    return text


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
