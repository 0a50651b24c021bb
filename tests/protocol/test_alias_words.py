"""What /etc/aliases, :include: files and .forward list (spec/companion.md 1, 2.3; inject.md 6)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.protocol.address_list import AddressSyntaxError, tokenise
from qmail.protocol.alias_words import ADDRESS, FILE, LIST, PROGRAM, read_words


def words(text: bytes) -> list[tuple[str, bytes]]:
    return [(word.kind, word.text) for word in read_words(tokenise(text))]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        (b"joe", ADDRESS, b"joe"),
        (b"\\joe", ADDRESS, b"joe"),
        (b"joe@far.ex", ADDRESS, b"joe@far.ex"),
        (b"Joe Q. Public <joe@far.ex>", ADDRESS, b"joe@far.ex"),
        (b'"Public, Joe" <joe@far.ex> (at work)', ADDRESS, b"joe@far.ex"),
        (b"<@relay,@other:joe@far.ex>", ADDRESS, b"@relay,@other:joe@far.ex"),
        (b"joe@[1.2.3.4]", ADDRESS, b"joe@[1.2.3.4]"),
        (b'"odd name"@far.ex', ADDRESS, b"odd name@far.ex"),
        (b"j\xc3\xb6rg", ADDRESS, b"j\xc3\xb6rg"),
        (b"|/bin/true", PROGRAM, b"/bin/true"),
        (b"|/usr/lib/run.sh", PROGRAM, b"/usr/lib/run.sh"),
        (b'|"/bin/prog one, two"', PROGRAM, b"/bin/prog one, two"),
        (b'| "/bin/prog"', PROGRAM, b"/bin/prog"),
        (b'"|/bin/prog one, two"', PROGRAM, b"/bin/prog one, two"),
        (b'"|/bin/prog a@b (c) <d> : ;"', PROGRAM, b"/bin/prog a@b (c) <d> : ;"),
        (b'"|IFS=\' \' && exec prog -f- || exit 75 #joe"', PROGRAM,
         b"IFS=' ' && exec prog -f- || exit 75 #joe"),
        (b'"|echo \\"quoted\\""', PROGRAM, b'echo "quoted"'),
        (b"|odd@far.ex", ADDRESS, b"|odd@far.ex"),
        (b"/var/mail/joe", FILE, b"/var/mail/joe"),
        (b'"/var/mail/joe doe"', FILE, b"/var/mail/joe doe"),
        (b"/odd@far.ex", ADDRESS, b"/odd@far.ex"),
        (b":include:/etc/lists/all", LIST, b"/etc/lists/all"),
        (b":Include: lists/all.txt (everybody)", LIST, b"lists/all.txt"),
        (b'":include:/etc/lists/all"', LIST, b"/etc/lists/all"),
        (b':include:"/etc/all lists"', LIST, b"/etc/all lists"),
    ],
)  # fmt: skip
def test_one_word(text: bytes, kind: str, value: bytes) -> None:
    assert words(text) == [(kind, value)]


def test_a_list_is_read_from_right_to_left() -> None:
    text = b'ann, "|p one",:include:/l , /f; bob (b), |q'
    assert words(text) == [
        (PROGRAM, b"q"),
        (ADDRESS, b"bob"),
        (FILE, b"/f"),
        (LIST, b"/l"),
        (PROGRAM, b"p one"),
        (ADDRESS, b"ann"),
    ]


def test_two_words_side_by_side_are_two_addresses() -> None:
    assert words(b'ann bob "|p"') == [(PROGRAM, b"p"), (ADDRESS, b"bob"), (ADDRESS, b"ann")]


@pytest.mark.parametrize("text", [b"", b" ", b",", b" , ;,, ", b"(nobody)"])
def test_nothing_is_no_word(text: bytes) -> None:
    assert words(text) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"|prog argument", "needs quotes"),
        (b"|prog.sh (comment)", "needs quotes"),
        (b'|prog "argument"', "needs quotes"),
        (b'|prog"argument"', "needs quotes"),
        (b"|", "no program"),
        (b'"| "', "no program"),
        (b'|""', "no program"),
        (b'ann |"prog"', "no program"),
        (b":include:", "without a file name"),
        (b'":include:"', "without a file name"),
        (b":include:a b", "needs quotes, or a comma"),
        (b":include:/a:/b", "needs quotes, or a comma"),
        (b"ann, bob: carl", "a colon inside"),
        (b"group: ann, bob;", "a colon inside"),
        (b"ann :include:/l", "a colon inside"),
        (b"ann >", "> without <"),
        (b"<ann", "< without >"),
        (b"ann (comment", "does not end"),
        (b'"ann', "does not end"),
        (b"ann )", "without its opening one"),
    ],
)
def test_what_is_no_list_is_refused_with_a_reason(text: bytes, why: str) -> None:
    with pytest.raises(AddressSyntaxError, match=why):
        words(text)


@given(st.lists(st.sampled_from([*list('a|/:;,<>@.()" \\\n\t[]{}é'), "include"])))
def test_any_text_is_words_or_refused(pieces: list[str]) -> None:
    try:
        found = words("".join(pieces).encode())
    except AddressSyntaxError:
        return
    assert all(kind in (ADDRESS, PROGRAM, FILE, LIST) for kind, _ in found)
    assert all(text.strip() for kind, text in found if kind != ADDRESS)


NAMES = st.text(alphabet="abcxyz0_-", min_size=1, max_size=8)
COMMANDS = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), min_size=1).filter(
    str.strip
)
WRITTEN = st.one_of(
    NAMES.map(lambda name: (ADDRESS, name, name)),
    st.tuples(NAMES, NAMES).map(lambda two: (ADDRESS, "@".join(two), "@".join(two))),
    COMMANDS.map(lambda text: (PROGRAM, text, '"|' + _escaped(text) + '"')),
    COMMANDS.map(lambda text: (PROGRAM, text, '|"' + _escaped(text) + '"')),
    NAMES.map(lambda name: (LIST, f"/{name}", f":include:/{name}")),
    NAMES.map(lambda name: (FILE, f"/{name}", f"/{name}")),
)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


@given(st.lists(WRITTEN))
def test_what_is_written_with_commas_is_read_back(entries: list[tuple[str, str, str]]) -> None:
    text = ", ".join(written for _, _, written in entries)
    wanted = [(kind, value.encode()) for kind, value, _ in reversed(entries)]
    assert words(text.encode()) == wanted
