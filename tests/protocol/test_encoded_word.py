"""Encoded words read back by another implementation."""

from email.header import decode_header, make_header

from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.protocol.encoded_word import WORD_BYTES_MAX, encode_words


@given(st.text(min_size=1, max_size=120).filter(lambda text: text.strip() and text.isprintable()))
@settings(max_examples=60)
def test_rfc2047_2_words_are_short_ascii_and_decode_to_the_text(text: str) -> None:
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        return
    words = encode_words(raw)
    assert words.isascii()
    assert all(len(word) <= WORD_BYTES_MAX for word in words.split(b" "))
    assert str(make_header(decode_header(words.decode()))) == text


@given(st.binary(min_size=1, max_size=120).filter(lambda text: not is_utf8(text)))
@settings(max_examples=60)
def test_rfc1428_3_what_is_not_utf8_is_kept_as_bytes_of_an_unknown_character_set(
    text: bytes,
) -> None:
    words = encode_words(text)
    assert words.isascii()
    assert all(len(word) <= WORD_BYTES_MAX for word in words.split(b" "))
    found = decode_header(words.decode())
    assert found == [(text, "unknown-8bit")]


def is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
