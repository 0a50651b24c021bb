"""How much of a message comes back with its bounce."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.bounce_readers import material

from qmail.core.bounce.returned import (
    HEADER_BYTES_MAX,
    LINE_BYTES_MAX,
    ended,
    header_of,
    is_8bit,
    is_binary,
    returned,
    returned_in_mime,
)


def cut(text: bytes, *, parts: int = 5) -> list[bytes]:
    size = max(1, len(text) // parts)
    return [text[at : at + size] for at in range(0, len(text), size)]


@pytest.mark.parametrize(
    ("text", "header"),
    [
        (b"A: 1\n\nbody\n\nmore\n", b"A: 1\n\n"),
        (b"A: 1\n", b"A: 1\n\n"),
        (b"A: 1", b"A: 1\n\n"),
        (b"", b"\n\n"),
    ],
)
def test_a_header_ends_with_an_empty_line(text: bytes, header: bytes) -> None:
    assert header_of(iter(cut(text))) == header


def test_of_a_long_header_whole_lines_are_returned() -> None:
    text = b"A: " + b"x" * 80 + b"\n"
    found = header_of(iter(cut(text * 2000)))
    assert HEADER_BYTES_MAX - len(text) < len(found) <= HEADER_BYTES_MAX + 1
    assert found.endswith(b"x\n\n")
    assert header_of(iter((b"x" * 1_000_000,))) == b"\n"


def test_a_message_that_does_not_end_is_not_read_to_its_end() -> None:
    def parts() -> Iterator[bytes]:
        yield from [b"A: 1\n"] * 20_000
        raise AssertionError

    assert len(header_of(parts())) <= HEADER_BYTES_MAX + 1


@given(
    text=st.lists(st.sampled_from([b"a", b"\n", b"\n\n", b": "])).map(b"".join),
    size=st.integers(1, 4),
)
def test_any_cut_of_the_input_gives_the_same_header(text: bytes, size: int) -> None:
    whole = header_of(iter((text,)))
    assert header_of(iter([text[at : at + size] for at in range(0, len(text), size)])) == whole
    assert whole.endswith(b"\n\n")


@pytest.mark.parametrize(
    ("text", "binary"),
    [
        (b"plain\n", False),
        (b"caf\xc3\xa9\n", False),
        (b"a\0b\n", True),
        (b"a\r\nb\n", True),
        (b"x" * LINE_BYTES_MAX + b"\n" + b"x" * LINE_BYTES_MAX, False),
        (b"x" * (LINE_BYTES_MAX + 1), True),
    ],
)
def test_rfc2045_2_7_and_2_8_what_neither_7bit_nor_8bit_may_have(text: bytes, binary: bool) -> None:
    for parts in (1, 5, len(text)):
        assert is_binary(iter(cut(text, parts=parts))) is binary


def test_is_8bit() -> None:
    assert is_8bit(iter((b"a", b"\xc3\xa9")))
    assert not is_8bit(iter((b"a", b"b")))


def test_ended_adds_a_line_feed_where_the_last_one_is_missing() -> None:
    assert list(ended(iter((b"a\n", b"b")))) == [b"a\n", b"b", b"\n"]
    assert list(ended(iter((b"a\n",)))) == [b"a\n"]
    assert list(ended(iter(()))) == [b"\n"]


def test_in_mime_the_header_of_what_is_binary_is_returned_without_the_bytes_that_are() -> None:
    text = b"A: 1\0\r\n\nbody\n"
    found = returned_in_mime(material(b"", text), 1000)
    assert b"".join(found.parts()) == b"A: 1??\n\n"
    assert found.why_cut.startswith(b"--- Only its header is returned")
    whole = returned(material(b"", text), 1000)
    assert (b"".join(whole.parts()), whole.why_cut) == (text, b"")
