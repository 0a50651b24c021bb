"""Incomplete addresses made whole: the table of spec/inject.md 5."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.core.inject.rewriting import (
    Hosts,
    Rewriter,
    envelope_address,
    host_tokens,
    is_host,
    user_tokens,
)
from qmail.protocol.address_list import (
    Address,
    AddressSyntaxError,
    addresses,
    parse_list,
    plain,
    written,
)

HOSTS = Hosts(b"dh.ex", b"dd.ex", b"pd.ex", b"id.ex")
REWRITER = Rewriter(HOSTS)


def rewritten(text: bytes) -> bytes:
    items = parse_list(text)
    return b", ".join(
        written([REWRITER.rewrite(item) if isinstance(item, Address) else item for item in items])
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"a", b"a@dh.ex"),
        (b"b@c", b"b@c.dd.ex"),
        (b"d@e+", b"d@e.pd.ex"),
        (b"d@e.f+", b"d@e.f.pd.ex"),
        (b"r+", b"r+@dh.ex"),
        (b"u@[1.2.3.4]", b"u@[1.2.3.4]"),
        (b"v@w.", b"v@w.dd.ex"),
        (b"foo@", b"foo@dh.ex"),
        (b"<@r1,@r2:s@t>", b"<s@t.dd.ex>"),
        (b"x@y@z", b"x@y@z.dd.ex"),
        (b"@d", b""),
        (b"a, @d, b", b"a@dh.ex, , b@dh.ex"),
        (b"g@+", b"g@.pd.ex"),
        (b"<>", b"<>"),
        (b"l@[]", b"l@[]"),
        (b"a@b.c.", b"a@b.c"),
        (b"a@b.c", b"a@b.c"),
        (b'"a@b"', b'"a@b"@dh.ex'),
        (b"a.b", b"a.b@dh.ex"),
        (b"h@+.i", b"h@+.i"),
    ],
)
def test_inject_5_addresses_are_rewritten_in_this_order(text: bytes, wanted: bytes) -> None:
    assert rewritten(text) == wanted


def test_inject_5_defaulthost_passes_through_the_later_rules() -> None:
    def of(host: bytes) -> bytes:
        return Rewriter(HOSTS._replace(defaulthost=host)).argument(b"a")

    assert of(b"h") == b"a@h.dd.ex"
    assert of(b"h+") == b"a@h.pd.ex"
    assert of(b"[1.2.3.4]") == b"a@[1.2.3.4]"


@pytest.mark.parametrize(
    ("argument", "wanted"),
    [
        (b"a", b"a@dh.ex"),
        (b"a b@c", b"a b@c.dd.ex"),
        (b"a b", b"a b@dh.ex"),
        (b"a.", b"a.@dh.ex"),
        (b'a"b@c.d', b'a"b@c.d'),
        (b"x@y@z.w", b"x@y@z.w"),
        (b"d@e+", b"d@e.pd.ex"),
        (b"u@[1.2.3.4]", b"u@[1.2.3.4]"),
        (b"<a@b.c>", b"a@b.c"),
        (b"a@b.c (Joe)", b"a@b.c"),
        (b"a@(Joe)b+", b"a@b.pd.ex"),
        (b"@r1,@r2:a@b", b"@r1,@r2:a@b.dd.ex"),
        (b"<>", b""),
        (b"", b""),
        ("jö@mü.de".encode(), "jö@mü.de".encode()),
    ],
)
def test_inject_5_an_argument_is_one_address(argument: bytes, wanted: bytes) -> None:
    assert REWRITER.argument(argument) == wanted


@pytest.mark.parametrize(
    "argument", [b"a@b c", b"Joe <a@b.c>", b"a@[b", b"a@b\0", b"a@b,c", b"a@b;"]
)
def test_an_argument_whose_host_is_none_is_refused(argument: bytes) -> None:
    with pytest.raises(AddressSyntaxError):
        REWRITER.argument(argument)


def test_words_side_by_side_are_no_envelope_address() -> None:
    (address,) = addresses(parse_list(b"<a b@c.d>"))
    with pytest.raises(AddressSyntaxError):
        envelope_address(address)


def test_a_user_is_quoted_only_if_needed() -> None:
    def shown(user: bytes) -> bytes:
        return written([Address(user_tokens(user))])[0]

    assert shown(b"joe.x+y") == b"joe.x+y"
    assert shown(b"joe x") == b'"joe x"'
    assert shown(b"joe@x") == b'"joe@x"'
    assert shown(b"") == b'""'
    assert plain(host_tokens(b"a)(b")) == b"a)(b"


WORD = st.sampled_from((b"a", b"joe", b"x+", b"+", b"long-name_1", b"mx+y"))
HOST = st.lists(WORD, max_size=3).map(b".".join)
LIST = st.lists(st.tuples(WORD, HOST), max_size=4)


@pytest.mark.parametrize("local", [b'"a\0"', b'"a\rb"', b'"a\nb"'])
def test_oddities_1_no_address_ends_a_line_or_a_record(local: bytes) -> None:
    (address,) = addresses(parse_list(local + b"@b.c"))
    with pytest.raises(AddressSyntaxError, match="inside an address"):
        envelope_address(address)


@pytest.mark.parametrize(
    ("host", "is_one"),
    [
        (b"", True),
        (b"h", True),
        (b"h.ex.", True),
        (b"h+", True),
        (b"[1.2.3.4]", True),
        (b" h.ex (c) ", True),
        ("mü.de".encode(), True),
        (b"a b", False),
        (b"a,b", False),
        (b"a)b(", False),
        (b"[1", False),
        (b"a:b", False),
        (b"<a>", False),
    ],
)
def test_a_host_is_what_an_address_can_end_in(host: bytes, is_one: bool) -> None:
    assert is_host(host) is is_one


@given(LIST)
@settings(max_examples=100)
def test_rewriting_twice_is_rewriting_once(pairs: list[tuple[bytes, bytes]]) -> None:
    text = b", ".join(local + (b"@" + host if host else b"") for local, host in pairs)
    once = rewritten(text)
    assert rewritten(once) == once


@given(st.binary(max_size=40))
@settings(max_examples=200)
def test_any_argument_is_taken_or_refused(argument: bytes) -> None:
    try:
        address = REWRITER.argument(argument)
    except AddressSyntaxError:
        return
    assert address == b"" or b"@" in address
