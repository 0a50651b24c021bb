"""Ids of messages: their form, their order, and where a stored message tells its own."""

import re
from email import message_from_bytes
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.protocol.trace_id import TraceIds, id_of_message, invoked_by, is_trace_id, received_id

CLASSIC = re.compile(
    rb"Received: \(qmail (\d+) invoked (?:by uid (\d+)|by alias|from network|for bounce)\); "
    rb"\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d -0000"
)
"""How other programs look for qmail-queue's line."""
LINE = b"Received: (qmail 77 invoked by uid 5); 25 Nov 2026 16:27:26 -0000"


def test_ids_are_short_and_sort_by_time() -> None:
    ids = TraceIds(0xFFFFE)
    made = [ids.make(1_764_088_046.0 + number / 1000) for number in range(50)]
    assert made == sorted(made)
    assert all(is_trace_id(one) for one in made)


def test_ids_of_one_moment_differ() -> None:
    ids, others = TraceIds(1), TraceIds(500)
    assert len({maker.make(1.0) for maker in (ids, others) for _ in range(100)}) == 200


@pytest.mark.parametrize("tail", [b"", received_id(b"5f0c1a2b3c4d5e6f70")])
def test_queue_4_the_received_line_keeps_its_classic_form(tail: bytes) -> None:
    line = LINE + tail
    assert CLASSIC.match(line)
    date = str(message_from_bytes(line + b"\n\n")["Received"]).split(";")[1]
    assert parsedate_to_datetime(date.strip()).isoformat() == "2026-11-25T16:27:26"


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (LINE + b" (id abc)\nSubject: x\n", b"abc"),
        (LINE + b"\nReceived: from a (1.2.3.4)\n  by b with ESMTP id abc; date\n", b"abc"),
        (LINE + b"\nReceived: from a (1.2.3.4)\n  by b with SMTP id abc; date\n", b"abc"),
        (LINE + b" (id mine)\nReceived: from a (1)\n  by b with ESMTP id other; date\n", b"mine"),
        (LINE + b"\nSubject: x\n  by b with ESMTP id abc; date\n", b""),
        (LINE + b"\nSubject: x\nReceived: from a (1)\n  by b with ESMTP id abc; date\n", b""),
        (LINE + b" (id BAD)\n", b""),
        (b"Subject: no line of ours\n", b""),
        (b"", b""),
    ],
)
def test_a_stored_message_tells_its_id_in_its_first_lines(head: bytes, found: bytes) -> None:
    assert id_of_message(head) == found


@given(st.binary(max_size=300))
def test_no_bytes_upset_the_search(rest: bytes) -> None:
    for head in (rest, LINE + rest, LINE + b"\n" + rest):
        found = id_of_message(head)
        assert not found or is_trace_id(found)


@pytest.mark.parametrize(
    ("head", "uid"),
    [
        (b"Received: (qmail 12 invoked by uid 1000); 25 Nov 2026 17:00:00 -0000\nX: y\n", 1000),
        (b"Received: (qmail 12 invoked by uid 0);", 0),
        (b"Received: (qmail 12 invoked from network); x", None),
        (b"Received: (qmail 12 invoked for bounce); x", None),
        (b"X: y\nReceived: (qmail 12 invoked by uid 1000); x\n", None),
        (b"", None),
    ],
)
def test_queue_4_the_first_line_says_who_queued_a_message(head: bytes, uid: int | None) -> None:
    assert invoked_by(head) == uid
