"""SCRAM-SHA-256 on the server's side: the password never crosses the line (RFC 5802, RFC 7677).

The client's messages are taken in this order, each once; whatever else comes ends the login:

    state     message        answer
    --------  -------------  ----------------------------------------
    BEGIN     client-first   its name: whoever calls looks the keys up
    NAMED     -              server-first, made of the keys
    PROOF     client-final   server-final, where the proof is good
    DONE      -
"""

import binascii
import hashlib
import hmac
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from qmail.protocol.sasl import SaslError, check_acts_as, prepared_name
from qmail.protocol.scram_keys import HASH, KEY_BYTES, ScramKeys

NONCE_BYTES_MAX: Final = 512
_NONCE: Final = frozenset(range(33, 127)) - {44}
"""RFC 5802 7, printable: no comma."""


class State(Enum):
    """How far a login is."""

    BEGIN = auto()
    NAMED = auto()
    PROOF = auto()
    DONE = auto()


@dataclass(frozen=True, slots=True)
class _First:
    """What client-first says."""

    header: bytes
    """gs2-header, with the comma at its end: what `c=` repeats later."""
    bare: bytes
    name: bytes
    nonce: bytes


class ScramServer:
    """One login. `nonce`: our part of the nonce, unguessable, in printable ASCII without comma."""

    def __init__(self, nonce: bytes) -> None:
        self._nonce = nonce
        self._state = State.BEGIN
        self._first = _First(b"", b"", b"", b"")
        self._server_first = b""
        self._keys: ScramKeys | None = None

    def begin(self, message: bytes) -> bytes:
        """Take client-first. Returns: the name, prepared.

        Raises: SaslError: it is none, or it asks for what is not offered.
        """
        self._move(State.BEGIN, State.NAMED)
        self._first = _read_first(message)
        return self._first.name

    def challenge(self, keys: ScramKeys) -> bytes:
        """Take the keys of that name, or those of nobody. Returns: server-first."""
        self._move(State.NAMED, State.PROOF)
        self._keys = keys
        salt = binascii.b2a_base64(keys.salt, newline=False)
        nonce = self._first.nonce + self._nonce
        self._server_first = b"r=%b,s=%b,i=%d" % (nonce, salt, keys.iterations)
        return self._server_first

    def finish(self, message: bytes) -> bytes | None:
        """Take client-final. Returns: server-final, None: the proof is not that of the password.

        Raises: SaslError: it is no client-final of this login.
        """
        self._move(State.PROOF, State.DONE)
        keys = self._keys
        if keys is None:
            raise SaslError("no keys")
        without_proof, proof = self._read_final(message)
        signed = b",".join((self._first.bare, self._server_first, without_proof))
        signature = hmac.digest(keys.stored_key, signed, HASH)
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        if not hmac.compare_digest(hashlib.sha256(client_key).digest(), keys.stored_key):
            return None
        ours = hmac.digest(keys.server_key, signed, HASH)
        return b"v=" + binascii.b2a_base64(ours, newline=False)

    def _move(self, wanted: State, new: State) -> None:
        if self._state is not wanted:
            raise SaslError("a message out of order")
        self._state = new

    def _read_final(self, message: bytes) -> tuple[bytes, bytes]:
        """Return the message without its proof, and the proof. Raises: SaslError."""
        without_proof, comma, proof = message.rpartition(b",p=")
        fields = without_proof.split(b",")
        if not comma or len(fields) < 2:
            raise SaslError("not a client-final")
        binding = b"c=" + binascii.b2a_base64(self._first.header, newline=False)
        # RFC 5802 5.1: it repeats what the client said of channel binding; a change is an attack.
        if fields[0] != binding:
            raise SaslError("the channel binding differs from the one announced")
        if not hmac.compare_digest(fields[1], b"r=" + self._first.nonce + self._nonce):
            raise SaslError("not the nonce of this login")
        _check_extensions(fields[2:])
        return without_proof, _read_proof(proof)


def _read_first(message: bytes) -> _First:
    """Parse client-first (RFC 5802 7). Raises: SaslError."""
    flag, acts_as, bare = _split(message, 3)
    # `y`: the client could bind and thinks we can't, which is so. `p=`: it insists.
    if flag not in (b"n", b"y"):
        raise SaslError("channel binding is not offered")
    fields = bare.split(b",")
    if len(fields) < 2 or not fields[0].startswith(b"n=") or not fields[1].startswith(b"r="):
        raise SaslError("not a client-first")
    _check_extensions(fields[2:])
    nonce = fields[1][2:]
    if not nonce or len(nonce) > NONCE_BYTES_MAX or not _NONCE.issuperset(nonce):
        raise SaslError("the nonce is not what a nonce can be")
    name = prepared_name(_read_name(fields[0][2:]))
    if acts_as:
        if not acts_as.startswith(b"a="):
            raise SaslError("not a client-first")
        check_acts_as(_read_name(acts_as[2:]), name)
    return _First(b"%b,%b," % (flag, acts_as), bare, name, nonce)


def _split(message: bytes, count: int) -> list[bytes]:
    parts = message.split(b",", count - 1)
    if len(parts) != count:
        raise SaslError("not a client-first")
    return parts


def _check_extensions(fields: list[bytes]) -> None:
    """Pass over extensions that are well formed (RFC 5802 7, attr-val). Raises: SaslError.

    `m=`, the mandatory one, comes first where it comes at all, so it is no client-first already.
    """
    for field in fields:
        if not field[:1].isalpha() or field[1:2] != b"=" or len(field) < 3 or b"\0" in field:
            raise SaslError("not an extension")
        if field[:1] == b"m":
            raise SaslError("an extension that is not known here")


def _read_name(text: bytes) -> bytes:
    """Decode a saslname: `=2C` is a comma, `=3D` an equals sign, nothing else follows an `=`."""
    parts = text.split(b"=")
    if any(part[:2] not in (b"2C", b"3D") for part in parts[1:]):
        raise SaslError("the name is not encoded as names are")
    return text.replace(b"=2C", b",").replace(b"=3D", b"=")


def _read_proof(text: bytes) -> bytes:
    try:
        proof = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise SaslError("the proof is not base64") from None
    if len(proof) != KEY_BYTES:
        raise SaslError("the proof has another length")
    return proof
