"""SASL on the server's side: what the mechanisms have in common, and PLAIN (RFC 4422, RFC 4616).

A mechanism here is bytes in, values out. Who looks the name up stands outside, so that nothing
waits in here, and so that every mechanism can be used by POP3 and SMTP alike.
"""

from dataclasses import dataclass, field
from typing import Final

from qmail.protocol.saslprep import PreparationError, saslprep

NAME_BYTES_MAX: Final = 1020
"""RFC 4616 2: names and passwords of up to 255 characters, each up to 4 bytes."""


class SaslError(ValueError):
    """The client's message breaks the rules of the mechanism: the login fails."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and the password that came with it."""

    name: bytes
    """Prepared, as names are kept."""
    password: bytes = field(repr=False)
    """As it came."""
    typed: bytes
    """The name as it came, for programs with rules of their own."""


def prepared_name(raw: bytes) -> bytes:
    """Return a login name in the form that names are kept in: prepared, and in lower case.

    Dovecot compares names in lower case too (its `auth_username_format`).

    Raises: SaslError: empty, too long, not UTF-8, or with characters that no name has.
    """
    if len(raw) > NAME_BYTES_MAX:
        raise SaslError("the name is too long")
    try:
        name = saslprep(raw.decode()).lower()
    except (UnicodeDecodeError, PreparationError):
        raise SaslError("the name is not what a name can be") from None
    if not name or any(char in name for char in "\0\n\r:"):
        raise SaslError("the name is not what a name can be")
    return name.encode()


def read_credentials(name: bytes, password: bytes) -> Credentials:
    """Return the credentials of USER and PASS.

    Raises: SaslError: they can't be those of anybody.
    """
    if not password or b"\0" in password or len(password) > NAME_BYTES_MAX:
        raise SaslError("the password is not what a password can be")
    return Credentials(prepared_name(name), password, name)


def read_plain(message: bytes) -> Credentials:
    """Return what the one message of PLAIN says: `[authzid] NUL authcid NUL passwd`.

    Nobody acts for somebody else here: an authzid must be the authcid.

    Raises: SaslError: it is no such message.
    Source: RFC 4616 2.
    """
    parts = message.split(b"\0")
    if len(parts) != 3:
        raise SaslError("not a message of PLAIN")
    acts_as, name, password = parts
    found = read_credentials(name, password)
    check_acts_as(acts_as, found.name)
    return found


def check_acts_as(acts_as: bytes, name: bytes) -> None:
    """Accept an authorization identity that is empty or `name` itself (RFC 4422 3.4.1).

    Raises: SaslError: it is somebody else.
    """
    if acts_as and prepared_name(acts_as) != name:
        raise SaslError("nobody can log in for somebody else")
