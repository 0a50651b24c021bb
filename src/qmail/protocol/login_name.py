"""The name in a login, for the log and for counting failures: never to decide who somebody is.

Whoever checks the password reads the name with all rules of its mechanism; this one takes what it
finds, so that the name of a malformed login can be told as well.
"""

from typing import Final

from qmail.protocol.sasl import SaslError, prepared_name

SHOWN_BYTES_MAX: Final = 255


def login_name(mechanism: bytes, identity: bytes) -> bytes:
    """Return the name that a client gives, in the form in which names are kept where it has one.

    `identity`: the name itself, or for PLAIN and SCRAM the first message (RFC 4616 2, RFC 5802 7).
    """
    name = identity
    if mechanism == b"PLAIN":
        # authzid NUL authcid NUL password: nothing of the last must get into a log.
        fields = identity.split(b"\0")
        name = fields[1] if len(fields) == 3 else b""
    elif mechanism.startswith(b"SCRAM-"):
        _, _, after = identity.partition(b"n=")
        name = after.partition(b",")[0].replace(b"=2C", b",").replace(b"=3D", b"=")
    try:
        return prepared_name(name)[:SHOWN_BYTES_MAX]
    except SaslError:
        return name[:SHOWN_BYTES_MAX]
