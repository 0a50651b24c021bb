"""List files: newinclude, setmaillist, printmaillist (spec/companion.md 2.4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.core.aliases.entries import EntryError
from qmail.core.aliases.list_files import print_list, read_include, read_plain
from qmail.core.inject.rewriting import Hosts, Rewriter

REWRITER = Rewriter(Hosts(b"dh.ex", b"dd.ex", b"pd.ex", b"id.ex"))


def test_an_include_file_is_addresses_as_in_headers() -> None:
    text = (
        b"# all\nann, Bob B. <bob@far>\n\n\\joe (x)\n:include:/l.bin\n:include: m.bin\n<>, u@v+\n"
    )
    made = read_include(text, REWRITER)
    assert made.problems == ()
    assert made.binary.split(b"\0") == [
        b"&bob@far.dd.ex", b"&ann@dh.ex", b"&joe@dh.ex", b"/l.bin", b"./m.bin", b"&u@v.pd.ex", b"",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"|prog", "program deliveries are not supported in a list"),
        (b'"|prog x"', "program deliveries"),
        (b"/file", "file deliveries"),
        (b"@x", "empty"),
        (b"a: b", "a colon inside"),
        (b"(", "does not end"),
        (b"a\0b", "a NUL byte"),
        (b"b" * 800, "longer than 800 bytes"),
        (b'a@b."c "', "an address ends in a blank"),
    ],
)
def test_a_bad_line_of_an_include_file_is_a_problem(text: bytes, why: str) -> None:
    made = read_include(b"ann\n" + text + b"\nbob\n", REWRITER)
    [problem] = made.problems
    assert (problem.line, problem.code) == (2, 111)
    assert why in problem.text


def test_a_list_inside_a_list_that_is_named_as_text_is_warned_of() -> None:
    made = read_include(b"ann\n:include:/etc/l\n", REWRITER)
    assert [(warning.line, warning.text) for warning in made.warnings] == [
        (2, "/etc/l is read as it stands: name the file that newinclude makes, /etc/l.bin")
    ]


def test_plain_lines_are_addresses_and_paths_as_they_stand() -> None:
    text = b"# no\n\nann@x\n&bob@y \t\n./l.bin\n/m\nJoe Doe <j>\n|p"
    made = read_plain(text)
    assert made.problems == ()
    assert made.binary == b"&ann@x\0&bob@y\0./l.bin\0/m\0&Joe Doe <j>\0&|p\0"


@pytest.mark.parametrize(("line", "is_fine"), [(b"a" * 800, True), (b"a" * 801, False)])
def test_a_plain_address_has_800_bytes_at_most(line: bytes, is_fine: bool) -> None:
    made = read_plain(line)
    assert (made.problems == ()) is is_fine


def test_a_nul_in_plain_lines_is_a_problem() -> None:
    assert read_plain(b"ok\na\0b\n").problems[0].line == 2


@pytest.mark.parametrize("binary", [b"&a\0&b", b"x\0", b"\0", b"|p\0", b"&a\nb\0"])
def test_what_is_no_stored_list_is_not_printed(binary: bytes) -> None:
    with pytest.raises(EntryError):
        print_list(binary)


ENTRIES = st.one_of(
    st.binary(min_size=1, max_size=800).map(lambda text: b"&" + text),
    st.binary(max_size=900).map(lambda text: b"/" + text),
    st.binary(max_size=900).map(lambda text: b"." + text),
).filter(lambda entry: not set(entry) & {0, 10} and entry == entry.rstrip() and len(entry) <= 800)


@given(st.lists(ENTRIES))
def test_a_stored_list_that_is_printed_and_set_again_is_the_same(entries: list[bytes]) -> None:
    binary = b"".join(entry + b"\0" for entry in entries)
    assert read_plain(print_list(binary)).binary == binary


@given(st.binary())
def test_any_bytes_are_read(text: bytes) -> None:
    for made in (read_include(text, REWRITER), read_plain(text)):
        entries = made.binary.split(b"\0")
        assert entries.pop() == b""
        assert all(entry[:1] in (b"&", b".", b"/") for entry in entries)
