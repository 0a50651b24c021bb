"""Where headers end, and what their fields are (spec/inject.md 4)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.protocol.header import (
    FOLD_COLUMNS,
    Field,
    HeaderReader,
    HeaderTooLongError,
    field_name,
    folded,
    make_field,
)


def read(*parts: bytes, bytes_max: int = 1000000) -> tuple[list[bytes], bytes]:
    """Feed the parts up to the end of the header; return raw fields, and all that follows."""
    reader = HeaderReader(bytes_max)
    for at, part in enumerate(parts):
        body = reader.feed(part)
        if body is not None:
            return [field.raw for field in reader.fields], body + b"".join(parts[at + 1 :])
    body = reader.finish()
    return [field.raw for field in reader.fields], body


@pytest.mark.parametrize(
    ("message", "fields", "body"),
    [
        (b"", [], b""),
        (b"\nbody", [], b"\nbody"),
        (b"A: b\n\nbody\n", [b"A: b\n"], b"\nbody\n"),
        (b"A: b\n c\n\td\nE: f\n\n", [b"A: b\n c\n\td\n", b"E: f\n"], b"\n"),
        (b"A: b", [b"A: b\n"], b""),
        (b"A: b\n c", [b"A: b\n c\n"], b""),
        (b"A: b\n \n\nx", [b"A: b\n \n"], b"\nx"),
    ],
)
def test_the_header_ends_with_the_first_empty_line(
    message: bytes, fields: list[bytes], body: bytes
) -> None:
    assert read(message) == (fields, body)


@pytest.mark.parametrize(
    ("message", "fields", "body"),
    [
        (b"hello\n", [], b"\nhello\n"),
        (b"hello", [], b"\nhello\n"),
        (b" A: b\n", [], b"\n A: b\n"),
        (b"A: b\nno field\nC: d\n", [b"A: b\n"], b"\nno field\nC: d\n"),
        (b"A: b\nC d: e\n", [b"A: b\n"], b"\nC d: e\n"),
        (b": b\n", [], b"\n: b\n"),
        (b"A: b\n\r\nbody\n", [b"A: b\n"], b"\n\r\nbody\n"),
        (b"\xc3\xa4: b\n", [], b"\n\xc3\xa4: b\n"),
    ],
)
def test_an_empty_line_is_put_before_a_line_that_is_no_field(
    message: bytes, fields: list[bytes], body: bytes
) -> None:
    assert read(message) == (fields, body)


def test_a_mailbox_line_becomes_a_field() -> None:
    fields, _ = read(b"From joe Mon Nov 23 10:00:00 2026\nA: b\n\n")
    assert fields == [b"MBOX-Line: From joe Mon Nov 23 10:00:00 2026\n", b"A: b\n"]
    assert read(b"From : joe\n\n")[0] == [b"From : joe\n"]


def test_a_body_without_line_ends_is_seen_at_once() -> None:
    reader = HeaderReader(10**9)
    start = b"x y" * 1000
    assert reader.feed(start) == b"\n" + start


def test_a_body_without_line_ends_is_seen_also_where_it_comes_in_small_parts() -> None:
    reader = HeaderReader(10**9)
    assert reader.feed(b"Subject: x\nno fie") is None
    assert reader.feed(b"ld" * 1000) == b"\nno field" + b"ld" * 999
    reader = HeaderReader(10**9)
    assert [reader.feed(b"x y") for _ in range(400)][-1] is not None or reader.fields == []


def test_a_header_over_the_limit_is_an_error() -> None:
    reader = HeaderReader(100000)
    assert reader.feed(b"A: " + b"b" * 50000) is None
    with pytest.raises(HeaderTooLongError, match="100000"):
        reader.feed(b"b" * 50000)


def test_names_are_found_with_blanks_before_the_colon() -> None:
    assert field_name(b"Subject \t: x") == b"subject"
    field = Field(b"subject", b"SubJect \t: a\r\n b\n\tc\n")
    assert (field.label, field.value) == (b"SubJect", b" a b\tc")
    assert make_field(b"Date", b"now") == Field(b"date", b"Date: now\n")


def test_fields_are_folded_after_commas() -> None:
    assert folded(b"To", [b""]) == b"To:\n"
    assert folded(b"To", [b"a", b"b"]) == b"To: a, b\n"
    assert folded(b"To", [b"", b"a", b""]) == b"To: , a,\n"
    pieces = [b"a" * 30] * 5
    text = folded(b"To", pieces)
    lines = text.split(b"\n")
    assert lines == [
        b"To: " + b", ".join(pieces[:2]) + b",",
        b"  " + b", ".join(pieces[2:4]) + b",",
        b"  " + pieces[4],
        b"",
    ]
    assert max(map(len, lines)) <= FOLD_COLUMNS


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        (34, 37, b"To: %b, %b\n"),
        (34, 38, b"To: %b, %b\n"),
        (34, 39, b"To: %b,\n  %b\n"),
        (200, 3, b"To: %b,\n  %b\n"),
        (3, 200, b"To: %b,\n  %b\n"),
        (200, 0, b"To: %b,%b\n"),
    ],
)
def test_inject_6_a_line_has_78_characters_at_most_or_no_comma(
    first: int, second: int, wanted: bytes
) -> None:
    pieces = [b"a" * first, b"b" * second]
    assert folded(b"To", pieces) == wanted % tuple(pieces)


def test_the_comma_at_the_end_of_a_line_counts() -> None:
    pieces = [b"a" * 34, b"b" * 38, b"c"]
    assert folded(b"To", pieces) == b"To: %b,\n  %b, %b\n" % tuple(pieces)


@given(st.binary(max_size=200) | st.text("A: \n\t\rFrom", max_size=60).map(str.encode), st.data())
@settings(max_examples=150)
def test_no_bytes_are_lost_however_they_arrive(message: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(message)))
    whole = read(message) if message else read()
    assert read(message[:cut], message[cut:]) == whole
    fields, body = whole
    again = b"".join(fields).replace(b"MBOX-Line: From ", b"From ") + body
    assert again.replace(b"\n", b"") == message.replace(b"MBOX-Line: From ", b"From ").replace(
        b"\n", b""
    )
