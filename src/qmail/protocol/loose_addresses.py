"""Address lists, read so that nothing is ever wrong with them, and written cleanly.

new-inject and ofmipd clean up what people and simple programs write; the stricter reading of
qmail-inject is in protocol/address_list.py. A list is read from right to left: two words side by
side are two addresses, names and comments become the name in quotes, routes become names as well.
Source: spec/inject.md 9, spec/companion.md 7.
"""

from __future__ import annotations

from qmail.protocol.encoded_word import encode_words
from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Final

FOLD_COLUMNS: Final = 78
STRING: Final = "string"
COMMENT: Final = "comment"
BLANK: Final = " "
"""Kinds of tokens; the others are one of `<>,;:@.`, and their kind is that byte."""
_SPECIALS: Final = b"<>,;:@."
_ENDS: Final = b'"[(<>,;:@. \t'
_IN_ADDRESS: Final = (STRING, "@", ".")
_PUNCTUATION: Final = (",", ";", ":", "<", ">")
_NEED_QUOTES: Final = b'@<>[](),;:"\\'
_ESCAPED: Final = b'\0\r\n"\\[]'
_PLAIN_BYTES: Final = bytes(byte for byte in range(33, 127) if byte not in _NEED_QUOTES)
_ATOM_BYTES: Final = bytes(byte for byte in _PLAIN_BYTES if byte != ord("."))


class Piece(Record):
    """One token. Of a string or comment `text` is what it stands for; a literal keeps brackets."""

    kind: str
    text: bytes


class Entry(Record):
    """One entry of a list: an address, a name before it, or a name alone (of an empty group)."""

    name: bytes | None
    address: bytes | None
    """As envelopes have it; without host it ends in @, and <> is that sign alone."""


# --- text to pieces -----------------------------------------------------------------------------


def pieces(text: bytes) -> list[Piece]:
    """Cut a text into tokens; a quoted string, literal or comment may lack its end."""
    found = []
    at = 0
    while at < len(text):
        byte = text[at]
        if byte in _SPECIALS:
            found.append(Piece(chr(byte), bytes((byte,))))
            at += 1
        elif byte in b" \t":
            found.append(Piece(BLANK, bytes((byte,))))
            at += 1
        elif byte == ord("("):
            inner, at = _comment(text, at + 1)
            found.append(Piece(COMMENT, inner))
        elif byte == ord('"'):
            inner, at = _enclosed(text, at + 1, b'"')
            found.append(Piece(STRING, inner))
        elif byte == ord("["):
            inner, at = _enclosed(text, at + 1, b"]")
            found.append(Piece(STRING, b"[" + inner + b"]"))
        else:
            inner, at = _word(text, at)
            found.append(Piece(STRING, inner))
    return found


def _escaped(text: bytes, at: int) -> tuple[bytes, int]:
    """Return the byte at `at`, or the one after a backslash there, and where to go on."""
    if text[at] == ord("\\") and at + 1 < len(text):
        at += 1
    return text[at : at + 1], at + 1


def _enclosed(text: bytes, at: int, end: bytes) -> tuple[bytes, int]:
    inner: list[bytes] = []
    while at < len(text):
        if text[at : at + 1] == end:
            return b"".join(inner), at + 1
        byte, at = _escaped(text, at)
        inner.append(byte)
    return b"".join(inner), at


def _comment(text: bytes, at: int) -> tuple[bytes, int]:
    inner: list[bytes] = []
    depth = 1
    while at < len(text):
        byte = text[at : at + 1]
        if byte in (b"(", b")"):
            depth += 1 if byte == b"(" else -1
            if not depth:
                return b"".join(inner), at + 1
            at += 1
        else:
            byte, at = _escaped(text, at)
        inner.append(byte)
    return b"".join(inner), at


def _word(text: bytes, at: int) -> tuple[bytes, int]:
    inner: list[bytes] = []
    while at < len(text) and text[at] not in _ENDS:
        byte, at = _escaped(text, at)
        inner.append(byte)
    return b"".join(inner), at


# --- pieces to entries --------------------------------------------------------------------------


def read_list(text: bytes) -> list[Entry]:
    """Find the entries in the value of a field, in reading order. Nothing is an error."""
    return _FromRight(pieces(text)).entries()


