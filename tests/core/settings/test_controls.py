"""How control files are read: lines, numbers, lists, maps, defaults."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.core.settings import controls as c
from qmail.core.settings import lines as control_lines
from qmail.core.settings.controls import (
    ME,
    ME_OR_NAME,
    ControlError,
    Parse,
    control,
    control_reader,
    domain_keys,
    entries,
    first_match,
    load,
    parse_colon_map,
    parse_domains,
    parse_host,
    parse_integer,
    parse_line,
    split_lines,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """Settings of each kind."""

    me: bytes | None = control(parse_host, doc="the host")
    host: bytes | None = control(parse_host, ME, doc="a host")
    named: bytes = control(parse_host, ME_OR_NAME, doc="a host, or the name of the file")
    count: int = control(parse_integer, 7, unit="things", kind="integer", doc="a number")
    domains: frozenset[bytes] | None = control(parse_domains, ME, kind="list", doc="domains")
    routes: dict[bytes, bytes] = control(parse_colon_map, {}, kind="list", doc="a map")


def read(**files: bytes) -> Example:
    return load(Example, files.get)


def test_control_files_1_a_line_is_the_first_one_without_the_blanks_that_end_it() -> None:
    assert parse_line("x", split_lines(b"one two \t \nsecond\n")) == b"one two"
    assert parse_line("x", split_lines(b"  one")) == b"  one"


@pytest.mark.parametrize("raw", [b"", b"\n", b" \t\n", b"\nme\n"])
def test_control_files_1_an_empty_first_line_is_the_empty_string_and_not_the_default(
    raw: bytes,
) -> None:
    assert parse_line("x", split_lines(raw)) == b""


def test_control_files_1_a_nul_in_a_line_is_refused_with_file_and_line() -> None:
    with pytest.raises(ControlError, match=r"^control/x:1: a NUL byte"):
        parse_line("x", split_lines(b"a\0b\n"))


def test_control_files_1_a_list_drops_empty_lines_and_comments_and_keeps_leading_blanks() -> None:
    lines = entries(split_lines(b"a \n\n#b\n #c\n\t\nd"))
    assert [(line.number, line.text) for line in lines] == [(1, b"a"), (4, b" #c"), (6, b"d")]


@pytest.mark.parametrize(("raw", "value"), [(b"0", 0), (b"12\n", 12), (b"007 \nx", 7)])
def test_control_files_1_an_integer_is_decimal_digits(raw: bytes, value: int) -> None:
    assert parse_integer("count", split_lines(raw)) == value


@pytest.mark.parametrize("raw", [b"", b"x", b"-1", b"+1", b"10abc", b"0x10", b" 1", b"9" * 19])
def test_an_integer_of_another_form_is_refused_with_file_and_line(raw: bytes) -> None:
    with pytest.raises(ControlError, match=r"^control/count:1: .*whole number"):
        parse_integer("count", split_lines(raw))


@pytest.mark.parametrize("raw", [b"", b"\n", b"two words\n", b"caf\xe9.ex\n", b"a\x7fb\n"])
def test_a_host_that_could_not_stand_in_a_header_is_refused(raw: bytes) -> None:
    with pytest.raises(ControlError, match=r"^control/me:1: "):
        parse_host("me", split_lines(raw))


def test_control_files_2_domains_are_lowercased() -> None:
    assert parse_domains("d", split_lines(b"A.ex\n.B.EX\n")) == {b"a.ex", b".b.ex"}


@pytest.mark.parametrize("bad", [b"a b", b" a", b"a@b", b"a:b", b"a\x7f", b"a\tb", b"a\0b"])
def test_a_line_that_is_no_domain_is_refused_with_its_number(bad: bytes) -> None:
    with pytest.raises(ControlError, match=r"^control/d:3: .* is not a domain$"):
        parse_domains("d", split_lines(b"#\na.ex\n" + bad + b"\n"))


def test_control_files_2_of_equal_keys_the_last_wins_and_case_does_not_count() -> None:
    found = parse_colon_map("m", split_lines(b"A:1\nb:2:x \na:3\n:4\nc:\n"))
    assert found == {b"a": b"3", b"b": b"2:x", b"": b"4", b"c": b""}


def test_a_map_line_without_a_colon_is_refused_with_its_number() -> None:
    with pytest.raises(ControlError, match=r'^control/m:2: no colon in "b"$'):
        parse_colon_map("m", split_lines(b"a:1\nb\n"))


def test_control_files_1_without_files_the_defaults_count() -> None:
    assert read() == Example(me=None, host=None, named=b"named", count=7, domains=None, routes={})


def test_control_files_1_default_me_takes_the_first_line_of_me() -> None:
    found = read(me=b"Host.ex\nother\n")
    assert (found.me, found.host, found.named) == (b"Host.ex", b"Host.ex", b"Host.ex")
    assert found.domains == frozenset((b"host.ex",))


def test_control_files_1_a_file_that_is_there_counts_before_me() -> None:
    found = read(me=b"me.ex", host=b"h.ex", named=b"n.ex", domains=b"", count=b"3", routes=b"k:v")
    assert (found.host, found.named, found.domains) == (b"h.ex", b"n.ex", frozenset())
    assert (found.count, found.routes) == (3, {b"k": b"v"})


def test_control_files_1_an_empty_file_does_not_fall_back_to_me() -> None:
    with pytest.raises(ControlError, match=r"^control/host:1: empty"):
        read(me=b"me.ex", host=b"")


def test_control_files_1_only_a_missing_file_is_missing() -> None:
    def unreadable(name: str) -> bytes | None:
        raise PermissionError(13, "Permission denied", name)

    with pytest.raises(PermissionError):
        load(Example, unreadable)


def test_the_default_of_a_map_is_not_shared() -> None:
    assert Example().routes is not Example().routes


def test_every_setting_says_what_it_is() -> None:
    found = {setting.name: setting for setting in c.settings(Example)}
    assert list(found) == ["me", "host", "named", "count", "domains", "routes"]
    assert (found["count"].unit, found["count"].kind, found["count"].doc) == (
        "things",
        "integer",
        "a number",
    )


def test_the_real_reader_reads_and_knows_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "control").mkdir()
    (tmp_path / "control" / "me").write_bytes(b"host.ex\n")
    read_file = control_reader(str(tmp_path))
    assert read_file("me") == b"host.ex\n"
    assert read_file("locals") is None


def test_a_control_file_of_any_size_takes_no_more_memory_than_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_lines, "CONTROL_BYTES_MAX", 10)
    (tmp_path / "control").mkdir()
    (tmp_path / "control" / "me").write_bytes(b"x" * 11)
    with pytest.raises(ControlError, match="longer than 10 bytes"):
        control_reader(str(tmp_path))("me")


def test_control_files_2_the_keys_of_a_domain_are_itself_and_its_suffixes_longest_first() -> None:
    assert domain_keys(b"a.b.c") == [b"a.b.c", b".b.c", b".c"]
    assert domain_keys(b"") == [b""]
    assert first_match({b".c": 1, b".b.c": 2}, domain_keys(b"a.b.c")) == 2
    assert first_match({b"b.c": 1}, domain_keys(b"a.b.c")) is None


@pytest.mark.parametrize("parse", [parse_line, parse_integer, parse_host, parse_domains,
                                   parse_colon_map])  # fmt: skip
@settings(max_examples=50)
@given(raw=st.binary(max_size=60))
def test_no_file_raises_anything_but_control_error(parse: Parse, raw: bytes) -> None:
    wrong = "control/name:1: nothing"
    try:
        parse("name", split_lines(raw))
    except ControlError as refused:
        wrong = str(refused)
    assert wrong.startswith("control/name:")
    assert wrong.isprintable()
