"""crypt(3) and shadow(5) of this machine; secrets overwritten in memory."""

import contextlib
import os

import pytest

from qmail.edge.machine.system_passwords import SystemPasswords
from qmail.edge.machine.wipe import wipe


@pytest.fixture(scope="module")
def passwords() -> SystemPasswords:
    found = SystemPasswords()
    if found.hashed(b"x", b"$6$salt$") is None:
        pytest.skip("this machine has no crypt(3)")
    return found


@pytest.mark.parametrize("setting", [b"$6$saltstring", b"$5$saltstring"])
def test_hash_is_the_same_with_the_setting_and_the_whole_hash(
    passwords: SystemPasswords, setting: bytes
) -> None:
    made = passwords.hashed(b"Hello world!", setting)
    assert made is not None
    assert made.startswith(setting)
    assert passwords.hashed(b"Hello world!", made) == made
    assert passwords.hashed(b"Hello world", made) != made


def test_hash_of_the_specification(passwords: SystemPasswords) -> None:
    # U. Drepper, "Unix crypt using SHA-256 and SHA-512", its first test vector.
    assert passwords.hashed(b"Hello world!", b"$6$saltstring") == (
        b"$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnI"
        b"FNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
    )


@pytest.mark.parametrize("setting", [b"", b"nonsense!", b"$99$x", b"*0", b"$6$\0"])
def test_settings_that_mean_nothing(passwords: SystemPasswords, setting: bytes) -> None:
    assert passwords.hashed(b"x", setting) is None
    assert passwords.hashed(b"x\0y", b"$6$salt$") is None


def test_usual_setting_works(passwords: SystemPasswords) -> None:
    made = passwords.hashed(b"x", passwords.usual_setting())
    assert made is not None
    assert made.startswith(b"$")


def test_records_are_for_root(passwords: SystemPasswords) -> None:
    if os.geteuid() != 0:
        # Some name services have a record for everybody, without a password in it.
        with contextlib.suppress(PermissionError):
            record = passwords.shadow(b"root")
            assert record is None or not record.is_usable(today=20000)
        return
    assert passwords.shadow(b"root") is not None
    assert passwords.shadow(b"no-such-user-here") is None


def test_secrets_are_overwritten_and_shared_bytes_are_not() -> None:
    secret = bytes(bytearray(b"hunter2"))
    wipe(secret, b"", b"x"[:1])
    assert secret == bytes(7)
    assert b"x"[0] == 120
