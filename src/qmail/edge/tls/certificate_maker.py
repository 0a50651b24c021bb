"""Makes a certificate to start with: self-signed, for one host name, with its key in one PEM text.

With the library `cryptography`, or where that can't be imported with the command openssl.
"""

import datetime as dt
import os
import subprocess
import tempfile
from typing import Final

DAYS: Final = 825
"""Mail programs of one large maker take no server certificate that lives longer."""
NAME_CHARS_MAX: Final = 64
"""Longest common name (RFC 5280, appendix A.1); longer names stand in subjectAltName alone."""
OPENSSL_S_MAX: Final = 60
BACK_DATED: Final = dt.timedelta(hours=1)
"""So that a client whose clock is a little behind takes a new one."""


class CannotMakeError(Exception):
    """No certificate; the text says what to do."""


def self_signed(host: str) -> bytes:
    """Return key and certificate for `host`, PEM, in the order of qmail's servercert.pem.

    Raises: CannotMakeError: neither the library nor the command is there, or it failed.
    """
    try:
        return _by_library(host)
    except ImportError:
        return _by_command(host)


def _by_library(host: str) -> bytes:
    # An import of some 100 ms that nothing but this needs.
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(x509.NameOID.COMMON_NAME, host)] if _fits(host) else []
    subject = x509.Name(names)
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACK_DATED)
        .not_valid_after(now + dt.timedelta(days=DAYS) - BACK_DATED)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=not names)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + certificate.public_bytes(serialization.Encoding.PEM)


def _by_command(host: str) -> bytes:
    subject = f"/CN={host}" if _fits(host) else "/"
    with tempfile.TemporaryDirectory(prefix="qmail-cert-") as folder:
        key, certificate = f"{folder}/key", f"{folder}/certificate"
        command = [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-sha256", "-days", str(DAYS), "-subj", subject),
            *("-addext", f"subjectAltName=DNS:{host}", "-addext", "extendedKeyUsage=serverAuth"),
            *("-keyout", key, "-out", certificate),
        ]
        try:
            done = subprocess.run(
                command,
                check=False,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=OPENSSL_S_MAX,
            )
        except FileNotFoundError:
            raise CannotMakeError(
                "neither the library cryptography nor the command openssl is here"
            ) from None
        except subprocess.TimeoutExpired:
            raise CannotMakeError("openssl takes too long") from None
        if done.returncode:
            last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise CannotMakeError(f"openssl: {last}")
        return _contents(key) + _contents(certificate)


def _fits(host: str) -> bool:
    return len(host) <= NAME_CHARS_MAX


def _contents(path: str) -> bytes:
    with open(os.fspath(path), "rb") as file:
        return file.read()
