"""What dot-forward does with a .forward file (spec/companion.md 1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.core.aliases.dot_forward import (
    DIRECT,
    FORWARD,
    Action,
    DotForward,
    ForwardFileError,
    Owner,
    plan_dot_forward,
)
from qmail.core.inject.rewriting import Hosts, Rewriter

REWRITER = Rewriter(Hosts(b"dh.ex", b"dd.ex", b"pd.ex", b"id.ex"))
OWNER = Owner(b"joe", b"h.ex")


def plan(*texts: bytes | None, owner: Owner = OWNER) -> DotForward:
    names = [b"f%d" % at for at in range(len(texts))]
    return plan_dot_forward(names, owner, REWRITER, dict(zip(names, texts, strict=True)).get)


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        (b"ann\n", (b"ann@dh.ex",)),
        (b"ann@x+, Bob <bob@y>\n", (b"bob@y.dd.ex", b"ann@x.pd.ex")),
        (b"# no\nann\nbob", (b"ann@dh.ex", b"bob@dh.ex")),
        (b"\\ann (away)", (b"ann@dh.ex",)),
        (b"j@h.ex.far", (b"j@h.ex.far",)),
        (b"/odd@x.y", (b"/odd@x.y",)),
    ],
)
def test_addresses_are_completed_and_collected(text: bytes, targets: tuple[bytes, ...]) -> None:
    found = plan(text)
    assert found.targets == targets
    assert not found.is_direct


@pytest.mark.parametrize("text", [b"joe", b"\\joe", b"JOE", b"joe@h.ex", b"<Joe@H.ex>", b'"joe"'])
def test_the_users_own_address_keeps_the_mail_here(text: bytes) -> None:
    found = plan(text + b", ann\n")
    assert found.is_direct
    assert found.targets == (b"ann@dh.ex",)


@pytest.mark.parametrize("text", [b"joe@dh.ex", b"joe@other", b"joes", b'"joe@h.ex"'])
def test_other_addresses_of_that_name_are_forwarded_to(text: bytes) -> None:
    assert not plan(text).is_direct


def test_without_a_user_no_address_is_the_users_own() -> None:
    assert plan(b"a, joe@h.ex", owner=Owner(b"", b"")).targets == (b"joe@h.ex", b"a@dh.ex")


@pytest.mark.parametrize("text", [b"|/bin/p", b'|"/bin/p"', b'"|/bin/p"'])
def test_a_program_is_run(text: bytes) -> None:
    found = plan(text)
    assert found.programs == (b"/bin/p",)
    assert not found.is_direct


def test_what_sendmails_users_have_in_it() -> None:
    found = plan(b'\\joe, "|/usr/bin/vacation joe"\n')
    assert found.is_direct
    assert found.programs == (b"/usr/bin/vacation joe",)


def test_the_first_file_that_says_something_decides() -> None:
    found = plan(None, b"# nothing\n\n , (x)\n", b"", b"ann", b"bob")
    assert (found.file, found.skipped) == (b"f3", (b"f1", b"f2"))
    assert found.actions == (Action(FORWARD, b"ann@dh.ex", 1),)


@pytest.mark.parametrize("texts", [(), (None,), (b"",), (b"#x\n", None)])
def test_without_a_file_that_says_something_the_mail_stays_here(texts: tuple[bytes | None]) -> None:
    found = plan(*texts)
    assert found.file is None
    assert found.is_direct
    assert found.actions == ()


def test_each_line_stands_alone() -> None:
    found = plan(b"ann\n  bob\njoe\n")
    assert [(action.kind, action.line) for action in found.actions] == [
        (FORWARD, 1), (FORWARD, 2), (DIRECT, 3),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"/var/mail/joe", "write this line into .qmail instead"),
        (b":include:/x", ":include: is not supported"),
        (b"|prog x", "needs quotes"),
        (b"a: b, c;", "a colon inside"),
        (b"(", "does not end"),
        (b"a\0", "a NUL byte"),
        (b'"|a\0"', "a NUL byte"),
        (b"a" * 900, "longer than 800"),
    ],
)
def test_what_is_not_understood_is_told_with_file_and_line(text: bytes, why: str) -> None:
    with pytest.raises(ForwardFileError, match=r"^f0:2: ") as wrong:
        plan(b"ann\n" + text + b"\n")
    assert why in str(wrong.value)


@given(st.binary())
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    try:
        found = plan(text)
    except ForwardFileError:
        return
    assert found.is_direct or found.actions
