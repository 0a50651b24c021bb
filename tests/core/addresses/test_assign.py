"""users/assign, line by line (spec/control-files.md 5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.core.addresses.assign import (
    LINE_BYTES_MAX,
    AssignError,
    Assignment,
    assignments,
    key_shown,
    parse_assignment,
    records,
    unpack_owner,
)
from qmail.protocol.local_door import Owner

JOE = b":joe:1001:100:/home/joe:"
JOE_DATA = b"joe\x001001\x00100\x00/home/joe\0"


def of(*lines: bytes) -> list[tuple[bytes, bytes]]:
    return list(records(assignments(lines)))


def wrong_with(*lines: bytes) -> str:
    with pytest.raises(AssignError) as wrong:
        of(*lines)
    return str(wrong.value)


@pytest.mark.parametrize(
    ("line", "key", "data"),
    [
        (b"=joe" + JOE + b"::\n", b"!joe\0", JOE_DATA + b"\0"),
        (b"=Joe.Shmoe" + JOE + b"::\n", b"!joe.shmoe\0", JOE_DATA + b"\0"),
        (b"+joe-" + JOE + b"-::\n", b"!joe-", JOE_DATA + b"-\0"),
        (b"+JOE-" + JOE + b"-:Pre-:\n", b"!joe-", JOE_DATA + b"-\0Pre-"),
        (b"+" + JOE + b"-::\n", b"!", JOE_DATA + b"-\0"),
        (b"=" + JOE + b"::\n", b"!\0", JOE_DATA + b"\0"),
        (b"=joe" + JOE + b"-/:a:ignored:text\n", b"!joe\0", JOE_DATA + b"-/\0a"),
    ],
)
def test_control_files_5_2_key_and_data(line: bytes, key: bytes, data: bytes) -> None:
    assert of(line, b".\n")[0] == (key, data)


def test_control_files_5_1_any_other_first_byte_is_as_an_equals_sign() -> None:
    assert of(b"xjoe" + JOE + b"::\n", b".")[0][0] == b"!joe\0"
    assert of(b"#joe" + JOE + b"::\n", b".")[0][0] == b"!joe\0"


def test_control_files_5_2_the_empty_key_has_the_last_bytes_of_all_wildcards() -> None:
    lines = (b"+joe-", b"+list-", b"+Ann+", b"+B", b"+", b"=simple/")
    found = of(*(line + JOE + b"-::\n" for line in lines), b".\n")
    assert found[-1] == (b"", b"-+B")
    assert of(b".\n") == [(b"", b"")]


def test_control_files_5_1_what_follows_the_dot_line_is_not_read() -> None:
    assert of(b".and so on\n", b"nonsense\n") == [(b"", b"")]


@pytest.mark.parametrize("lines", [(), (b"=joe" + JOE + b"::\n",)])
def test_control_files_5_1_without_the_dot_line_it_is_a_format_error(
    lines: tuple[bytes, ...],
) -> None:
    text = wrong_with(*lines)
    assert text.startswith(f"users/assign:{len(lines) + 1}: ")
    assert "dot" in text


@pytest.mark.parametrize(
    "line",
    [
        b"", b"\n", b"=joe\n", b":joe:1:1:/:-::\n", b"=joe:joe:1001:100:/home/joe::\n",
        b"# a comment\n",
    ],
)  # fmt: skip
def test_control_files_5_1_seven_colons_are_needed_and_a_byte_before_them(line: bytes) -> None:
    text = wrong_with(b"=a" + JOE + b"::\n", line, b".\n")
    assert text.startswith("users/assign:2: ")
    assert "=LOCAL:USER:UID:GID:HOME:DASH:EXT:" in text


def test_control_files_5_1_nul_is_an_error() -> None:
    assert "NUL" in wrong_with(b"=jo\0e" + JOE + b"::\n", b".\n")


@pytest.mark.parametrize("number", [b"", b"joe", b"-1", b"1x", b"4294967295", b"1" * 11, b"\xb2"])
@pytest.mark.parametrize("field", ["uid", "gid"])
def test_a_number_that_is_none_is_named_with_its_line(number: bytes, field: str) -> None:
    uid, gid = (number, b"100") if field == "uid" else (b"1001", number)
    text = wrong_with(b"=joe:joe:%b:%b:/home/joe:::\n" % (uid, gid), b".\n")
    assert text.startswith(f"users/assign:1: the {field} ")


def test_a_relative_home_is_an_error() -> None:
    assert 'home "home/joe"' in wrong_with(b"=joe:joe:1001:100:home/joe:::\n", b".\n")


def test_a_line_too_long_is_an_error() -> None:
    filler = b"x" * LINE_BYTES_MAX
    assert "longer" in wrong_with(b"=joe" + JOE + b"::" + filler, b".\n")


@pytest.mark.parametrize("line", [b"=joe" + JOE + b"::", b"+joe-" + JOE + b"-:x:"])
def test_a_key_is_shown_as_its_line_begins(line: bytes) -> None:
    assert key_shown(parse_assignment(line, 1).record[0]) == line.partition(b":")[0]


def test_the_data_of_a_record_names_an_owner() -> None:
    assert unpack_owner(JOE_DATA + b"-\0pre-", b"Rest") == Owner(
        b"joe", 1001, 100, b"/home/joe", b"-", b"pre-Rest"
    )


@pytest.mark.parametrize(
    "data",
    [b"", JOE_DATA, JOE_DATA + b"-\0x\0", b"joe\0x\x00100\0/home\0\0", b"joe\x001\x001\0home\0\0",
     JOE_DATA + b"-\0" + b"x" * LINE_BYTES_MAX],
)  # fmt: skip
def test_data_that_no_line_gives_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        unpack_owner(data)


@given(line=st.binary(max_size=60))
def test_fuzz_any_line_is_an_assignment_or_an_error(line: bytes) -> None:
    try:
        found = parse_assignment(line, 7)
    except AssignError as wrong:
        assert str(wrong).startswith("users/assign:7: ")  # noqa: PT017 - either is fine
        return
    _, data = found.record
    assert unpack_owner(data).home.startswith(b"/")


@given(
    marker=st.sampled_from((b"+", b"=")),
    local=st.binary(max_size=20).filter(lambda one: not set(one) & set(b":\0\n")),
    uid=st.integers(0, 0xFFFFFFFE),
)
def test_every_sound_line_is_taken(marker: bytes, local: bytes, uid: int) -> None:
    line = marker + local + b":u:%d:5:/h:-:e:" % uid
    assert parse_assignment(line, 1) == Assignment(
        1, marker == b"+", local, (b"u", b"%d" % uid, b"5", b"/h", b"-", b"e")
    )
