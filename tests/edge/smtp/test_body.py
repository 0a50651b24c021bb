"""A stored message on its way out, whole or in parts."""

import os
import tempfile

import pytest

from qmail.edge.smtp.body import PART_BYTES, Body
from qmail.protocol.dotstuffing import wire_form


def body_of(message: bytes, size: int | None = None) -> Body:
    with tempfile.TemporaryFile() as file:
        file.write(message)
        file.flush()
        return Body.of_file(os.dup(file.fileno()), len(message) if size is None else size)


def wire_of(body: Body) -> bytes:
    if body.whole is not None:
        return body.whole
    wire = b""
    while part := body.next_part():
        wire += part
    body.close()
    return wire


LONG = b".line\r\n" * (PART_BYTES // 4)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"a\n.b",
        b"x" * PART_BYTES,
        b"x" * (PART_BYTES + 1),
        LONG,
        b"a" * (PART_BYTES - 1) + b"\r\n",
        b"a" * (PART_BYTES - 1) + b"\r\n" + b"." * PART_BYTES,
    ],
    ids=len,
)
def test_a_long_message_leaves_in_parts_as_a_small_one_leaves_whole(message: bytes) -> None:
    assert wire_of(body_of(message)) == wire_form(message)


def test_a_file_that_has_grown_since_it_was_measured_is_sent_to_its_end() -> None:
    assert wire_of(body_of(b"ab\ncd\n", size=3)) == b"ab\r\ncd\r\n.\r\n"


def test_rfc1870_3_the_size_counts_line_ends_as_two_bytes() -> None:
    assert body_of(b"a\nb\n").measure() == (6, False)
    long = b"a\n" * PART_BYTES
    body = body_of(long)
    assert body.measure() == (3 * PART_BYTES, False)
    assert wire_of(body) == wire_form(long)


def test_8_bit_bytes_are_seen_anywhere() -> None:
    assert body_of(b"\xfc\n").measure()[1]
    assert body_of(b"a" * (2 * PART_BYTES) + b"\xfc").measure()[1]


def test_a_message_can_be_in_memory() -> None:
    assert wire_of(Body.of_bytes(b"a\n")) == b"a\r\n.\r\n"


def test_no_descriptor_is_left_open() -> None:
    before = set(os.listdir("/proc/self/fd"))
    for message in (b"small", LONG):
        body_of(message).close()
    with pytest.raises(OSError):
        Body.of_file(os.open("/", os.O_RDONLY), 10)
    # What earlier tests left to the collector may go meanwhile.
    assert set(os.listdir("/proc/self/fd")) <= before
