"""What sendmail's words mean: author, sender, recipients (spec/inject.md 10)."""

import contextlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.core.inject.sendmail_order import BadArgumentError, author, listed, make_request
from qmail.protocol.options import OptionError
from qmail.protocol.sendmail_options import read_command


def nobody() -> bytes | None:
    return None


def test_the_author_of_f_has_no_host_of_the_environment() -> None:
    environ = {b"MAILHOST": b"x", b"NAME": b"Joe", b"PATH": b"p"}
    assert author(environ, b"a@b@c", None, nobody) == {
        b"QMAILUSER": b"a@b",
        b"QMAILHOST": b"c",
        b"PATH": b"p",
    }
    assert author(environ, b"a", b"N", nobody) == {
        b"QMAILUSER": b"a",
        b"QMAILNAME": b"N",
        b"PATH": b"p",
    }
    assert author(environ, None, None, nobody) == environ
    assert author(environ, b"", None, nobody) == environ


def test_the_login_name_counts_where_the_environment_has_none() -> None:
    assert author({}, None, None, lambda: b"joe") == {b"QMAILUSER": b"joe"}
    assert author({b"LOGNAME": b""}, None, None, lambda: b"joe") == {b"LOGNAME": b""}
    assert author({}, b"a@b", None, lambda: b"joe") == {b"QMAILUSER": b"a", b"QMAILHOST": b"b"}


@pytest.mark.parametrize(
    ("word", "found"),
    [
        (b"joe", [b"joe"]),
        (b"a b@c", [b"a b@c"]),
        (b"a,b@c,", [b"a", b"b@c"]),
        (b"g: a, b@c;", [b"a", b"b@c"]),
        (b"Joe <joe@c> (x)", [b"joe@c"]),
        (b'"a b"@c', [b"a b@c"]),
        (b",", []),
        (b"<>", [b""]),
    ],
)
def test_a_word_is_a_list_of_addresses(word: bytes, found: list[bytes]) -> None:
    assert listed(word) == found


def test_the_null_sender_has_two_forms() -> None:
    for word in ("", "<>"):
        assert make_request(read_command(["-f", word]), os.fsencode).sender == b""


@given(st.lists(st.text(alphabet='-abfiotqF<>,@"( \\\udcff', max_size=5), max_size=5))
def test_any_command_line_is_understood_or_refused(argv: list[str]) -> None:
    with contextlib.suppress(OptionError, BadArgumentError):
        request = make_request(read_command(argv), os.fsencode)
        assert request.mode in ("a", "H")
