"""The name in a login, for the log: no password ever gets there."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmail.protocol.login_name import SHOWN_BYTES_MAX, login_name


@pytest.mark.parametrize(
    ("mechanism", "identity", "name"),
    [
        (b"USER", b"Joe@Example.ORG", b"joe@example.org"),
        (b"APOP", b"joe", b"joe"),
        (b"PLAIN", b"\0Joe\0secret", b"joe"),
        (b"PLAIN", b"boss\0joe\0secret", b"joe"),
        (b"PLAIN", b"joe", b""),
        (b"PLAIN", b"\0joe\0sec\0ret", b""),
        (b"PLAIN", b"", b""),
        (b"SCRAM-SHA-256", b"n,,n=joe,r=abc", b"joe"),
        (b"SCRAM-SHA-256", b"n,,n=a=2Cb=3Dc,r=abc", b"a,b=c"),
        (b"SCRAM-SHA-256", b"rubbish", b""),
        (b"USER", b"\xff\xfe", b"\xff\xfe"),
    ],
)
def test_the_name_of_each_mechanism(mechanism: bytes, identity: bytes, name: bytes) -> None:
    assert login_name(mechanism, identity) == name


@settings(deadline=None)
@given(st.sampled_from([b"USER", b"PLAIN", b"SCRAM-SHA-256"]), st.binary(max_size=2000))
def test_any_bytes_give_a_name_of_bounded_length(mechanism: bytes, identity: bytes) -> None:
    assert len(login_name(mechanism, identity)) <= SHOWN_BYTES_MAX


@settings(deadline=None)
@given(
    st.binary(min_size=8).filter(lambda secret: b"\0" not in secret),
    st.sampled_from([b"\0joe\0%b", b"joe\0%b", b"%b", b"\0\0\0%b", b"\0joe\0\0%b"]),
)
def test_no_form_of_plain_shows_what_stands_where_the_password_is(
    secret: bytes, form: bytes
) -> None:
    assert secret not in login_name(b"PLAIN", form % secret)
