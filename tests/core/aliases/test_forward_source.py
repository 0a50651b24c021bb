"""The written form of a forwarding table (spec/companion.md 2.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.core.aliases.forward_source import SourceError, TableError, read_source, write_source


@pytest.mark.parametrize(
    ("text", "records"),
    [
        (b"", []),
        (b" \n\t# all of it; a: b", []),
        (b"joe@: ann@x;", [(b":joe@", b"&ann@x\0")]),
        (b"Joe@X:&Ann@X;", [(b":joe@x", b"&Ann@X\0")]),
        (b"l@: a, b,\n , c ;\n", [(b":l@", b"&a\0&b\0&c\0")]),
        (b"l@: ?o@x, a;", [(b"?l@", b"o@x"), (b":l@", b"&a\0")]),
        (b"l@: a, ?o@x, ?p@x;", [(b"?l@", b"o@x"), (b"?l@", b"p@x"), (b":l@", b"&a\0")]),
        (b"l@: |p\\ q, !r, ./f, /g;", [(b":l@", b"|pq".replace(b"q", b" q") + b"\0!r\0./f\0/g\0")]),
        (b"l @ : a b;", [(b":l@", b"&ab\0")]),
        (b"a\\:b: c\\,\\;\\#\\\\\\ d;", [(b":a:b", b"&c,;#\\ d\0")]),
        (b"a: b#comment, c\n;", [(b":a", b"&b\0")]),
        (b"l: ;", []),
        (b"l: ,,;", []),
        (b"l: ?;", [(b"?l", b"")]),
        (b": a;", [(b":", b"&a\0")]),
        (b"a: \\\n;", [(b":a", b"&\n\0")]),
    ],
)
def test_what_stands_there_becomes_records(text: bytes, records: list[tuple[bytes, bytes]]) -> None:
    assert read_source(text) == records


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"a: b;\n\nc: d", "line 3: the last instruction does not end with a semicolon"),
        (b"a", "line 1: the last instruction"),
        (b"a:", "line 1: the last instruction"),
        (b"a: b;\nc: d: e;", "line 2: a second colon"),
        (b"a, b: c;", "line 1: a comma or semicolon before the colon"),
        (b"\n;", "line 2: a comma or semicolon before the colon"),
        (b"a\0: b;", "line 1: a NUL"),
        (b"a: b\\\0;", "line 1: a NUL"),
        (b"a: b;\n\\", "line 2: a backslash at the end"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(text: bytes, why: str) -> None:
    with pytest.raises(SourceError, match=why):
        read_source(text)


@pytest.mark.parametrize("text", [b"a" * 800, b"&" + b"a" * 799, b"|" + b"a" * 2000])
def test_an_address_has_800_bytes_at_most(text: bytes) -> None:
    assert read_source(b"x: " + text + b";")
    if not text.startswith(b"|"):
        with pytest.raises(SourceError, match="longer than 800"):
            read_source(b"x: " + text + b"a;")


def test_a_table_is_printed_as_it_can_be_read() -> None:
    records = [(b"?l@", b"o@x"), (b":l@", b"|p q\0&a@x\0./f\0"), (b":a:b", b"")]
    text = b"".join(write_source(records[:2]))
    assert text == b"l@: ?o@x;\nl@:\n, |p\\ q\n, &a@x\n, ./f\n;\n"


@pytest.mark.parametrize(
    ("key", "data"),
    [
        (b"", b"x\0"),
        (b"!joe", b"x\0"),
        (b":a", b"&b"),
        (b":a", b""),
        (b":a", b"b\0"),
        (b":a", b"\0"),
    ],
)
def test_what_is_no_forwarding_table_is_not_printed(key: bytes, data: bytes) -> None:
    with pytest.raises(TableError):
        list(write_source([(key, data)]))


TEXTS = st.binary(max_size=20).map(lambda text: text.replace(b"\0", b""))
COMMANDS = st.tuples(st.sampled_from([b"&", b"|", b"!", b".", b"/"]), TEXTS).map(b"".join)
RECORDS = st.one_of(
    st.tuples(TEXTS.map(lambda name: b"?" + name.lower()), TEXTS),
    st.tuples(
        TEXTS.map(lambda name: b":" + name.lower()),
        st.lists(COMMANDS, min_size=1).map(lambda all_: b"".join(one + b"\0" for one in all_)),
    ),
)


@given(st.lists(RECORDS))
def test_what_is_printed_is_read_as_the_same_records(records: list[tuple[bytes, bytes]]) -> None:
    assert read_source(b"".join(write_source(records))) == records


@given(st.lists(st.sampled_from([b":", b",", b";", b"\\", b"#", b"\n", b" ", b"a", b"?", b"|"])))
def test_any_text_is_a_table_that_can_be_printed_or_refused(pieces: list[bytes]) -> None:
    try:
        records = read_source(b"".join(pieces))
    except SourceError:
        return
    assert read_source(b"".join(write_source(records))) == records


@given(st.binary())
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    try:
        records = read_source(text)
    except SourceError:
        return
    assert all(key[:1] in b":?" for key, _ in records)
