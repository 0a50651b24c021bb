"""One line of users/passwd: Dovecot's passwd-file format, so that Dovecot reads the same file.

    name:{SCHEME}secret:uid:gid:gecos:home:shell:extra fields

Only name and secret have to be there. Names are compared in lower case. What is not understood is
an error that says where: nobody is let in, or kept out, by a guess. Source: qmail-users(5).
"""

import re
from dataclasses import dataclass, field
from typing import Final

from qmail.protocol.password_door import ID_MAX, PATH_BYTES_MAX
from qmail.protocol.sasl import SaslError, prepared_name
from qmail.protocol.scram_keys import KeysError, ScramKeys, parse_keys

LINES: Final = "users/passwd"
LINE_BYTES_MAX: Final = 16384
MAILDIR: Final = b"Maildir"
"""Where mail is, below the home, if the line does not say otherwise."""
SCRAM: Final = b"SCRAM-SHA-256"
CRYPT_SCHEMES: Final = (b"CRYPT", b"SHA256-CRYPT", b"SHA512-CRYPT", b"BLF-CRYPT")
CRYPT_PREFIXES: Final = (b"$y$", b"$gy$", b"$7$", b"$6$", b"$5$", b"$2b$", b"$2y$", b"$2a$")
"""What crypt(5) still calls strong; of older ones the password can be found from the hash."""
LOCKED: Final = (b"!", b"*")
FIELDS: Final = ("name", "password", "uid", "gid", "gecos", "home", "shell", "extra fields")
RESTRICTING: Final = (b"nologin", b"nopassword", b"proxy", b"proxy_maybe", b"allow_nets")
"""Extra fields by which Dovecot would keep somebody out, or let somebody in: not done here."""
_VARIABLE: Final = re.compile(rb"%(.?)", re.DOTALL)


class PasswdLineError(ValueError):
    """A line that can't be used; the text names line, field and what is wrong."""

    def __init__(self, number: int, at: int, wrong: str) -> None:
        super().__init__(f"{LINES}:{number}: field {at + 1} ({FIELDS[at]}): {wrong}")
        self.number = number


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswdEntry:
    """What a line says. Without `uid` the system account of that name decides, and its home."""

    name: bytes
    keys: ScramKeys | None = None
    crypted: bytes = field(default=b"", repr=False)
    """A crypt(3) hash. Neither this nor keys: nobody logs in."""
    uid: int | None = None
    gid: int | None = None
    home: bytes = b""
    mail: bytes = b""
    """As in the line: `maildir:~/Maildir`; empty: not said."""

    @property
    def scheme(self) -> str:
        """What the secret is, for people."""
        if self.keys is not None:
            return SCRAM.decode()
        return "CRYPT" if self.crypted else "locked"


def parse_passwd_line(line: bytes, number: int) -> PasswdEntry:
    """Parse a line that is no comment; `number` is for messages.

    Raises: PasswdLineError: it can't be used.
    """
    if len(line) > LINE_BYTES_MAX:
        raise PasswdLineError(number, 0, f"the line is longer than {LINE_BYTES_MAX} bytes")
    if b"\0" in line:
        raise PasswdLineError(number, 0, "a NUL byte in the line")
    fields = line.split(b":", len(FIELDS) - 1)
    if len(fields) < 2:
        raise PasswdLineError(number, 1, "missing: write NAME:{SCHEME}SECRET")
    fields += [b""] * (len(FIELDS) - len(fields))
    try:
        name = prepared_name(fields[0])
    except SaslError as wrong:
        raise PasswdLineError(number, 0, str(wrong)) from None
    keys, crypted = _secret(fields[1], number)
    uid, gid = _id(fields[2], 2, number), _id(fields[3], 3, number)
    home = fields[5]
    _check_owner(uid, gid, home, number)
    mail = _mail(fields[7], number)
    maildir_below(mail, name, home, number)
    return PasswdEntry(
        name=name, keys=keys, crypted=crypted, uid=uid, gid=gid, home=home, mail=mail
    )


