"""`.qmail` files: search and lines (spec/delivery.md 4 and 5)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.core.local.dotqmail import (
    Candidate,
    Forward,
    Instruction,
    Maildir,
    Mbox,
    Program,
    Refuse,
    candidates,
    doubt_about,
    owner_files,
    parse,
)


def plain(text: bytes) -> tuple[Instruction, ...]:
    return parse(text, forward_only=False)


@pytest.mark.parametrize(
    ("dash", "ext", "names"),
    [
        (b"", b"", [b".qmail"]),
        (b"-", b"a", [b".qmail-a", b".qmail-default"]),
        (b"-", b"a-", [b".qmail-a-", b".qmail-a-default", b".qmail-default"]),
        (
            b"-",
            b"a-b-c",
            [b".qmail-a-b-c", b".qmail-a-b-default", b".qmail-a-default", b".qmail-default"],
        ),
        (b"-/", b"a-b", [b".qmail-/a-b", b".qmail-/a-default", b".qmail-/default"]),
        (b"-", b"", [b".qmail-", b".qmail-default"]),
        (b"", b"a-b", [b".qmaila-b", b".qmaila-default", b".qmaildefault"]),
        (b"-", b"Joe.Doe", [b".qmail-joe:doe", b".qmail-default"]),
        (b"-", b"--", [b".qmail---", b".qmail---default", b".qmail--default", b".qmail-default"]),
    ],
)
def test_names_are_tried_in_order(dash: bytes, ext: bytes, names: list[bytes]) -> None:
    assert [candidate.name for candidate in candidates(dash, ext)] == names


def test_default_is_the_rest_of_ext_in_its_own_case() -> None:
    assert list(candidates(b"-", b"A-B.c"))[1:] == [
        Candidate(b".qmail-a-default", b"B.c"),
        Candidate(b".qmail-default", b"A-B.c"),
    ]


def test_default_of_a_file_named_itself() -> None:
    first = next(iter(candidates(b"-", b"list-DeFault")))
    assert first == Candidate(b".qmail-list-default", b"DeFault")


def test_dots_can_not_climb() -> None:
    for candidate in candidates(b"-", b"../../etc/passwd"):
        assert b".." not in candidate.name


def test_owner_files_have_the_full_extension() -> None:
    assert owner_files(b"-", b"My.List") == (
        b".qmail-my:list-owner",
        b".qmail-my:list-owner-default",
    )


@pytest.mark.parametrize(
    ("line", "instruction"),
    [
        (b"./Maildir/", Maildir(b"./Maildir/")),
        (b"/var/mail/x", Mbox(b"/var/mail/x")),
        (b"./Mailbox \t ", Mbox(b"./Mailbox")),
        (b"|cat > x", Program(b"cat > x")),
        (b"&joe@example.org", Forward(b"joe@example.org")),
        (b"joe@example.org", Forward(b"joe@example.org")),
        (b" ./x", Forward(b" ./x")),
        (b"<a@b> (c)", Forward(b"<a@b> (c)")),
    ],
)
def test_line_types(line: bytes, instruction: Instruction) -> None:
    assert plain(line) == (instruction,)
    assert plain(b"# comment\n" + line + b"\n\n") == (instruction,)


@pytest.mark.parametrize("text", [b"#", b"# ./Maildir/\n", b"+\n", b"+whatever\n", b"&\n", b"& \n"])
def test_lines_that_do_nothing(text: bytes) -> None:
    assert plain(text) == ()


@pytest.mark.parametrize("text", [b"\n./Maildir/\n", b" \t\n./Maildir/\n"])
def test_blank_first_line_puts_the_mail_off(text: bytes) -> None:
    first, *_ = plain(text)
    assert isinstance(first, Refuse)
    assert b"#4.2.1" in first.reason


def test_forward_only_file_refuses_programs_and_files_but_not_forwards() -> None:
    found = parse(b"a@b\n|x\n./y\n./z/\n", forward_only=True)
    assert found[0] == Forward(b"a@b")
    assert all(isinstance(line, Refuse) and b"#4.7.0" in line.reason for line in found[1:])
    assert len(found) == 4


def test_list_line_makes_forward_only_from_there_on() -> None:
    found = plain(b"./Maildir/\n+list\n|x\na@b\n")
    assert found[0] == Maildir(b"./Maildir/")
    assert isinstance(found[1], Refuse)
    assert found[2] == Forward(b"a@b")


@pytest.mark.parametrize("line", [b"./x\0/", b"\0", b"|a\0b", b"&a\0", b"+list\0", b"+\0"])
def test_nul_in_a_line_is_refused(line: bytes) -> None:
    # Whoever reads it as a C string obeys a part of it: we do not guess which.
    assert isinstance(plain(line)[0], Refuse)
    assert plain(b"#" + line) == ()


@pytest.mark.parametrize(
    ("address", "doubt"),
    [
        (b"joe@example.org", b""),
        (b"joe", b""),
        (b"joe+list@example.org", b""),
        (b'"a b"@example.org', b""),
        (b" joe@example.org", b"a blank before it"),
        (b"\tjoe@example.org", b"a blank before it"),
        (b"<joe@example.org>", b"brackets around it"),
        (b"Joe <joe@example.org>", b"brackets around it"),
        (b"joe@example.org (Joe)", b"a comment behind it"),
    ],
)
def test_oddities_7_forward_addresses_that_are_hardly_meant_are_doubted(
    address: bytes, doubt: bytes
) -> None:
    assert doubt_about(address) == doubt


@settings(max_examples=200)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_give_instructions_that_can_be_obeyed(text: bytes, forward_only: bool) -> None:
    found = parse(text, forward_only=forward_only)
    assert len(found) <= text.count(b"\n") + 1
    for line in found:
        if isinstance(line, Maildir):
            assert line.path.endswith(b"/")
        if isinstance(line, Maildir | Mbox):
            assert line.path[:1] in (b".", b"/")
            assert not forward_only
        if not isinstance(line, Refuse):
            assert b"\0" not in repr(line).encode()
            assert b"\n" not in getattr(line, "address", b"")


@settings(max_examples=100)
@given(st.binary(max_size=60))
def test_search_is_finite_and_ends_at_default(ext: bytes) -> None:
    names = [candidate.name for candidate in candidates(b"-", ext)]
    assert len(names) <= ext.count(b"-") + 2
    assert names[-1] == b".qmail-default"
    assert len(set(names[1:])) == len(names[1:])
