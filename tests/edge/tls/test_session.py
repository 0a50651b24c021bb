"""TLS without sockets: every cut of the input means the same, every bound holds."""

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as s
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.certificates import client_context, pem_of, write_pem
from tests.fakes.tls_client import TlsClient

from qmail.edge.tls import session as tls
from qmail.edge.tls.session import ServerTls, TlsError, server_context


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pem(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def context(pem: Path) -> ssl.SSLContext:
    return server_context(str(pem))


def shake_hands(server: ServerTls, client: TlsClient) -> None:
    for _ in range(4):
        sent = client.shake_hands()
        if sent:
            server.feed(sent)
        assert server.read() == b""
        client.feed(server.bytes_to_send())
    assert server.is_established
    assert client.is_established


@pytest.fixture
def pair(pem: Path, context: ssl.SSLContext) -> tuple[ServerTls, TlsClient]:
    server, client = ServerTls(context), TlsClient(client_context(pem))
    shake_hands(server, client)
    return server, client


Pair = tuple[ServerTls, TlsClient]


def test_both_sides_understand_each_other(pair: Pair) -> None:
    server, client = pair
    assert server.name.startswith("TLSv1.3:TLS_")
    server.feed(client.said(b"USER joe\r\n"))
    assert server.read() == b"USER joe\r\n"
    server.write(b"+OK ")
    server.write(b"go on\r\n")
    client.feed(server.bytes_to_send())
    assert client.heard() == b"+OK go on\r\n"


def test_what_is_written_before_the_handshake_is_done_comes_after_it(
    pem: Path, context: ssl.SSLContext
) -> None:
    server, client = ServerTls(context), TlsClient(client_context(pem))
    server.write(b"+OK ready\r\n")
    assert server.bytes_to_send() == b""
    shake_hands(server, client)
    assert client.heard() == b"+OK ready\r\n"


@settings(deadline=None)
@given(
    text=st.binary(max_size=50000), cuts=st.lists(st.integers(1, 20000), max_size=20), odd=st.data()
)
def test_any_cut_of_the_input_gives_the_same_text(
    tmp_path_factory: pytest.TempPathFactory, text: bytes, cuts: list[int], odd: st.DataObject
) -> None:
    server, client = ServerTls(CONTEXT(tmp_path_factory)), TlsClient(CLIENT[0])
    shake_hands(server, client)
    sent = client.said(text) if text else b""
    sent += client.farewell()
    found = b""
    for cut in cuts:
        piece, sent = sent[:cut], sent[cut:]
        if piece:
            server.feed(piece)
            found += server.read(odd.draw(st.integers(1, 30000)))
    server.feed(sent or b"")
    while data := server.read():
        found += data
    assert found == text
    assert server.has_ended


MADE: list[ssl.SSLContext] = []
CLIENT: list[ssl.SSLContext] = []


def CONTEXT(factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """The same for every example: making one takes longer than an example."""
    if not MADE:
        path = write_pem(factory.mktemp("cuts"))
        MADE.append(server_context(str(path)))
        CLIENT.append(client_context(path))
    return MADE[0]


def test_a_read_returns_about_what_was_asked_for_and_keeps_the_rest(pair: Pair) -> None:
    server, client = pair
    server.feed(client.said(b"x" * 300000))
    first = server.read(1000)
    assert 1000 <= len(first) < 1000 + tls.RECORD_BYTES
    assert server.bytes_pending > 250000
    rest = first
    while data := server.read():
        rest += data
    assert rest == b"x" * 300000
    assert server.bytes_pending == 0


def test_rfc8446_6_1_after_our_farewell_the_client_can_still_be_read(pair: Pair) -> None:
    server, client = pair
    server.write(b"+OK bye\r\n")
    server.feed(client.said(b"on its way"))
    server.end()
    client.feed(server.bytes_to_send())
    assert client.heard() == b"+OK bye\r\n"
    assert server.read() == b"on its way"
    server.feed(client.farewell())
    assert server.read() == b""
    assert server.has_ended


def test_a_cut_connection_is_an_end(pair: Pair) -> None:
    server, client = pair
    server.feed(client.said(b"QUI"))
    server.feed(b"")
    assert server.read() == b"QUI"
    assert server.read() == b""
    assert server.has_ended
    server.end()


@pytest.mark.parametrize("text", [b"CAPA\r\nQUIT\r\n", b"GET / HTTP/1.0\r\n\r\n", b"\0" * 50])
def test_what_is_no_tls_is_an_error(context: ssl.SSLContext, text: bytes) -> None:
    server = ServerTls(context)
    server.feed(text)
    with pytest.raises(TlsError):
        server.read()


def test_an_end_before_the_handshake_is_done_is_an_end(context: ssl.SSLContext) -> None:
    server = ServerTls(context)
    server.feed(b"")
    assert server.read() == b""
    assert server.has_ended
    assert not server.is_established
    assert server.name == ""
    server.end()
    assert server.bytes_to_send() == b""


@settings(deadline=None)
@given(junk=st.binary(max_size=600), start=st.booleans())
def test_any_bytes_at_all_are_text_or_an_end_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, start: bool
) -> None:
    server = ServerTls(CONTEXT(tmp_path_factory))
    hello = TlsClient(CLIENT[0]).shake_hands()
    server.feed((hello[:200] if start else b"") + junk)
    server.feed(b"")
    try:
        assert server.read() == b""
        assert server.has_ended
    except TlsError:
        pass


def test_a_damaged_record_is_an_error_and_the_client_is_told(pair: Pair) -> None:
    server, client = pair
    sent = bytearray(client.said(b"DELE 1\r\n"))
    sent[-1] ^= 1
    server.feed(bytes(sent))
    with pytest.raises(TlsError):
        server.read()
    assert server.bytes_to_send()


def test_a_handshake_without_an_end_is_an_error(
    context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "HANDSHAKE_BYTES_MAX", 1000)
    server = ServerTls(context)
    # A record that says it is long, and part of it.
    server.feed(b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc" + b"\x03" * 500)
    assert server.read() == b""
    server.feed(b"\x03" * 600)
    with pytest.raises(TlsError, match="too long a handshake"):
        server.read()


def test_rfc9325_3_1_1_versions_below_1_2_are_refused(pem: Path, context: ssl.SSLContext) -> None:
    old = client_context(pem)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    server = ServerTls(context)
    server.feed(TlsClient(old).shake_hands())
    with pytest.raises(TlsError, match="unsupported protocol"):
        server.read()


def test_rfc9325_3_1_1_version_1_2_will_do(pem: Path, context: ssl.SSLContext) -> None:
    older = client_context(pem)
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    server, client = ServerTls(context), TlsClient(older)
    shake_hands(server, client)
    assert server.name.startswith("TLSv1.2:ECDHE-")


# --- certificate and key --------------------------------------------------------------------------


def split_pem(host: str = "me.ex") -> tuple[bytes, bytes]:
    """Return certificate and key by themselves."""
    key, mark, rest = pem_of(host).partition(b"-----BEGIN CERTIFICATE-----")
    return mark + rest, key


def test_certificate_and_key_may_be_two_files(tmp_path: Path) -> None:
    certificate, key = split_pem()
    (tmp_path / "cert").write_bytes(certificate)
    (tmp_path / "key").write_bytes(key)
    server = ServerTls(server_context(str(tmp_path / "cert"), str(tmp_path / "key")))
    shake_hands(server, TlsClient(client_context(tmp_path / "cert")))


def test_a_key_of_another_certificate_is_told(tmp_path: Path) -> None:
    (tmp_path / "cert").write_bytes(split_pem()[0])
    (tmp_path / "key").write_bytes(split_pem("other.example")[1])
    with pytest.raises(TlsError, match=r"cert, .*key: the private key is not the certificate's"):
        server_context(str(tmp_path / "cert"), str(tmp_path / "key"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TlsError, match=r"none: No such file"):
        server_context(str(tmp_path / "none"))
    (tmp_path / "cert").write_bytes(split_pem()[0])
    with pytest.raises(TlsError, match=r"key: No such file"):
        server_context(str(tmp_path / "cert"), str(tmp_path / "key"))


@pytest.mark.parametrize("which", [0, 1])
def test_a_file_without_the_one_or_the_other_is_told(tmp_path: Path, which: int) -> None:
    (tmp_path / "half").write_bytes(split_pem()[which])
    with pytest.raises(TlsError, match=r"half: no"):
        server_context(str(tmp_path / "half"))


def test_an_encrypted_key_is_told_and_nobody_is_asked_for_a_password(tmp_path: Path) -> None:
    certificate, key = split_pem()
    loaded = s.load_pem_private_key(key, None)
    locked = loaded.private_bytes(
        s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"x")
    )
    (tmp_path / "cert").write_bytes(certificate + locked)
    with pytest.raises(TlsError, match="cert: the private key is encrypted"):
        server_context(str(tmp_path / "cert"))
