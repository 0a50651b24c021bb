"""Framing of SMTP commands and message data, cut everywhere."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.protocol.conversation import LineReader, LineTooLongError
from qmail.protocol.lines import COMMAND_BYTES_MAX, BareLineEndError, DataReader

CUTS = st.lists(st.integers(1, 12), max_size=12)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """Cut `data` into pieces of these sizes, and the rest."""
    pieces = []
    start = 0
    for size in sizes:
        pieces.append(data[start : start + size])
        start += size
    return [piece for piece in [*pieces, data[start:]] if piece]


def read_lines(pieces: list[bytes]) -> list[bytes | None]:
    """Return the command lines; None for each one that is too long."""
    reader = LineReader()
    found: list[bytes | None] = []
    for piece in pieces:
        reader.feed(piece)
        while True:
            try:
                line = reader.take(COMMAND_BYTES_MAX)
            except LineTooLongError:
                found.append(None)
                continue
            if line is None:
                break
            found.append(line)
    return found


def read_data(pieces: list[bytes]) -> tuple[bytes, bytes | None]:
    """Return the stored form, and what came behind the end; None: it has not come."""
    reader = DataReader()
    stored = b""
    for index, piece in enumerate(pieces):
        stored += reader.feed(piece)
        if reader.is_ended:
            return stored, reader.rest + b"".join(pieces[index + 1 :])
    return stored, None


def outcome(pieces: list[bytes]) -> tuple[bytes, bytes | None] | str:
    """As read_data; for refused data a word, because how much comes before depends on the cuts."""
    try:
        return read_data(pieces)
    except BareLineEndError:
        return "refused"


# --- commands -----------------------------------------------------------------------------------


def test_smtp_a2_a_command_ends_at_lf_and_one_cr_before_it_goes() -> None:
    lines = read_lines([b"NOOP\r\nNOOP\nNOOP\r\r\n\r\n"])
    assert lines == [b"NOOP", b"NOOP", b"NOOP\r", b""]


@pytest.mark.parametrize("ending", [b"\r\n", b"\n"])
def test_a_command_of_4096_bytes_is_taken_and_a_longer_one_told_once(ending: bytes) -> None:
    longest = b"x" * COMMAND_BYTES_MAX
    assert read_lines([longest + ending + b"NOOP\r\n"]) == [longest, b"NOOP"]
    assert read_lines([longest + b"x" + ending + b"NOOP\r\n"]) == [None, b"NOOP"]


def test_a_line_without_end_is_told_once_and_kept_nowhere() -> None:
    reader = LineReader()
    told = 0
    for _ in range(1000):
        reader.feed(b"x" * 1000)
        try:
            assert reader.take(COMMAND_BYTES_MAX) is None
        except LineTooLongError:
            told += 1
        assert len(reader) <= COMMAND_BYTES_MAX + 1
    assert told == 1
    reader.feed(b"\r\nNOOP\r\n")
    assert reader.take(COMMAND_BYTES_MAX) == b"NOOP"


@given(
    lines=st.lists(
        st.one_of(
            st.binary(max_size=20).filter(lambda line: b"\n" not in line),
            st.integers(4090, 4100).map(lambda length: b"y" * length),
        ),
        max_size=6,
    ),
    ending=st.sampled_from([b"\r\n", b"\n"]),
    cuts=st.lists(st.one_of(st.integers(1, 12), st.integers(1000, 5000)), max_size=10),
)
@settings(max_examples=60)
def test_any_split_gives_the_same_lines(lines: list[bytes], ending: bytes, cuts: list[int]) -> None:
    script = b"".join(line + ending for line in lines)
    assert read_lines(cut(script, cuts)) == read_lines([script])


# --- data ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "stored"),
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\n"),
        (b"a\r\n.\r\n", b"a\n"),
        (b"..\r\n.\r\n", b".\n"),
        (b".a\r\n.\r\n", b"a\n"),
        (b"a\r\n..\r\n..b\r\n.\r\n", b"a\n.\n.b\n"),
        (b"...\r\n.\r\n", b"..\n"),
        (b"a.b\r\n.\r\n", b"a.b\n"),
        (b"\x00\xff\r\n.\r\n", b"\x00\xff\n"),
        (b"\r\n\r\n.\r\n", b"\n\n"),
    ],
)
def test_rfc5321_4_5_2_dots_are_unstuffed(wire: bytes, stored: bytes) -> None:
    assert read_data([wire + b"QUIT\r\n"]) == (stored, b"QUIT\r\n")
    assert read_data(cut(wire + b"QUIT\r\n", [1] * 30)) == (stored, b"QUIT\r\n")


SMUGGLED = b"MAIL FROM:<evil@example>\r\n"
ENDINGS = [
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r", b"\r.\n",
    b"\r\n\x00.\r\n", b"\r\n.\x00\r\n", b"\r\n.\r\r\n", b"\r\r\n.\r\n", b"\n\r\n.\r\n",
    b"\r\n\r.\r\n", b"\r\n .\r\n", b"\r\n. \r\n", b"\r\n..\r\n", b"\n\n.\n\n",
]  # fmt: skip
HARMLESS = {b"\r\n\x00.\r\n", b"\r\n.\x00\r\n", b"\r\n .\r\n", b"\r\n. \r\n", b"\r\n..\r\n"}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("before", [b"", b"text"])
def test_rfc5321_4_1_1_4_only_crlf_dot_crlf_ends_the_data(ending: bytes, before: bytes) -> None:
    wire = before + ending + SMUGGLED
    for pieces in ([wire], cut(wire, [1] * len(wire)), cut(wire, [len(before) + 1, 1, 1, 1])):
        found = outcome(pieces)
        if ending in HARMLESS:
            # A line of the message like any other.
            assert found == (read_data([before + ending + SMUGGLED])[0], None)
        else:
            assert found == "refused"


@pytest.mark.parametrize("position", range(8))
@pytest.mark.parametrize("byte", [b"\r", b"\n"])
def test_a_bare_line_end_anywhere_before_the_final_dot_is_refused(
    position: int, byte: bytes
) -> None:
    text = b"ab\r\ncd\r\n"
    positions = [0, 1, 2, 4, 5, 6, 8]
    at = positions[position % len(positions)]
    wire = text[:at] + byte + text[at:] + b".\r\n"
    assert outcome([wire]) == "refused"
    for size in range(1, len(wire)):
        assert outcome(cut(wire, [size])) == "refused"


@given(
    data=st.lists(
        st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"\r\n.\r\n", b"a", b"\x00"]),
        max_size=14,
    ).map(b"".join),
    cuts=CUTS,
)
@settings(max_examples=300)
def test_any_split_gives_the_same_data(data: bytes, cuts: list[int]) -> None:
    whole, split = outcome([data]), outcome(cut(data, cuts))
    if whole == "refused" or split == "refused":
        # A bare end right behind the real end belongs to what follows, in every split.
        assert whole == split
        return
    assert split[1] == whole[1]
    if whole[1] is not None:
        assert split[0] == whole[0]


@given(
    message=st.lists(
        st.sampled_from([b"a", b".", b"..", b"\n", b"\n.", b"\n..", b"\xff", b"longer text"]),
        max_size=20,
    ).map(lambda parts: b"".join(parts) + b"\n"),
    cuts=CUTS,
)
@settings(max_examples=200)
def test_what_is_stuffed_comes_out_as_it_went_in(message: bytes, cuts: list[int]) -> None:
    lines = message.split(b"\n")[:-1]
    wire = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)
    assert read_data(cut(wire + b".\r\nNOOP\r\n", cuts)) == (message, b"NOOP\r\n")


def test_a_line_without_end_passes_through_and_is_not_kept() -> None:
    reader = DataReader()
    for _ in range(100):
        assert len(reader.feed(b"x" * 10000)) == 10000
