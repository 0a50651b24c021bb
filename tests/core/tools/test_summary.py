"""How a message begins, on a terminal."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.core.tools.summary import BODY_BYTES, HEADER_BYTES_MAX, beginning, gist


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (b"", b""),
        (b"Subject:   hi  \n\nyou\nthere\n", b"hi/you/there/"),
        (b"Subject: hi\n there\n\nyou", b"hi there/you"),
        (b"From: x\n\nyou\n", b"you/"),
        (b"no header", b"no header/"),
        (b"Subject: \xff\x1b[1m\n\n\t\0", b"/" + b"/[1m///"),
    ],
)
def test_subject_and_text_are_shown_on_one_line(message: bytes, shown: bytes) -> None:
    assert gist(*beginning(iter([message]))) == shown


def test_the_text_is_taken_from_as_many_parts_as_it_needs() -> None:
    parts = [b"Subject: hi\n", b"\n", b"y", b"ou"]
    assert gist(*beginning(iter(parts))) == b"hi/you"


def test_no_more_is_read_than_is_shown() -> None:
    parts = iter([b"Subject: hi\n\n", *[b"x" * 400] * 100])
    fields, body = beginning(parts)
    assert len(body) < BODY_BYTES + 400
    assert len(list(parts)) > 90
    assert len(gist(fields, body)) <= BODY_BYTES + 3


def test_a_header_without_end_has_no_text() -> None:
    parts = iter([b"Subject: hi\n", *[b"X: y\n" * 1000] * 1000])
    fields, body = beginning(parts)
    assert (fields[0].value, body) == (b" hi", b"")
    assert len(list(parts)) > 1000 - HEADER_BYTES_MAX // 5000 - 3


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=10))
def test_whatever_comes_nothing_in_the_text_moves_the_cursor(parts: list[bytes]) -> None:
    shown = gist(*beginning(iter(parts)))
    assert shown.isascii()
    assert shown.decode().isprintable()


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_cuts_change_nothing(message: bytes, cuts: list[int]) -> None:
    at = sorted({0, len(message), *[cut for cut in cuts if cut < len(message)]})
    parts = [message[start:end] for start, end in pairwise(at) if start < end]
    assert gist(*beginning(iter(parts))) == gist(*beginning(iter([message] if message else [])))
