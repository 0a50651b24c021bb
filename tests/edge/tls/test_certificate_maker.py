"""The certificate to start with: whoever makes it, it is one for this name."""

import datetime as dt
import shutil
import sys
from pathlib import Path

import pytest
from cryptography import x509
from tests.fakes.certificates import client_context
from tests.fakes.tls_client import TlsClient

from qmail.edge.tls import certificate_maker
from qmail.edge.tls.certificate_maker import DAYS, CannotMakeError, self_signed
from qmail.edge.tls.session import ServerTls, server_context

LONG = ".".join(["a" * 60] * 4)


@pytest.fixture(params=["library", "command"])
def _maker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "command":
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not installed: certificates are made by the library alone")
        monkeypatch.setitem(sys.modules, "cryptography", None)


@pytest.mark.usefixtures("_maker")
@pytest.mark.parametrize("host", ["mail.example.org", "localhost", LONG])
def test_a_client_that_believes_it_takes_it_for_this_host(tmp_path: Path, host: str) -> None:
    path = tmp_path / "servercert.pem"
    path.write_bytes(self_signed(host))
    server = ServerTls(server_context(str(path)))
    client = TlsClient(client_context(path), host)
    for _ in range(2):
        server.feed(client.shake_hands())
        server.read()
        client.feed(server.bytes_to_send())
    assert client.is_established


@pytest.mark.usefixtures("_maker")
def test_it_lives_as_long_as_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    made = self_signed("mail.example.org")
    monkeypatch.undo()
    (certificate,) = x509.load_pem_x509_certificates(made)
    lives = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert lives <= dt.timedelta(days=DAYS)
    now = dt.datetime.now(dt.UTC)
    assert certificate.not_valid_before_utc <= now
    assert certificate.not_valid_after_utc > now + dt.timedelta(days=DAYS - 2)


def test_without_library_and_command_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotMakeError, match="neither"):
        self_signed("mail.example.org")


def test_a_command_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    (tmp_path / "openssl").write_text(
        "#!/bin/sh\necho first >&2\necho no curves here >&2\nexit 1\n"
    )
    (tmp_path / "openssl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(CannotMakeError, match="openssl: no curves here"):
        self_signed("mail.example.org")


def test_a_command_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    monkeypatch.setattr(certificate_maker, "OPENSSL_S_MAX", 0.2)
    (tmp_path / "openssl").write_text("#!/bin/sh\nexec sleep 600\n")
    (tmp_path / "openssl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(CannotMakeError, match="too long"):
        self_signed("mail.example.org")
