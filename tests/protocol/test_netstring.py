"""Netstrings: any split of a stream gives the same frames, garbage gives FrameError only."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.protocol.netstring import (
    FrameError,
    FrameReader,
    iter_fields,
    pack,
    pack_fields,
    unpack_fields,
)

PAYLOADS = st.lists(st.binary(max_size=40), max_size=6)
NOT_NETSTRINGS = [
    b":,",
    b"01:a,",
    b"00:,",
    b"+1:a,",
    b"-1:a,",
    b" 1:a,",
    b"1 :a,",
    b"1_0:aaaaaaaaaa,",
    b"\xb2:ab,",
    b"1:ab",
    b"1:a;",
    b"x",
    b"1234567890",
    b"1234567890:",
    b"999999999:",
]


@given(payloads=PAYLOADS, cuts=st.lists(st.integers(0, 300), max_size=8))
def test_any_split_of_the_stream_gives_the_same_payloads(
    payloads: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(map(pack, payloads))
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    reader = FrameReader(40)
    got = [payload for a, b in pairwise(places) for payload in reader.feed(stream[a:b])]
    assert got == payloads
    assert reader.is_empty


def test_a_stream_that_comes_byte_by_byte_gives_the_same_payloads() -> None:
    reader = FrameReader(1000)
    stream = pack(b"") + pack(b"x" * 1000) + pack(b"1:a,")
    got = [p for at in range(len(stream)) for p in reader.feed(stream[at : at + 1])]
    assert got == [b"", b"x" * 1000, b"1:a,"]


@settings(max_examples=300)
@given(garbage=st.one_of(st.binary(max_size=60), st.text("0123456789:,ab").map(str.encode)))
def test_garbage_never_raises_anything_but_frame_error(garbage: bytes) -> None:
    reader = FrameReader(20)
    try:
        payloads = reader.feed(garbage)
    except FrameError:
        return
    assert garbage.startswith(b"".join(map(pack, payloads)))
    assert all(len(payload) <= 20 for payload in payloads)


@pytest.mark.parametrize("wrong", NOT_NETSTRINGS)
def test_a_bad_or_padded_length_is_refused_at_once(wrong: bytes) -> None:
    with pytest.raises(FrameError):
        FrameReader(100).feed(wrong)


def test_a_frame_of_the_limit_passes_and_one_byte_more_is_refused_by_its_length_alone() -> None:
    assert FrameReader(10).feed(pack(b"x" * 10)) == [b"x" * 10]
    with pytest.raises(FrameError):
        FrameReader(10).feed(b"11:")


def test_an_unfinished_frame_leaves_the_reader_not_empty() -> None:
    reader = FrameReader(10)
    assert reader.feed(b"3:ab") == []
    assert not reader.is_empty
    assert reader.feed(b"c,") == [b"abc"]
    assert reader.is_empty


def test_frames_before_an_unfinished_one_are_given_out_at_once() -> None:
    assert FrameReader(10).feed(b"1:a,1:b,5:c") == [b"a", b"b"]


@given(fields=PAYLOADS)
def test_fields_come_back_as_they_were_packed(fields: list[bytes]) -> None:
    packed = pack_fields(*fields)
    assert unpack_fields(packed, len(fields)) == fields
    assert list(iter_fields(packed)) == fields


@given(fields=PAYLOADS, count=st.integers(0, 8))
def test_another_number_of_fields_is_refused(fields: list[bytes], count: int) -> None:
    if count == len(fields):
        return
    with pytest.raises(FrameError):
        unpack_fields(pack_fields(*fields), count)


@pytest.mark.parametrize("wrong", [*NOT_NETSTRINGS, b"2:a,", b"1:a,9", b"5:abc,"])
def test_fields_that_are_no_netstrings_are_refused(wrong: bytes) -> None:
    with pytest.raises(FrameError):
        unpack_fields(wrong, 1)
    with pytest.raises(FrameError):
        list(iter_fields(wrong))


@given(garbage=st.binary(max_size=40), count=st.integers(0, 4))
def test_garbage_fields_raise_nothing_but_frame_error(garbage: bytes, count: int) -> None:
    try:
        fields = unpack_fields(garbage, count)
    except FrameError:
        return
    assert pack_fields(*fields) == garbage
