"""The server's certificate: where it lies, and what it says of itself."""

from __future__ import annotations

import os

from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

CERTIFICATE: Final = "servercert.pem"
"""In control/: the certificate, those of its chain, and the key unless it lies in KEY."""
KEY: Final = "serverkey.pem"
CHAIN_BYTES_MAX: Final = 1024 * 1024


class BadCertificateError(ValueError):
    """It can't be understood; the text says why."""


class Facts(Record):
    """What a certificate says. Times are seconds since 1970."""

    names: tuple[str, ...]
    """Host names that it is for, in lower case; `*.example.org` for all of one level."""
    begins_at: float
    ends_at: float
    is_self_signed: bool

    def is_for(self, host: str) -> bool:
        """Say whether a client that connects to `host` takes it (RFC 9525 6.3)."""
        host = host.lower().rstrip(".")
        return host in self.names or f"*.{host.partition('.')[2]}" in self.names


def certificate_files(home: str) -> tuple[str, str | None] | None:
    """Return the paths of certificate and key; None as key: in the same file; None: there is none.

    A link that leads nowhere counts as a certificate: it is meant to be one.
    """
    chain, key = f"{home}/control/{CERTIFICATE}", f"{home}/control/{KEY}"
    if not os.path.lexists(chain):
        return None
    return chain, key if os.path.lexists(key) else None


def facts_of(path: str) -> Facts | None:
    """Return what the first certificate in the PEM file `path` says.

    None: the library cryptography is missing, so there is no telling.
    Raises: OSError: it can't be read. BadCertificateError: it is none.
    """
    with open(path, "rb") as file:
        text = file.read(CHAIN_BYTES_MAX)
    try:
        # An import of some 100 ms, for people who wait for an answer and for nobody else.
        from cryptography import x509  # noqa: PLC0415
    except ImportError:
        return None
    try:
        found = x509.load_pem_x509_certificates(text)[0]
    except ValueError as wrong:
        raise BadCertificateError("no certificate in PEM form") from wrong
    try:
        named = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = named.value.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, ValueError):
        names = []
    return Facts(
        names=tuple(name.lower() for name in names),
        begins_at=found.not_valid_before_utc.timestamp(),
        ends_at=found.not_valid_after_utc.timestamp(),
        is_self_signed=found.subject == found.issuer,
    )
