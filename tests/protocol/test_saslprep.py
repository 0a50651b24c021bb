"""Names and passwords prepared: RFC 4013."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qmail.protocol.saslprep import PreparationError, password_forms, saslprep


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("", ""),
        ("\u0627\u0628", "\u0627\u0628"),
        ("Stra\u00dfe", "Stra\u00dfe"),
    ],
)
def test_rfc4013_3_examples_and_more(text: str, prepared: str) -> None:
    assert saslprep(text) == prepared


@pytest.mark.parametrize(
    "text",
    ["\x07", "\u0627\u0031", "a\u0627", "\u200e", "\ue000", "\ud800", "a\x7f", "\n"],
)
def test_rfc4013_2_what_is_prohibited(text: str) -> None:
    with pytest.raises(PreparationError):
        saslprep(text)


def test_what_unicode_3_2_does_not_know_is_compared_and_not_kept() -> None:
    new = "\U0001f600"
    assert saslprep(new) == new
    with pytest.raises(PreparationError, match=r"U\+1F600"):
        saslprep(new, is_stored=True)


@given(st.text(max_size=40))
def test_what_is_prepared_stays_as_it_is(text: str) -> None:
    try:
        once = saslprep(text)
    except PreparationError:
        return
    assert saslprep(once) == once


@given(st.binary(max_size=40))
def test_forms_of_a_password_always_have_the_one_that_was_typed(password: bytes) -> None:
    forms = password_forms(password)
    assert password in forms
    assert 1 <= len(forms) <= 2


def test_forms_of_a_password() -> None:
    assert password_forms(b"plain") == (b"plain",)
    assert password_forms("\u2168".encode()) == (b"IX", "\u2168".encode())
    assert password_forms(b"\xff") == (b"\xff",)
    assert password_forms(b"tab\there") == (b"tab\there",)
