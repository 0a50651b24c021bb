"""Stored message to wire form."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.protocol.dotstuffing import DotStuffer, wire_form

MESSAGES = st.lists(
    st.sampled_from([b"\r", b"\n", b".", b"a", b"\0", b"\xff", b"\r\n.\r\n", b"\n.\n"]), max_size=40
).map(b"".join)


def stuffed(*parts: bytes) -> bytes:
    stuffer = DotStuffer()
    return b"".join([stuffer.feed(part) for part in parts]) + stuffer.finish()


def unstuffed(wire: bytes) -> bytes:
    """Read as a strict server does: to the first CRLF.CRLF, which must be the end."""
    if wire == b".\r\n":
        return b""
    data, end, rest = wire.partition(b"\r\n.\r\n")
    assert end
    assert not rest
    lines = (data + b"\r\n").split(b"\r\n")[:-1]
    return b"".join([line.removeprefix(b".") + b"\n" for line in lines])


def as_read(message: bytes) -> bytes:
    """What the stored bytes mean: CR LF and CR are line ends, the last line has one."""
    plain = message.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return plain if not plain or plain.endswith(b"\n") else plain + b"\n"


@settings(max_examples=200)
@given(message=MESSAGES, cuts=st.lists(st.integers(0, 60), max_size=6))
def test_a_server_reads_what_was_stored_however_it_was_cut(message: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(message)) for cut in cuts), len(message)]
    parts = [message[start:end] for start, end in itertools.pairwise(edges)]
    wire = stuffed(*parts)
    assert wire == wire_form(message)
    assert unstuffed(wire) == as_read(message)


@settings(max_examples=200)
@given(message=MESSAGES)
def test_rfc5321_2_3_8_no_cr_leaves_but_in_crlf_and_no_lf_either(message: bytes) -> None:
    bare = wire_form(message).replace(b"\r\n", b"")
    assert b"\r" not in bare
    assert b"\n" not in bare


@pytest.mark.parametrize(
    "smuggled",
    [b"foo\r.\nMAIL", b"foo\r.\r\nMAIL", b"foo\n.\nMAIL", b"foo\r\n.\r\nMAIL", b"foo\n.\rMAIL"],
)
def test_oddities_1_stored_bytes_never_end_the_data(smuggled: bytes) -> None:
    assert stuffed(smuggled) == b"foo\r\n..\r\nMAIL\r\n.\r\n"


def test_a_cr_at_the_end_of_a_part_and_the_lf_after_it_are_one_line_end() -> None:
    assert stuffed(b"a\r", b"\n.b\n") == b"a\r\n..b\r\n.\r\n"
    assert stuffed(b"a\r", b"", b"\n") == b"a\r\n.\r\n"
    assert stuffed(b"a\r", b".") == b"a\r\n..\r\n.\r\n"


def test_oddities_1_a_missing_last_lf_is_supplied() -> None:
    assert stuffed(b"a") == b"a\r\n.\r\n"


def test_an_empty_message_is_the_dot_alone() -> None:
    assert stuffed() == stuffed(b"") == wire_form(b"") == b".\r\n"
