"""SASL PLAIN and names (RFC 4616), keys and SCRAM-SHA-256 (RFC 5802, RFC 7677), beside scramp."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scramp import ScramClient, ScramException

from qmail.protocol.sasl import Credentials, SaslError, prepared_name, read_plain
from qmail.protocol.sasl_scram import ScramServer
from qmail.protocol.scram_keys import (
    ITERATIONS_MIN,
    KeysError,
    is_password_of,
    make_keys,
    parse_keys,
    unknown_keys,
)

# RFC 7677 3.
RFC_CLIENT_FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
RFC_NONCE = b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
RFC_SERVER_FIRST = (
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
)
RFC_CLIENT_FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
RFC_SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
RFC_KEYS = make_keys(b"pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)


# --- PLAIN ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "name", "password"),
    [
        (b"\0tim\0tanstaaftanstaaf", b"tim", b"tanstaaftanstaaf"),
        (b"Tim\0tim\0xipj3plmq", b"tim", b"xipj3plmq"),
        (b"\0TIM@Example.Net\0a b:c", b"tim@example.net", b"a b:c"),
        (b"\0tim\0\xff\xfe", b"tim", b"\xff\xfe"),
    ],
)
def test_rfc4616_messages(message: bytes, name: bytes, password: bytes) -> None:
    assert read_plain(message) == Credentials(name, password, message.split(b"\0")[1])


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"tim",
        b"tim\0secret",
        b"\0tim\0",
        b"\0\0secret",
        b"\0tim\0sec\0ret",
        b"Ursel\0Kurt\0xipj3plmq",
        b"\0\xff\0secret",
        b"\0ti:m\0secret",
        b"\0ti\nm\0secret",
        b"\0" + b"x" * 1021 + b"\0secret",
        b"\0tim\0" + b"x" * 1021,
    ],
)
def test_rfc4616_messages_that_are_refused(message: bytes) -> None:
    with pytest.raises(SaslError):
        read_plain(message)


@given(st.binary(max_size=60))
def test_any_bytes_are_credentials_or_an_error(message: bytes) -> None:
    try:
        found = read_plain(message)
    except SaslError:
        return
    assert found.name == prepared_name(found.name)
    assert b"\0" not in found.name + found.password


# --- keys -----------------------------------------------------------------------------------------


def test_keys_as_text_and_back() -> None:
    assert parse_keys(RFC_KEYS.text()) == RFC_KEYS
    assert RFC_KEYS.text().startswith(b"4096,W22ZaJ0SNY7soEsUEjb6gQ==,")
    assert is_password_of(RFC_KEYS, b"pencil")
    assert not is_password_of(RFC_KEYS, b"Pencil")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ((b"4096,", b"4095,"), "4096 to"),
        ((b"4096,", b"99999999,"), "4096 to"),
        ((b"4096,", b"+4096,"), "iterations"),
        ((b"4096,", b","), "iterations"),
        ((b"W22Z", b"W2=Z"), "salt"),
        ((b"W22ZaJ0SNY7soEsUEjb6gQ==", b""), "salt"),
        ((b",", b";"), "ITERATIONS,SALT"),
    ],
)
def test_text_that_is_no_keys(change: tuple[bytes, bytes], what: str) -> None:
    with pytest.raises(KeysError, match=what):
        parse_keys(RFC_KEYS.text().replace(*change))


@given(st.binary(max_size=120))
def test_any_bytes_are_keys_or_an_error(text: bytes) -> None:
    try:
        assert parse_keys(text).text()
    except KeysError:
        return


def test_keys_of_nobody_are_always_the_same_and_nobodys() -> None:
    keys = unknown_keys(b"secret", b"joe", 4096)
    assert keys == unknown_keys(b"secret", b"joe", 4096)
    assert keys.salt != unknown_keys(b"secret", b"ann", 4096).salt
    assert keys.salt != unknown_keys(b"other", b"joe", 4096).salt
    assert len(keys.salt) == len(RFC_KEYS.salt)
    assert not is_password_of(keys, b"")


# --- SCRAM ----------------------------------------------------------------------------------------


def test_rfc7677_3_example() -> None:
    server = ScramServer(RFC_NONCE)
    assert server.begin(RFC_CLIENT_FIRST) == b"user"
    assert server.challenge(RFC_KEYS) == RFC_SERVER_FIRST
    assert server.finish(RFC_CLIENT_FINAL) == RFC_SERVER_FINAL


@pytest.mark.parametrize(
    "message",
    [
        RFC_CLIENT_FINAL.replace(b"p=d", b"p=e"),
        RFC_CLIENT_FINAL.replace(b"c=biws", b"c=eSws"),
        RFC_CLIENT_FINAL.replace(b"c=biws", b"c=biw="),
        RFC_CLIENT_FINAL.replace(b"NlF$k0", b"NlF$k1"),
        RFC_CLIENT_FINAL.replace(b"r=rOprNGfwEbeRWgbNEkqO", b"r="),
        RFC_CLIENT_FINAL[:-4],
        RFC_CLIENT_FINAL.replace(b",p=", b",m=x,p="),
        RFC_CLIENT_FINAL.replace(b",p=", b",,p="),
        RFC_CLIENT_FINAL + b",x=1",
        b"",
        b"c=biws",
        b",p=",
    ],
)
def test_finals_that_are_refused(message: bytes) -> None:
    server = ScramServer(RFC_NONCE)
    server.begin(RFC_CLIENT_FIRST)
    server.challenge(RFC_KEYS)
    try:
        assert server.finish(message) is None
    except SaslError:
        return


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"n,,n=user",
        b"n,,n=,r=abc",
        b"n,,n=user,r=",
        b"n,,n=user,r=a\x7fb",
        b"n,,n=us=er,r=abc",
        b"n,,n=us=2cer,r=abc",
        b"n,,r=abc,n=user",
        b"n,,m=x,n=user,r=abc",
        b"n,a=other,n=user,r=abc",
        b"n,x=user,n=user,r=abc",
        b"p=tls-exporter,,n=user,r=abc",
        b"x,,n=user,r=abc",
        b"n,,n=user,r=" + b"x" * 513,
        b"n,,n=user,r=abc,x",
        b"n,,n=\xff,r=abc",
    ],
)
def test_firsts_that_are_refused(message: bytes) -> None:
    with pytest.raises(SaslError):
        ScramServer(RFC_NONCE).begin(message)


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (b"y,,n=user,r=abc", b"user"),
        (b"n,a=USER,n=user,r=abc", b"user"),
        (b"n,,n=a=2Cb=3Dc,r=abc", b"a,b=c"),
        (b"n,,n=user,r=abc,x=1", b"user"),
    ],
)
def test_firsts_that_are_taken(message: bytes, name: bytes) -> None:
    assert ScramServer(RFC_NONCE).begin(message) == name


def test_channel_binding_flag_can_t_be_changed_on_the_way() -> None:
    # Who takes `y` for `n` hides that the client could bind: `c=` tells.
    server = ScramServer(RFC_NONCE)
    server.begin(b"n" + RFC_CLIENT_FIRST[1:])
    server.challenge(RFC_KEYS)
    with pytest.raises(SaslError, match="channel binding"):
        server.finish(RFC_CLIENT_FINAL.replace(b"c=biws", b"c=" + base64.b64encode(b"y,,")))


def test_messages_out_of_order_end_the_login() -> None:
    server = ScramServer(RFC_NONCE)
    with pytest.raises(SaslError, match="order"):
        server.finish(RFC_CLIENT_FINAL)
    server.begin(RFC_CLIENT_FIRST)
    with pytest.raises(SaslError, match="order"):
        server.begin(RFC_CLIENT_FIRST)
    server.challenge(RFC_KEYS)
    assert server.finish(RFC_CLIENT_FINAL)
    with pytest.raises(SaslError, match="order"):
        server.finish(RFC_CLIENT_FINAL)


names = st.text(st.characters(codec="ascii", min_codepoint=33, max_codepoint=126), min_size=1)
passwords = st.text(st.characters(codec="utf-8", min_codepoint=33, max_codepoint=0x2FF), min_size=1)


@settings(max_examples=60, deadline=None)
@given(name=names, password=passwords, guess=passwords, salt=st.binary(min_size=12, max_size=40))
def test_scramp_logs_in_with_the_password_and_no_other(
    name: str, password: str, guess: str, salt: bytes
) -> None:
    from qmail.protocol.saslprep import PreparationError, saslprep  # noqa: PLC0415

    try:
        prepared, guessed = (saslprep(text, is_stored=True) for text in (password, guess))
    except PreparationError:
        return
    if ":" in name or not prepared or not guessed:
        return
    client = ScramClient(["SCRAM-SHA-256"], name, guess)
    server = ScramServer(RFC_NONCE)
    found = server.begin(client.get_client_first().encode())
    assert found == name.lower().encode()
    keys = make_keys(prepared.encode(), salt, ITERATIONS_MIN)
    client.set_server_first(server.challenge(keys).decode())
    final = server.finish(client.get_client_final().encode())
    assert (final is not None) == (guessed == prepared)
    if final is not None:
        client.set_server_final(final.decode())
        with pytest.raises(ScramException):
            client.set_server_final(final.decode()[:-4] + "AAA=")


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_any_bytes_end_a_login_or_carry_it_on(first: bytes, final: bytes) -> None:
    server = ScramServer(RFC_NONCE)
    try:
        server.begin(b"n,,n=user," + first)
        server.challenge(RFC_KEYS)
        assert server.finish(final) is None
    except SaslError:
        return
