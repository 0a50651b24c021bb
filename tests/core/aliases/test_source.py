"""The alias file and the records that newaliases makes of it (spec/companion.md 2.3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.core.aliases.source import AliasTable, ListUse, logical_lines, read_aliases
from qmail.core.inject.rewriting import Hosts, Rewriter

REWRITER = Rewriter(Hosts(b"dh.ex", b"dd.ex", b"pd.ex", b"id.ex"))


def read(text: bytes) -> AliasTable:
    return read_aliases(text, REWRITER)


def records(text: bytes) -> dict[bytes, bytes]:
    table = read(text)
    assert table.problems == ()
    return dict(table.records)


@pytest.mark.parametrize(
    ("text", "key", "commands"),
    [
        (b"postmaster: root\n", b":postmaster@", b"&root@dh.ex\0"),
        (b"Postmaster : \\Root", b":postmaster@", b"&Root@dh.ex\0"),
        (b"joe@Far.ex: ann@x", b":joe@far.ex", b"&ann@x.dd.ex\0"),
        (b"joe@: ann@x+", b":joe@", b"&ann@x.pd.ex\0"),
        (b"@virt.ex: joe", b":@virt.ex", b"&joe@dh.ex\0"),
        (b'"Odd Name": joe', b":odd name@", b"&joe@dh.ex\0"),
        (b"joe.doe (who?): joe", b":joe.doe@", b"&joe@dh.ex\0"),
        (b"a: b, c", b":a@", b"&c@dh.ex\0&b@dh.ex\0"),
        (b'a: "|prog x", |/y', b":a@", b"!/y\0!prog x\0"),
        (b"l: :include:/etc/l", b":l@", b"/etc/l.bin\0"),
        (b"l: :include:l, :include:./m", b":l@", b"./m.bin\0./l.bin\0"),
        (b'a: b, "|p", c, |q, :include:/l', b":a@", b"/l.bin\0!q\0!p\0&c@dh.ex\0&b@dh.ex\0"),
        (b"a: b, |p, :include:/l", b":a@", b"/l.bin\0!p\0&b@dh.ex\0"),
        (b"a: |p, b, c", b":a@", b"&c@dh.ex\0!p\0&b@dh.ex\0"),
        (b"a:b", b":a@", b"&b@dh.ex\0"),
        (b"mailer-daemon: postmaster", b":mailer-daemon@", b"&postmaster@dh.ex\0"),
        (b"a: @r:b@c", b":a@", b"&b@c.dd.ex\0"),
    ],
)
def test_an_entry_becomes_a_record(text: bytes, key: bytes, commands: bytes) -> None:
    if text.startswith(b"a: @r"):
        text = text.replace(b"@r:b@c", b"<@r:b@c>")
    assert records(text) == {key: commands}


def test_the_owner_of_a_list_gets_a_record_of_its_own_before_its_alias() -> None:
    table = read(b"Owner-List: joe@far.ex\nowner-l@x: joe\n")
    assert table.records == (
        (b"?list@", b"Owner-List@dh.ex"),
        (b":owner-list@", b"&joe@far.ex\0"),
        (b"?l@x", b"owner-l@x.dd.ex"),
        (b":owner-l@x", b"&joe@dh.ex\0"),
    )


def test_owner_of_nothing_owns_nothing() -> None:
    assert records(b"owner-: joe\n") == {b":owner-@": b"&joe@dh.ex\0"}


def test_a_line_that_begins_with_a_blank_goes_on() -> None:
    text = b"a: b,\n c,\n\td\n\n  e\n \t\ne: f\n"
    assert records(text) == {
        b":a@": b"&e@dh.ex\0&d@dh.ex\0&c@dh.ex\0&b@dh.ex\0",
        b":e@": b"&f@dh.ex\0",
    }


def test_quotes_go_on_with_the_line() -> None:
    assert records(b'a: "|one\n two"\n') == {b":a@": b"!one\n two\0"}


def test_comments_are_no_entries_in_whatever_language() -> None:
    text = "# Größe: ä\n   # auch\n#a: b\n\na: b # c\n".encode()
    table = read(text)
    assert dict(table.records)[b":a@"] == b"&c@dh.ex\0&#@dh.ex\0&b@dh.ex\0"
    assert read(b"\xef\xbb\xbf# x\r\na: b\r\n").records == ((b":a@", b"&b@dh.ex\0"),)


def test_a_comment_inside_an_entry_is_left_out() -> None:
    assert records(b"a: b,\n # and\n c\n") == {b":a@": b"&c@dh.ex\0&b@dh.ex\0"}


def test_what_goes_on_after_a_comment_is_one_too_and_warned_of() -> None:
    table = read(b"#a: b,\n  c\nd: e,\n# f\n  g\n")
    assert dict(table.records) == {b":d@": b"&e@dh.ex\0"}
    assert [(warning.line, warning.text) for warning in table.warnings] == [
        (2, "this line continues a comment, so it is one too"),
        (5, "this line continues a comment, so it is one too"),
    ]


def test_the_first_definition_wins_and_the_others_are_warned_of() -> None:
    table = read(b"joe: a\n\nJOE: b\njoe@x: c\n")
    assert table.records == ((b":joe@", b"&a@dh.ex\0"), (b":joe@x", b"&c@dh.ex\0"))
    assert [(warning.line, warning.text) for warning in table.warnings] == [
        (3, "joe is defined in line 1, and that one counts")
    ]


def test_list_files_are_named_with_their_lines() -> None:
    table = read(b"# x\nl: :include:/etc/l,\n :include:m\n")
    assert table.lists == (ListUse(2, b"m"), ListUse(2, b"/etc/l"))


def test_targets_are_known_by_name() -> None:
    assert read(b"Root: a\nowner-l: b\n@v.ex: c\n").targets == {b"root@", b"owner-l@", b"@v.ex"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"a: /dev/null", '/dev/null is not supported: to throw mail away write "|exit 0"'),
        (b"a: /var/mail/a", "/var/mail/a is not supported: name an address here"),
        (b"a", "no colon"),
        (b"a b", "no colon"),
        (b": a", "no name before the colon"),
        (b"(x): a", "no name before the colon"),
        (b"a b: c", "not one name"),
        (b"<a>: c", "not one name"),
        (b"/a: c", "a program or file"),
        (b'"|a": c', "a program or file"),
        (b"a:", "nothing after a"),
        (b"a: (b)", "nothing after a"),
        (b"a: <>", "empty"),
        (b"a: @b", "empty"),
        (b"a: b: c", "a colon inside"),
        (b"a: |b c", "needs quotes"),
        (b'a: "b\n c"', "a line ends inside an address"),
        (b'a: :include:"b\n c"', "a line ends inside the name of a file"),
        (b"a: b\0c", "a NUL byte"),
        (b'a: "|b\0c"', "a NUL byte"),
        (b'a: :include:"b\0c"', "a NUL byte"),
        (b"a\0: c", "a NUL byte"),
        (b'a: "b', "does not end"),
    ],
)
def test_a_bad_entry_is_a_problem_with_its_line_that_ends_with_111(text: bytes, why: str) -> None:
    table = read(b"# first\nok: fine\n" + text + b"\nlast: fine\n")
    [problem] = table.problems
    assert (problem.line, problem.code) == (3, 111)
    assert why in problem.text
    assert table.targets == {b"ok@", b"last@"}


@pytest.mark.parametrize(("name", "is_fine"), [(b"a" * 794, True), (b"a" * 795, False)])
def test_an_address_over_800_bytes_ends_with_100(name: bytes, is_fine: bool) -> None:
    table = read(b"x: " + name)
    assert [problem.code for problem in table.problems] == ([] if is_fine else [100])
    assert read(b"a" * 801 + b": x").problems[0].code == 100


@given(st.binary())
def test_any_bytes_are_read(text: bytes) -> None:
    table = read(text)
    assert all(key[:1] in b":?" and data for key, data in table.records)


@given(
    st.lists(st.sampled_from([b"a", b":", b"\n", b" ", b"#", b'"', b"|", b",", b"\\", b"(", b")"]))
)
def test_any_structure_is_read_and_each_record_has_whole_commands(pieces: list[bytes]) -> None:
    table = read(b"".join(pieces))
    for key, data in table.records:
        assert not key.startswith(b":") or data.endswith(b"\0")
    assert len({key for key, _ in table.records}) == len(table.records)


@given(st.text(alphabet="ab #\n\t:"))
def test_every_line_is_in_one_entry_or_none(text: str) -> None:
    lost: list[int] = []
    lines = text.encode().split(b"\n")
    joined = b"\n".join(line.text for line in logical_lines(text.encode(), lost))
    comments = {at for at, line in enumerate(lines, 1) if line.strip()[:1] == b"#"}
    kept = [line for at, line in enumerate(lines, 1) if at not in comments | set(lost)]
    assert joined.split(b"\n") == ([line for line in kept if line.strip()] or [b""])
