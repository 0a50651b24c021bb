"""What a server keeps of a password for SCRAM-SHA-256: nobody can log in with it alone.

The text form is that of Dovecot's scheme SCRAM-SHA-256: iterations, salt, StoredKey and ServerKey,
the last three in base64, with commas between. Source: RFC 5802 3, RFC 7677.
"""

import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

HASH: Final = "sha256"
KEY_BYTES: Final = 32
ITERATIONS: Final = 15000
"""What new keys are made with. RFC 7677 4 asks for 4096 at least and names 15,000 as the rule of
thumb: some milliseconds here for each USER and PASS, and a moment on a small telephone."""
ITERATIONS_MIN: Final = 4096
ITERATIONS_MAX: Final = 10_000_000
"""More would keep a helper busy for seconds with each try."""
SALT_BYTES: Final = 16
SALT_BYTES_MAX: Final = 256
TEXT_BYTES_MAX: Final = 1024


class KeysError(ValueError):
    """The text is not what keys look like; it says which part of it."""


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """The keys of one password."""

    iterations: int
    salt: bytes
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    def text(self) -> bytes:
        """Return the text form."""
        parts = (self.salt, self.stored_key, self.server_key)
        encoded = [binascii.b2a_base64(part, newline=False) for part in parts]
        return b",".join([b"%d" % self.iterations, *encoded])


def make_keys(password: bytes, salt: bytes, iterations: int) -> ScramKeys:
    """Return the keys of a prepared password. Takes as long as `iterations` says."""
    salted = hashlib.pbkdf2_hmac(HASH, password, salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", HASH)
    stored_key = hashlib.sha256(client_key).digest()
    return ScramKeys(iterations, salt, stored_key, hmac.digest(salted, b"Server Key", HASH))


def is_password_of(keys: ScramKeys, password: bytes) -> bool:
    """Say whether the keys were made of this password."""
    made = make_keys(password, keys.salt, keys.iterations)
    return hmac.compare_digest(made.stored_key, keys.stored_key)


def parse_keys(text: bytes) -> ScramKeys:
    """Parse the text form.

    Raises: KeysError: it is none.
    """
    parts = text.split(b",")
    if len(text) > TEXT_BYTES_MAX or len(parts) != 4:
        raise KeysError("it is not ITERATIONS,SALT,STOREDKEY,SERVERKEY")
    iterations, salt, stored_key, server_key = parts
    if not iterations.isdigit() or len(iterations) > 8:
        raise KeysError("the number of iterations is none")
    if not ITERATIONS_MIN <= int(iterations) <= ITERATIONS_MAX:
        raise KeysError(f"there must be {ITERATIONS_MIN} to {ITERATIONS_MAX} iterations")
    keys = ScramKeys(
        int(iterations),
        _decoded("salt", salt),
        _decoded("StoredKey", stored_key),
        _decoded("ServerKey", server_key),
    )
    if not 0 < len(keys.salt) <= SALT_BYTES_MAX:
        raise KeysError(f"the salt must have 1 to {SALT_BYTES_MAX} bytes")
    if len(keys.stored_key) != KEY_BYTES or len(keys.server_key) != KEY_BYTES:
        raise KeysError(f"StoredKey and ServerKey must have {KEY_BYTES} bytes each")
    return keys


def _decoded(name: str, text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise KeysError(f"the {name} is not base64") from None


def unknown_keys(secret: bytes, name: bytes, iterations: int) -> ScramKeys:
    """Return keys for a name that nobody has, always the same ones, which no password fits.

    Without them the answer to a guessed name would tell whether it exists. `secret` must stay the
    same, and be unknown outside. Source: RFC 5802 9.
    """
    salt = hmac.digest(secret, b"salt\0" + name, HASH)[:SALT_BYTES]
    stored_key = hmac.digest(secret, b"stored key\0" + name, HASH)
    return ScramKeys(iterations, salt, stored_key, hmac.digest(secret, b"server\0" + name, HASH))
