"""Sizes on the wire: RFC 1939 11, spec/oddities.md 9."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.core.pop3.sizes import size_in_name, wire_size
from qmail.protocol.dotstuffing import DotStuffer

MESSAGES = st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b"a", b".", b"text"])).map(b"".join)


def cut(message: bytes, size: int) -> list[bytes]:
    return [message[at : at + size] for at in range(0, len(message), size)]


@given(message=MESSAGES, size=st.integers(1, 5))
def test_oddities_9_the_size_is_the_length_of_what_is_sent(message: bytes, size: int) -> None:
    stuffer = DotStuffer()
    wire = stuffer.feed(message) + stuffer.finish()
    lines = wire.removesuffix(b".\r\n").split(b"\r\n")
    doubled = sum(line.startswith(b".") for line in lines)
    expected = len(wire) - len(b".\r\n") - doubled
    assert wire_size([message]) == wire_size(cut(message, size)) == expected
    assert wire_size([b"", *cut(message, size), b""]) == expected


@pytest.mark.parametrize(
    ("message", "size"),
    [(b"", 0), (b"a", 3), (b"a\n", 3), (b"a\r\n", 3), (b"\n", 2), (b".\n", 3), (b"a\rb\n", 6)],
)
def test_sizes_by_hand(message: bytes, size: int) -> None:
    assert wire_size([message]) == size


@pytest.mark.parametrize(
    ("base", "size"),
    [
        ("1.a.host,S=100,W=104", 104),
        ("1.a.host,W=104,S=100", 104),
        ("1.a.host,W=104", 104),
        ("1.a.host", None),
        ("1.a.host,S=100", None),
        ("1.a.host,W=", None),
        ("1.a.host,W=x", None),
        ("1.a.host,W=104x", None),
        ("1.a.host,W=\u0661\u0660\u0664", None),
        # No message of 100 bytes can have these.
        ("1.a.host,W=99", None),
        ("1.a.host,W=203", None),
        ("1.a.host,W=" + "9" * 5000, None),
    ],
)
def test_the_size_in_a_name_is_believed_where_it_can_be_true(base: str, size: int | None) -> None:
    assert size_in_name(base, 100) == size
