"""The Received line of the SMTP server, and the count of hops."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.protocol.trace import HopCounter, Peer, received_start


def test_smtp_a7_the_layout_of_the_received_line() -> None:
    peer = Peer(host=b"client.example", ip=b"192.0.2.7", info=b"joe", local=b"mx.example")
    assert received_start(peer, b"laptop", b"ESMTP") == (
        b"Received: from client.example (HELO laptop) (joe@192.0.2.7)\n"
        b"  by mx.example with ESMTP id "
    )


def test_smtp_a7_helo_is_shown_only_where_it_differs_from_the_host() -> None:
    peer = Peer(host=b"client.example", ip=b"192.0.2.7", local=b"mx.example")
    expected = b"Received: from client.example (192.0.2.7)\n  by mx.example with SMTP id "
    assert received_start(peer, b"", b"SMTP") == expected
    assert received_start(peer, b"CLIENT.example", b"SMTP") == expected


def test_smtp_a7_other_bytes_become_question_marks() -> None:
    start = received_start(Peer(ip=b"2001:db8::1"), b"a b\r\nX: \xff(c)[1]", b"SMTP")
    assert start == (
        b"Received: from unknown (HELO a?b??X:???c?[1]) (2001:db8::1)\n  by unknown with SMTP id "
    )


def hops(parts: list[bytes]) -> int:
    counter = HopCounter()
    for part in parts:
        counter.feed(part)
    return counter.count


@pytest.mark.parametrize(
    ("message", "count"),
    [
        (b"", 0),
        (b"\nReceived: in the body\n", 0),
        (b"Received: a\n  b\nDELIVERED-TO: c\nSubject: x\n\nReceived: y\n", 2),
        (b"Received-SPF: pass\nReceivedX: y\nX-Received: z\n\n", 0),
        (b"Received : obsolete\nreceived:\n\n", 2),
        (b"Subject: Received: x\n Received: folded\n\n", 0),
        (b"no header at all", 0),
    ],
)
def test_oddities_5_only_fields_of_exactly_these_names_count(message: bytes, count: int) -> None:
    assert hops([message]) == count
    assert hops([message[at : at + 1] for at in range(len(message))]) == count


@given(
    message=st.lists(
        st.sampled_from(
            [b"\n", b"Received:", b"received", b":", b" ", b"Delivered-To:", b"x", b"\n\n"]
        ),
        max_size=20,
    ).map(b"".join),
    cuts=st.lists(st.integers(1, 9), max_size=10),
)
def test_any_split_gives_the_same_count(message: bytes, cuts: list[int]) -> None:
    parts, start = [], 0
    for size in cuts:
        parts.append(message[start : start + size])
        start += size
    assert hops([*parts, message[start:]]) == hops([message])
