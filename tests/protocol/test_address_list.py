"""Address lists: tokens, grouping from the right, and what is written (spec/inject.md 6, 8)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.protocol.address_list import (
    ATOM,
    COMMENT,
    LITERAL,
    QUOTED,
    AddressSyntaxError,
    addresses,
    parse_list,
    plain,
    quote,
    tokenise,
    written,
)


def rewritten(text: bytes) -> bytes:
    return b", ".join(written(parse_list(text)))


def found(text: bytes) -> list[bytes]:
    return [plain(address.tokens) for address in addresses(parse_list(text))]


def test_tokens_lose_their_quotes_brackets_and_backslashes() -> None:
    tokens = tokenise(rb'a\@b "c\"d" (e(f)\)g) [1.2] <x@y.z>:;')
    assert [(token.kind, token.text) for token in tokens] == [
        (ATOM, b"a@b"),
        (QUOTED, b'c"d'),
        (COMMENT, b"ef)g"),
        (LITERAL, b"1.2"),
        ("<", b"<"),
        (ATOM, b"x"),
        ("@", b"@"),
        (ATOM, b"y"),
        (".", b"."),
        (ATOM, b"z"),
        (">", b">"),
        (":", b":"),
        (";", b";"),
    ]
    assert [token.spaced for token in tokens][:5] == [False, True, True, True, True]


@pytest.mark.parametrize("text", [b")", b"a ]", b'"a', b"(a", b"((a)", b"[a", b"a\\", b'"a\\"'])
def test_stray_and_open_constructs_are_errors(text: bytes) -> None:
    with pytest.raises(AddressSyntaxError):
        tokenise(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"", []),
        (b"a@b", [b"a@b"]),
        (b"a b c", [b"a", b"b", b"c"]),
        (b"a, b@c , d", [b"a", b"b@c", b"d"]),
        (b"Joe <a@b>", [b"a@b"]),
        (b'a@b "Joe B." <c@d> e', [b"c@d", b"e"]),
        (b"staff: a, Bob <b@c>; d", [b"a", b"b@c", b"d"]),
        (b"x: a; y: b;", [b"a", b"b"]),
        (b"nobody: ;", []),
        (b"a (b@c) d", [b"a", b"d"]),
        (b"a (c) @ b", [b"a@b"]),
        (b"<>", [b""]),
        (b"<a(b)@c>", [b"a@c"]),
        (b'"a b"@[1.2]', [b"a b@[1.2]"]),
        (b"a;", [b"a"]),
        (b"<@r,@s:a@b>", [b"@r,@s:a@b"]),
        (b"<a", [b"<a"]),
        (b"a, Joe <b@c", [b"a", b"Joe<b@c"]),
    ],
)
def test_addresses_are_grouped_from_the_right(text: bytes, wanted: list[bytes]) -> None:
    assert found(text) == wanted


@pytest.mark.parametrize("text", [b"a: b", b"x: y: a;;", b"a>", b">", b"a: b, c"])
def test_broken_lists_are_errors(text: bytes) -> None:
    with pytest.raises(AddressSyntaxError):
        parse_list(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"(c) i@j", b"i@j (c)"),
        (b"(a (b) c) i", b"i (a b c)"),
        (b"u:;", b"u: ;"),
        (b"a  b", b"a, b"),
        (b"a @ b . c", b"a@b.c"),
        (b"Joe<f@g>", b"Joe <f@g>"),
        (b'"Joe, Q" <f@g>', b'"Joe, Q" <f@g>'),
        (b"a,,b", b"a, , b"),
        (b"a@[1.2.3.4]", b"a@[1.2.3.4]"),
        (b"a]b", rb'"a\]b"'),
        (rb"a\\b@c", rb'"a\\b"@c'),
        (b'"a(b"', rb'"a\(b"'),
    ],
)
def test_lists_are_written_in_one_form(text: bytes, wanted: bytes) -> None:
    assert rewritten(text) == wanted


def test_oddities_8_the_blanks_of_a_name_stay() -> None:
    assert rewritten(b"Joe Q. Shmoe <f@g>") == b"Joe Q. Shmoe <f@g>"
    assert rewritten(b"J.R. Ewing <f@g>") == b"J.R. Ewing <f@g>"


def test_oddities_8_an_escaped_blank_or_special_is_quoted() -> None:
    assert rewritten(rb"a\ b@c") == b'"a b"@c'
    assert rewritten(rb"a\@b@c") == b'"a@b"@c'


def test_rfc2047_names_beyond_ascii_are_encoded_together() -> None:
    assert rewritten("Jörg Müller <a@b>".encode()) == b"=?utf-8?q?J=C3=B6rg_M=C3=BCller?= <a@b>"
    assert rewritten('Dr "Jörg M" X. <a@b>'.encode()) == b"Dr =?utf-8?q?J=C3=B6rg_M?= X. <a@b>"
    assert rewritten(b"J\xf6rg <a@b>") == b'"J\xf6rg" <a@b>'


def test_rfc6532_3_2_addresses_beyond_ascii_stay() -> None:
    assert rewritten("jörg@münchen.de".encode()) == "jörg@münchen.de".encode()


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        (b"", b""),
        (b"a@b", b"a@b"),
        (b"a.b+c=d@e", b"a.b+c=d@e"),
        (b"a b@c", b'"a b"@c'),
        (b"a@b@c", b'"a@b"@c'),
        (b".a@b", b'".a"@b'),
        (b"a.@b", b'"a."@b'),
        (b"a..b@c", b'"a..b"@c'),
        (b"@c", b'""@c'),
        (b'a"\\\n@b c', b'"a\\"\\\\\\\n"@b c'),
        (b"a b", b'"a b"'),
    ],
)
def test_inject_8_local_parts_are_quoted_where_they_must_be(address: bytes, wanted: bytes) -> None:
    assert quote(address) == wanted


TEXT = st.binary(max_size=40) | st.text('ab. ,@<>:;()[]"\\+ä', max_size=24).map(str.encode)


@given(TEXT)
@settings(max_examples=300)
def test_anything_is_parsed_or_refused_and_what_is_written_is_stable(text: bytes) -> None:
    try:
        first = parse_list(text)
    except AddressSyntaxError:
        return
    once = b", ".join(written(first))
    second = parse_list(once)
    assert b", ".join(written(second)) == once


@given(st.binary(max_size=20), st.from_regex(rb"[a-z]{1,5}(\.[a-z]{1,5}){0,2}", fullmatch=True))
@settings(max_examples=200)
def test_a_quoted_address_is_read_back_as_the_same_address(local: bytes, host: bytes) -> None:
    address = local + b"@" + host
    assert found(quote(address)) == [address]