def _secret(text: bytes, number: int) -> tuple[ScramKeys | None, bytes]:
    scheme, secret = b"CRYPT", text
    if text.startswith(b"{"):
        scheme, brace, secret = text[1:].partition(b"}")
        if not brace:
            raise PasswdLineError(number, 1, "no } after the scheme")
    if not secret or secret.startswith(LOCKED):
        return None, b""
    scheme = scheme.upper()
    if scheme == SCRAM:
        try:
            return parse_keys(secret), b""
        except KeysError as wrong:
            raise PasswdLineError(number, 1, str(wrong)) from None
    if scheme not in CRYPT_SCHEMES:
        known = ", ".join(word.decode() for word in (SCRAM, *CRYPT_SCHEMES))
        shown = scheme[:40].decode("ascii", "replace")
        raise PasswdLineError(number, 1, f"the scheme {shown} is none of: {known}")
    if not secret.startswith(CRYPT_PREFIXES):
        known = " ".join(word.decode() for word in CRYPT_PREFIXES)
        raise PasswdLineError(number, 1, f"the hash is too weak: it begins with none of {known}")
    return None, secret


def _id(text: bytes, at: int, number: int) -> int | None:
    if not text:
        return None
    if not text.isdigit() or len(text) > 10 or int(text) > ID_MAX:
        raise PasswdLineError(number, at, "not a number that a user or group can have")
    return int(text)


def _check_owner(uid: int | None, gid: int | None, home: bytes, number: int) -> None:
    if uid == 0:
        raise PasswdLineError(number, 2, "root has no mailbox: take another user")
    if uid is None and gid is not None:
        raise PasswdLineError(number, 2, "missing, and there is a gid")
    if uid is not None and gid is None:
        raise PasswdLineError(number, 3, "missing, and there is a uid")
    if uid is not None and not home:
        raise PasswdLineError(number, 5, "missing, and there is a uid")
    if home and not home.startswith(b"/"):
        raise PasswdLineError(number, 5, "it must begin with a slash")
    if len(home) > PATH_BYTES_MAX:
        raise PasswdLineError(number, 5, "too long for a path")


def _mail(extra: bytes, number: int) -> bytes:
    """Return the extra field `mail` or `userdb_mail`, "" where there is none."""
    found = b""
    for word in extra.split():
        key, _, value = word.partition(b"=")
        if key.removeprefix(b"userdb_") in RESTRICTING:
            shown = key.decode("ascii", "replace")
            raise PasswdLineError(number, 7, f"{shown} is not done here: remove it, or the line")
        if key.removeprefix(b"userdb_") == b"mail":
            found = value
    return found


def maildir_below(mail: bytes, name: bytes, home: bytes, number: int) -> bytes:
    """Return the path of the maildir that the extra field `mail` means, relative to the home.

    Understood is `maildir:PATH`, or a path alone, with `~/` in front for the home, and Dovecot's
    %u, %n, %d, %h and %%; options after the path are for Dovecot.

    Raises: PasswdLineError: it is something else.
    """
    if not mail:
        return MAILDIR
    kind, colon, path = mail.partition(b":")
    if not colon:
        path = mail
    elif kind.lower() != b"maildir":
        shown = kind[:20].decode("ascii", "replace")
        raise PasswdLineError(number, 7, f"mail is kept as {shown}, and must be a maildir")
    user, _, domain = name.partition(b"@")
    letters = {b"%": b"%", b"u": name, b"n": user, b"d": domain, b"h": home}

    def filled(match: re.Match[bytes]) -> bytes:
        if match[1] not in letters:
            shown = match[0].decode("ascii", "replace")
            raise PasswdLineError(number, 7, f"{shown} is not known: write the path")
        return letters[match[1]]

    found = _VARIABLE.sub(filled, _without_tilde(path.partition(b":")[0]))
    if not found or len(found) > PATH_BYTES_MAX or b".." in found.split(b"/"):
        raise PasswdLineError(number, 7, "mail has no path that can be used")
    return found


def _without_tilde(path: bytes) -> bytes:
    if path == b"~":
        return b"."
    return path.removeprefix(b"~/")
