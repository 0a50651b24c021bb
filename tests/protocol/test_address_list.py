"""Address lists: tokens, grouping from the right, and what is written (spec/inject.md 6, 8)."""

import sys
import tracemalloc
from types import FrameType

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
    elements,
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


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("J.ö.x <a>", b"J. =?utf-8?q?=C3=B6?= .x <a>"),
        ("ö@ü <a>", b"=?utf-8?q?=C3=B6?= @ =?utf-8?q?=C3=BC?= <a>"),
        ("ö(c)ü: ;", b"=?utf-8?q?=C3=B6?= (c) =?utf-8?q?=C3=BC?=: ;"),
    ],
)
def test_rfc2047_5_an_encoded_word_stands_alone(text: str, wanted: bytes) -> None:
    assert rewritten(text.encode()) == wanted
    assert rewritten(wanted) == wanted


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


@pytest.mark.parametrize("special", [b".", b",", b"@", b"<", b">", b":", b";"])
def test_inject_6_specials_are_tokens_of_their_own(special: bytes) -> None:
    tokens = tokenise(b"a" + special + b"b " + special)
    assert [token.text for token in tokens] == [b"a", special, b"b", special]
    assert [token.kind for token in tokens] == [ATOM, special.decode(), ATOM, special.decode()]
    assert [token.spaced for token in tokens] == [False, False, False, True]


@pytest.mark.parametrize(
    ("text", "kind", "token"),
    [
        (b"(a)", COMMENT, b"a"),
        (b"(a (b (c)) d)", COMMENT, b"a b c d"),
        (rb"(a\)\(\\)", COMMENT, b"a)(\\"),
        (b'(a"[<,)', COMMENT, b'a"[<,'),
        (b'"a (b) c"', QUOTED, b"a (b) c"),
        (rb'"a\"b\\"', QUOTED, b'a"b\\'),
        (b"[a]", LITERAL, b"a"),
        (rb"[a\]b[c]", LITERAL, b"a]b[c"),
        (b"a]b)c", ATOM, b"a]b)c"),
        (rb"a\ \,\@b", ATOM, b"a ,@b"),
        (b"!#$%&'*+-/=?^_`{|}~", ATOM, b"!#$%&'*+-/=?^_`{|}~"),
        (bytes(range(1, 9)), ATOM, bytes(range(1, 9))),
    ],
)
def test_inject_6_comments_strings_literals_and_atoms(text: bytes, kind: str, token: bytes) -> None:
    ((found),) = tokenise(text)
    assert (found.kind, found.text) == (kind, token)


@pytest.mark.parametrize("end", [bytes((byte,)) for byte in b' \t\r\n(["<>;:@,.'])
def test_inject_6_what_an_atom_ends_at(end: bytes) -> None:
    closing = {b"(": b")", b"[": b"]", b'"': b'"'}.get(end, b"")
    assert tokenise(b"a" + end + closing)[0].text == b"a"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"a b", [b"a", b"b"]),
        (b'a "b" [c] d', [b"a", b"b", b"[c]", b"d"]),
        (b"a@b c@d", [b"a@b", b"c@d"]),
        (b"a (x) b", [b"a", b"b"]),
        (b"a(x)@b", [b"a@b"]),
        (b"a;", [b"a"]),
        (b"a; x: b;", [b"a", b"b"]),
        (b"x: a, b;, y: c;", [b"a", b"b", b"c"]),
        (b"x: a; y: b;", [b"a", b"b"]),
        (b"x y: ;", []),
        (b"<a> x: b;", [b"a", b"b"]),
        (b"x: Joe <a>, b;", [b"a", b"b"]),
        (b"a b.c@d (x) <e@f>", [b"e@f"]),
        (b'"a, b" <c>, d', [b"c", b"d"]),
        (b"<a, b@c>, d", [b"a,b@c", b"d"]),
        (b"<a, b, <c, d>, e", [b"<a", b"b", b"c,d", b"e"]),
        (b"a < b, c", [b"a<b", b"c"]),
    ],
)
def test_inject_6_what_the_addresses_of_a_list_are(text: bytes, wanted: list[bytes]) -> None:
    assert found(text) == wanted


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"a: b", "a colon without a semicolon"),
        (b"a: b, c", "a colon without a semicolon"),
        (b"a, b: c, d: e;", "a colon without a semicolon"),
        (b"a;, b;", "a group inside a group"),
        (b"a; b;", "a group inside a group"),
        (b"x: a;, b;", "a group inside a group"),
        (b"x: a, y: b;;", "a group inside a group"),
        (b"a>", "> without <"),
        (b"<a>, b>", "> without <"),
        (b")", "without its opening one"),
        (b"]", "without its opening one"),
        (b"(a", "comment that does not end"),
        (b'"a', "quoted string that does not end"),
        (b"[a", "literal that does not end"),
        (b"a\\", "a backslash at the end"),
    ],
)
def test_inject_6_what_is_no_list_is_refused_with_the_reason(text: bytes, why: str) -> None:
    with pytest.raises(AddressSyntaxError, match=why):
        parse_list(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"g:a,b;", b"g: a, b;"),
        (b"a<b>", b"a <b>"),
        (b'"a"<b>', b'"a" <b>'),
        (b'a"b"[c](d) <e>', b'a, "b", [c] (d) <e>'),
        (b'a"b"(d) <e>', b'a "b" (d) <e>'),
        (b"a . b @ c . d", b"a.b@c.d"),
        (b"a(x)(y)", b"a (x) (y)"),
        (b"<a(x)@b>", b"<a@b (x)>"),
        (b"(a(b)c)", b"(abc)"),
        (b"\x01@b", b'"\x01"@b'),
        (b"a\x7f@b", b'"a\x7f"@b'),
        (b"a)@b", rb'"a\)"@b'),
        (b'"\r"', b'"\\\r"'),
        (rb'"\"\\\[\]\(\)"', rb'"\"\\\[\]\(\)"'),
        (rb"(\"\\\[)", rb"(\"\\\[)"),
    ],
)
def test_inject_6_how_a_list_is_written(text: bytes, wanted: bytes) -> None:
    assert rewritten(text) == wanted


PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-/=?^_`{|}~"


@pytest.mark.parametrize("byte", range(256))
def test_inject_8_which_bytes_need_quotes(byte: int) -> None:
    one = bytes((byte,))
    address = b"a" + one + b"b@c d"
    if byte in PLAIN + b".":
        assert quote(address) == address
    else:
        slash = b"\\" if one in (b"\r", b"\n", b'"', b"\\") else b""
        assert quote(address) == b'"a' + slash + one + b'b"@c d'


@pytest.mark.parametrize("local", ["jörg", "ö.ä", "用户"])
def test_rfc6532_3_2_letters_beyond_ascii_need_no_quotes(local: str) -> None:
    assert quote(f"{local}@ü".encode()) == f"{local}@ü".encode()
    assert quote(f"{local} x@ü".encode()) == f'"{local} x"@ü'.encode()
    assert quote(f".{local}@ü".encode()) == f'".{local}"@ü'.encode()


# --- size ---------------------------------------------------------------------------------------

ENDLESS = (
    b"a@b.c, ", b"a ", b"a.", b"a@", b",", b"<", b">", b"<>", b"<,", b"<a>, ", b"a <b>, ", b":",
    b";", b"a:;", b"a: b;, ", b"(", b")", b"(c)", b"(\\)", b'"', b'"a"', b'\\"', b"[", b"[a], ",
    b"\\a", b"@a,", b" ", b"\xc3\xb6 ", b"\xff", b"=", b"\\",
)  # fmt: skip


@pytest.mark.parametrize(
    "closed", [(b"", b""), (b"<", b">"), (b'"', b'"'), (b"(", b")"), (b"", b" <a>")]
)
@pytest.mark.parametrize("unit", ENDLESS)
def test_work_grows_with_the_size_and_not_faster(unit: bytes, closed: tuple[bytes, bytes]) -> None:
    small, large = (steps(closed[0] + unit * count + closed[1]) for count in (500, 4000))
    assert large <= 10 * small + 1000


def steps(text: bytes) -> int:
    """Count the calls, also those of functions in C."""
    count = 0

    def profile(_frame: FrameType, _event: str, _argument: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(profile)
    try:
        rewritten(text)
    except AddressSyntaxError:
        pass
    finally:
        sys.setprofile(None)
    return count


def test_a_long_list_is_never_held_as_tokens() -> None:
    text = b"Joe Shmoe <joe@example.org>, " * 8000
    tracemalloc.start()
    try:
        for _ in elements(text):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The text once more, with its marks.
    assert peak < 2 * len(text)


def test_words_without_end_are_refused_before_they_fill_the_memory() -> None:
    with pytest.raises(AddressSyntaxError, match="more than 100000 words and no comma"):
        parse_list(b"a " * 100001)
    assert len(parse_list(b"a " * 50000)) == 99999


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
