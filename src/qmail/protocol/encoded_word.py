"""Text beyond ASCII in the names of a header: encoded words (RFC 2047)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

WORD_BYTES_MAX: Final = 75
_TEXT: Final = b"=?utf-8?q?"
# RFC 1428 3: bytes that nobody has named the character set of.
_BYTES: Final = b"=?unknown-8bit?q?"
_END: Final = b"?="
# RFC 2047 5 (3): what may stand for itself inside a phrase.
_PLAIN: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/"


def encode_words(text: bytes) -> bytes:
    """Return `text` as encoded words, with blanks between them that readers do not show.

    Source: RFC 2047 2, 4.2 and 5 (3): at most 75 bytes each, whole characters only.
    """
    start, characters = _characters(text)
    words: list[bytes] = []
    word = b""
    for character in characters:
        code = _encoded(character)
        if len(start) + len(word) + len(code) + len(_END) > WORD_BYTES_MAX:
            words.append(word)
            word = b""
        word += code
    words.append(word)
    return b" ".join(start + word + _END for word in words)


def _characters(text: bytes) -> tuple[bytes, list[bytes]]:
    try:
        return _TEXT, [character.encode() for character in text.decode()]
    except UnicodeDecodeError:
        return _BYTES, [text[at : at + 1] for at in range(len(text))]


def _encoded(character: bytes) -> bytes:
    if character == b" ":
        return b"_"
    if character in _PLAIN:
        return character
    return b"".join(b"=%02X" % byte for byte in character)
