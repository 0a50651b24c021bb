"""Text beyond ASCII in the names of a header: encoded words (RFC 2047)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

WORD_BYTES_MAX: Final = 75
_START: Final = b"=?utf-8?q?"
_END: Final = b"?="
# RFC 2047 5 (3): what may stand for itself inside a phrase.
_PLAIN: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/"


def encode_words(text: bytes) -> bytes:
    """Return UTF-8 `text` as encoded words, with blanks between them that readers do not show.

    Raises: UnicodeDecodeError: not UTF-8.
    Source: RFC 2047 2, 4.2 and 5 (3): at most 75 bytes each, whole characters only.
    """
    words: list[bytes] = []
    word = b""
    for character in text.decode():
        code = _encoded(character.encode())
        if len(_START) + len(word) + len(code) + len(_END) > WORD_BYTES_MAX:
            words.append(word)
            word = b""
        word += code
    words.append(word)
    return b" ".join(_START + word + _END for word in words)


def _encoded(character: bytes) -> bytes:
    if character == b" ":
        return b"_"
    if character in _PLAIN:
        return character
    return b"".join(b"=%02X" % byte for byte in character)
