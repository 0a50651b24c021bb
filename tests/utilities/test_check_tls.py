"""`qmail check` looks at the certificate: whose it is, how long it lives, who can read the key."""

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.fakes.certificates import pem_of

from qmail.edge.machine.accounts import (
    Accounts,
    MissingAccountError,
    one_account,
    separate_accounts,
)
from qmail.utilities.check_report import Report
from qmail.utilities.check_tls import check_tls

ALONE = one_account(os.getuid(), os.getgid())
IS_ROOT = os.getuid() == 0


@pytest.fixture
def home(open_folder: Path) -> Path:
    home = open_folder / "home"
    (home / "control").mkdir(parents=True)
    (home / "control/me").write_text("me.ex\n")
    (home / "control/listeners").write_text("pop3 127.0.0.1:1100\npop3s 127.0.0.1:9950\n")
    return home


Check = Callable[..., list[str]]


@pytest.fixture
def check(home: Path) -> Check:
    def run(accounts: Accounts = ALONE) -> list[str]:
        report = Report()
        check_tls(report, str(home), accounts)
        return [*report.notes, *report.findings]

    return run


def put(home: Path, text: bytes, name: str = "servercert.pem", mode: int = 0o400) -> Path:
    path = home / "control" / name
    path.unlink(missing_ok=True)
    path.write_bytes(text)
    path.chmod(mode)
    return path


def made(days: float, *, host: str = "me.ex", begins: float = -10) -> bytes:
    """A certificate that is signed by somebody and ends in so many days, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    signed = (
        x509.CertificateBuilder()
        .subject_name(name(host))
        .issuer_name(name("An authority"))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now + dt.timedelta(days=begins))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return signed.public_bytes(serialization.Encoding.PEM) + secret


def test_a_good_one_is_in_order(home: Path, check: Check) -> None:
    put(home, made(90))
    assert check() == []


def test_the_one_that_init_makes_is_told_to_be_self_signed(home: Path, check: Check) -> None:
    put(home, pem_of())
    (line,) = check()
    assert line.startswith("note: control/servercert.pem is self-signed")


@pytest.mark.parametrize(
    ("days", "begins", "says"),
    [
        (-1, -10, "error: control/servercert.pem has expired: renew it"),
        (13.5, -10, "warning: control/servercert.pem expires in 13 days: renew it"),
        (90, 1, "error: control/servercert.pem is not valid yet"),
    ],
)
def test_its_time(home: Path, check: Check, days: float, begins: float, says: str) -> None:
    put(home, made(days, begins=begins))
    (line,) = check()
    assert line.startswith(says)


@pytest.mark.parametrize(
    ("host", "is_fine"),
    [("me.ex", True), ("ME.ex", True), ("*.ex", True), ("pop.me.ex", False), ("*.me.ex", False)],
)
def test_its_name(home: Path, check: Check, host: str, is_fine: bool) -> None:
    put(home, made(90, host=host))
    lines = check()
    assert (lines == []) is is_fine
    assert all(f"is for {host}: clients that connect to me.ex don't take it" in at for at in lines)


def test_a_key_that_everybody_can_read(home: Path, check: Check) -> None:
    path = put(home, made(90), mode=0o444)
    assert check() == [
        f"error: {path} has a private key that everybody can read: run 'chmod o= {path}'"
    ]
    path.chmod(0o622)
    assert any("can be written by others" in line for line in check())


def test_a_certificate_without_its_key_may_be_read_by_everybody(home: Path, check: Check) -> None:
    certificate, mark, key = made(90).partition(b"-----BEGIN PRIVATE KEY-----")
    put(home, certificate, mode=0o444)
    put(home, mark + key, "serverkey.pem")
    assert check() == []


def test_a_key_of_another_certificate(home: Path, check: Check) -> None:
    put(home, made(90).partition(b"-----BEGIN PRIVATE KEY-----")[0])
    put(home, made(90), "serverkey.pem")
    (line,) = check()
    assert "the private key is not the certificate's: no TLS without it: mend it" in line


@pytest.mark.parametrize("text", [b"", b"rubbish\n", made(90)[:300]])
def test_what_is_no_certificate(home: Path, check: Check, text: bytes) -> None:
    put(home, text)
    (line,) = check()
    assert line.startswith("error: ")
    assert "servercert.pem: " in line


def test_a_link_that_leads_nowhere(home: Path, check: Check) -> None:
    (home / "control/servercert.pem").symlink_to("/etc/nosuch/fullchain.pem")
    assert any("No such file" in line for line in check())


def test_without_one_what_does_not_work_is_told(home: Path, check: Check) -> None:
    (line,) = check()
    assert line.startswith("error: control/servercert.pem is missing, and control/listeners has")
    (home / "control/listeners").write_text("pop3 127.0.0.1:1100\n")
    (line,) = check()
    assert line.startswith("warning: control/servercert.pem is missing: POP3 without TLS")
    (home / "control/listeners").write_text("smtp 127.0.0.1:2525\n")
    assert check() == []


def test_where_nothing_uses_it_its_date_does_not_matter_but_its_mode_does(
    home: Path, check: Check
) -> None:
    (home / "control/listeners").write_text("smtp 127.0.0.1:2525\n")
    path = put(home, made(-1))
    assert check() == []
    path.chmod(0o404)
    assert len(check()) == 1


@pytest.mark.root
def test_root_a_key_has_to_be_qmailds_and_nobody_elses(home: Path, check: Check) -> None:
    try:
        accounts = separate_accounts()
    except MissingAccountError as missing:
        pytest.skip(str(missing))
    path = put(home, made(90))
    (line,) = check(accounts)
    assert "Permission denied: no TLS without it: make it one that qmaild can read" in line
    os.chown(path, accounts["qmaild"].uid, accounts["qmaild"].gid)
    assert check(accounts) == []
    path.chmod(0o440)
    (line,) = check(accounts)
    assert line.startswith(f"warning: {path} has a private key that other accounts of qmail can")


@pytest.mark.skipif(IS_ROOT, reason="root can read everything")
def test_one_that_is_closed_to_who_asks_is_a_note(home: Path, check: Check) -> None:
    put(home, made(90), mode=0)
    assert any("is closed to you" in line or "ermission" in line for line in check())
