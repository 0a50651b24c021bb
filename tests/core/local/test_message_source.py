"""Reading a message in parts, and finding a line in its header only."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.core.local.message_source import FIRST_BYTES, header_has, rest_of

LINE = b"Delivered-To: a@b\n"


class BytesSource:
    def __init__(self, message: bytes) -> None:
        self.message = message
        self.longest = 0

    def read(self, offset: int, size: int) -> bytes:
        self.longest = max(self.longest, size)
        return self.message[offset : offset + size]


def found_in(message: bytes) -> bool:
    source = BytesSource(message)
    return header_has(LINE, source.read(0, FIRST_BYTES), source)


@pytest.mark.parametrize(
    ("message", "found"),
    [
        (LINE + b"\nbody\n", True),
        (b"Received: x\n" + LINE + b"\n", True),
        (b"Received: x\n" + LINE, True),
        (b"Received: x\n\n" + LINE, False),
        (b"\n" + LINE, False),
        (b"X-" + LINE + b"\n", False),
        (b"delivered-to: a@b\n\n", False),
        (b"Delivered-To: a@b.c\n\n", False),
        (b"", False),
    ],
)
def test_loop_line_is_found_in_the_header_only(message: bytes, found: bool) -> None:
    assert found_in(message) is found


@pytest.mark.parametrize("shift", range(-len(LINE) - 2, 4))
def test_line_across_a_part_border_is_found(shift: int) -> None:
    fill = b"X: " + b"x" * 60 + b"\n"
    before = fill * (FIRST_BYTES // len(fill) - 2)
    pad = FIRST_BYTES + shift - len(before)
    before += b"y" * (pad - 1) + b"\n"
    assert found_in(before + LINE + b"\nbody")
    assert not found_in(before + b"\n" + LINE)


def test_header_of_ten_megabytes_is_read_in_bounded_parts() -> None:
    source = BytesSource(b"X: " + b"x" * 10_000_000 + b"\n" + LINE + b"\n")
    assert header_has(LINE, source.read(0, FIRST_BYTES), source)
    assert source.longest <= FIRST_BYTES


def test_rest_is_complete() -> None:
    message = bytes(range(256)) * 5000
    source = BytesSource(message)
    assert b"".join(rest_of(source, 1000)) == message[1000:]


@settings(max_examples=100)
@given(st.lists(st.sampled_from([LINE, b"\n", b"X: y\n", b"Delivered-To: ", b"a@b", b"z"])))
def test_same_answer_as_reading_line_by_line(parts: list[bytes]) -> None:
    message = b"".join(parts)
    header = []
    for line in message.splitlines(keepends=True):
        if line == b"\n":
            break
        header.append(line)
    assert found_in(message) is (LINE in header)