class _FromRight:
    """Takes pieces from the right; everything it collects is in that order."""

    def __init__(self, found: list[Piece]) -> None:
        self._left = found
        self._entries: list[Entry] = []
        self._is_empty_group = False
        """After a semicolon, as long as no address has come."""
        self._is_group_name = False
        """While the name of such a group is read."""
        self._alone: set[int] = set()
        """Which entries are the names of empty groups."""
        self._address: list[bytes] | None = None
        self._has_at = False
        self._name: list[bytes] = []
        self._word_ok = True
        self._in_phrase = False

    def entries(self) -> list[Entry]:
        while self._left:
            piece = self._left.pop()
            if self._in_phrase:
                if piece.kind not in (",", ";", ":", ">"):
                    self._add_name(piece)
                    continue
                self._close()
                self._in_phrase = False
                self._word_ok = True
            self._take(piece)
        self._close()
        self._close_name()
        return self._joined()

    def _joined(self) -> list[Entry]:
        """Return the entries in reading order: a name alone belongs to the address behind it."""
        found: list[Entry] = []
        name: bytes | None = None
        for at in range(len(self._entries) - 1, -1, -1):
            entry = self._entries[at]
            if name is not None:
                if entry.name is None:
                    entry = Entry(name, entry.address)
                else:
                    found.append(Entry(name, None))
                name = None
            if entry.address is None and at not in self._alone:
                name = entry.name
            else:
                found.append(entry)
        return found if name is None else [*found, Entry(name, None)]

    def _take(self, piece: Piece) -> None:
        if piece.kind == BLANK:
            self._name.append(b" ")
        elif piece.kind in (",", ";"):
            self._close()
            self._close_name()
            self._word_ok = True
            self._is_empty_group = self._is_empty_group or piece.kind == ";"
        elif piece.kind == COMMENT:
            self._name += (b" ", piece.text, b" ")
        elif piece.kind == STRING:
            if not self._word_ok:
                self._close()
            self._add(piece)
            self._word_ok = False
        elif piece.kind == ">":
            self._angle()
        elif piece.kind == ":":
            self._is_group_name, self._is_empty_group = self._is_empty_group, False
            self._in_phrase = True
        else:
            self._add(piece)
            self._word_ok = True

    def _angle(self) -> None:
        self._close()
        # <> is an address.
        self._address, self._has_at = [], False
        while self._left:
            piece = self._left.pop()
            if piece.kind in (":", "<"):
                break
            self._add(piece)
        else:
            piece = Piece("<", b"<")
        if piece.kind == ":":
            while self._left and (piece := self._left.pop()).kind != "<":
                self._add_name(piece)
        self._in_phrase = True

    def _add(self, piece: Piece) -> None:
        if piece.kind not in _IN_ADDRESS:
            self._add_name(piece)
            return
        if self._address is None:
            self._address, self._has_at = [], False
        self._has_at = self._has_at or piece.kind == "@"
        self._address.append(piece.text)

    def _add_name(self, piece: Piece) -> None:
        if piece.kind not in _PUNCTUATION:
            self._name.append(piece.text)

    def _close(self) -> None:
        if self._address is None:
            return
        address = b"".join(reversed(self._address)) + (b"" if self._has_at else b"@")
        self._entries.append(Entry(self._take_name(), address))
        self._address = None
        self._is_empty_group = False

    def _close_name(self) -> None:
        name = self._take_name()
        if name is not None:
            if self._is_group_name:
                self._alone.add(len(self._entries))
            self._entries.append(Entry(name, None))
        self._is_group_name = False

    def _take_name(self) -> bytes | None:
        words = [word for word in b"".join(reversed(self._name)).split(b" ") if word]
        self._name = []
        return b" ".join(words) or None


# --- and back -----------------------------------------------------------------------------------


def write_address(address: bytes, name: bytes | None = None) -> bytes:
    """Write an address, with quotes where it needs them, and a name before it."""
    is_empty = address in (b"", b"@")
    written = b"" if is_empty else _bare(address)
    if name is None and not is_empty:
        return written
    return (b"" if name is None else _name(name) + b" ") + b"<" + written + b">"


def _bare(address: bytes) -> bytes:
    at = address.rfind(b"@")
    local, host = (address, b"") if at < 0 else (address[:at], address[at + 1 :])
    written = _escape(local, b'"', b'"') if _needs_quotes(local) else local
    if not host:
        return written
    if not _needs_quotes(host):
        return written + b"@" + host
    if len(host) >= 2 and host.startswith(b"[") and host.endswith(b"]"):
        return written + b"@" + _escape(host[1:-1], b"[", b"]")
    return written + b"@" + _escape(host, b'"', b'"')


def _needs_quotes(part: bytes) -> bool:
    dots = part.startswith(b".") or part.endswith(b".") or b".." in part
    return not part or dots or bool(part.translate(None, _PLAIN_BYTES))


def _name(name: bytes) -> bytes:
    if b"=?" in name and not name.translate(None, _ATOM_BYTES + b" "):
        # An encoded word in quotes is none (RFC 2047 5 (3)).
        return name
    if not name.isascii():
        return encode_words(b" ".join(name.split()))
    return _escape(name, b'"', b'"')


def _escape(text: bytes, left: bytes, right: bytes) -> bytes:
    inner = b"".join(
        b"\\" + text[at : at + 1] if byte in _ESCAPED else text[at : at + 1]
        for at, byte in enumerate(text)
    )
    return left + inner + right


def write_field(label: bytes, entries: Sequence[Entry]) -> bytes:
    """Write a field with a list, in lines of at most 78 columns if they can be broken there."""
    line = label + b": "
    lines = []
    for at, text in enumerate(_written(entries)):
        piece = text if at + 1 == len(entries) else text + b","
        if at and len(line) + 1 + len(piece) > FOLD_COLUMNS:
            lines.append(line)
            line = b"  " + piece
        else:
            line += b" " + piece if at else piece
    return b"\n".join((*lines, line)) + b"\n"


def _written(entries: Iterable[Entry]) -> Iterable[bytes]:
    for entry in entries:
        if entry.address is not None:
            yield write_address(entry.address, entry.name)
        elif entry.name is not None:
            yield _name(entry.name) + b": ;"
