"""Address lists that are never wrong (spec/inject.md 9); tests/corpus compares more of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.protocol.address_list import addresses, parse_list, plain
from qmail.protocol.loose_addresses import (
    FOLD_COLUMNS,
    Entry,
    pieces,
    read_list,
    write_address,
    write_field,
)

ODD = st.lists(
    st.sampled_from([
        b"a", b"@", b".", b",", b";", b":", b"<", b">", b"(", b")", b"[", b"]", b'"', b"\\", b" ",
        b"\t", b"\r", b"\0", b"\xff", b"J\xc3\xb6", b"joe@h.ex", b"(c)", b'"q s"', b"=?x?q?y?=",
    ]),
    max_size=30,
).map(b"".join)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        (b"", []),
        (b"joe", [Entry(None, b"joe@")]),
        (b"<>", [Entry(None, b"@")]),
        (b"a b@c", [Entry(None, b"a@"), Entry(None, b"b@c")]),
        (b"Joe Q. <joe@h> ,, (note) ann", [Entry(b"Joe Q.", b"joe@h"), Entry(b"note", b"ann@")]),
        (b"joe@h ( Joe  (J) )", [Entry(b"Joe (J)", b"joe@h")]),
        (b"<@a,@b:joe@h>", [Entry(b"@a@b", b"joe@h")]),
        (b"list: a, b;", [Entry(b"list", b"a@"), Entry(None, b"b@")]),
        (b"none: ; joe", [Entry(b"none", None), Entry(None, b"joe@")]),
        (b'"a (b"@[1.2.3.4]', [Entry(None, b"a (b@[1.2.3.4]")]),
        (b"unfinished (x", [Entry(b"x", b"unfinished@")]),
        (b"(alone)", [Entry(b"alone", None)]),
    ],
)
def test_lists_are_read_from_right_to_left(text: bytes, entries: list[Entry]) -> None:
    assert read_list(text) == entries


@pytest.mark.parametrize(
    ("address", "name", "written"),
    [
        (b"joe@h.ex", None, b"joe@h.ex"),
        (b"", None, b"<>"),
        (b"@", b"Nobody", b'"Nobody" <>'),
        (b"joe", b"J", b'"J" <joe>'),
        (b"#@[]", None, b"#@[]"),
        (b"@h", None, b'""@h'),
        (b"a b@h.", None, b'"a b"@"h."'),
        (b"a@[[]", None, b"a@[\\[]"),
        (b"a@h", b'Q "x" \\', b'"Q \\"x\\" \\\\" <a@h>'),
        (b"a@h", "Jörg Ü".encode(), b"=?utf-8?q?J=C3=B6rg_=C3=9C?= <a@h>"),
        (b"a@h", b"=?utf-8?q?J=C3=B6rg?= S", b"=?utf-8?q?J=C3=B6rg?= S <a@h>"),
        (b"a@h", b"=?utf-8?q?x?= <", b'"=?utf-8?q?x?= <" <a@h>'),
        (b"a@h", b"\xff", b"=?unknown-8bit?q?=FF?= <a@h>"),
    ],
)
def test_addresses_are_quoted_where_they_need_it(
    address: bytes, name: bytes | None, written: bytes
) -> None:
    assert write_address(address, name) == written


@given(text=ODD)
def test_no_text_is_too_odd_and_what_is_written_stays_in_its_field(text: bytes) -> None:
    written = write_field(b"To", read_list(text))
    assert written.startswith(b"To: ")
    assert written.endswith(b"\n")
    for line in written.split(b"\n")[1:-1]:
        assert line.startswith(b"  ")


@given(text=ODD)
def test_writing_changes_no_address(text: bytes) -> None:
    once = [entry.address for entry in read_list(text) if entry.address is not None]
    field = write_field(b"To", read_list(text)).partition(b":")[2].replace(b"\n", b"")
    again = [entry.address for entry in read_list(field) if entry.address is not None]
    if b"\xff" not in text and b"\r" not in text:
        assert again == once
    assert b"".join(piece.text for piece in pieces(text)) is not None


@given(st.lists(st.sampled_from([b"a@h.ex", b"a b@h.ex", b"x" * 70 + b"@h.ex", b"c.d@[1.2.3.4]"])))
def test_what_is_written_qmail_inject_reads_as_the_same(found: list[bytes]) -> None:
    field = write_field(b"To", [Entry(b"N. (x)", address) for address in found])
    value = field.partition(b":")[2].replace(b"\n", b"")
    assert [plain(address.tokens) for address in addresses(parse_list(value))] == found
    lines = field.split(b"\n")[:-1]
    assert all(len(line) <= FOLD_COLUMNS or line.count(b"@") == 1 for line in lines)
