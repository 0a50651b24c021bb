"""Certificates for tests, made for the test."""

import functools
import ssl
from pathlib import Path

from qmail.edge.tls.certificate_maker import self_signed


@functools.cache
def pem_of(host: str = "me.ex") -> bytes:
    """Key and certificate for `host`; the same ones for a whole run."""
    return self_signed(host)


def write_pem(folder: Path, host: str = "me.ex", name: str = "servercert.pem") -> Path:
    """Write key and certificate into one file."""
    path = folder / name
    path.write_bytes(pem_of(host))
    path.chmod(0o600)
    return path


def client_context(pem: Path) -> ssl.SSLContext:
    """A client that believes the certificate in `pem` and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(str(pem))
    return context
