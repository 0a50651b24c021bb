"""Whether a password opens a mailbox, and whose: users/passwd, then the system's accounts.

Whatever is wrong with a name or password gives the same answer after the same work, so that nobody
learns which names there are. Trouble of ours is temporary. Source: spec/smtp.md E.2.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from qmail.core.login.passwd_file import PasswdFile
from qmail.core.login.passwd_line import MAILDIR, PasswdEntry, PasswdLineError, maildir_below
from qmail.protocol.local_door import Owner
from qmail.protocol.login_door import Refusal
from qmail.protocol.netstring import FrameError
from qmail.protocol.password_door import Mailbox
from qmail.protocol.sasl import Credentials
from qmail.protocol.saslprep import password_forms
from qmail.protocol.scram_keys import ScramKeys, is_password_of, unknown_keys
from qmail.protocol.shadow import NO_SHADOW, Shadow

Verdict = Mailbox | Refusal
DAY_S: Final = 86400


class Tools(Protocol):
    """What the machine is asked."""

    def hashed(self, password: bytes, setting: bytes) -> bytes | None:
        """Hash a password as crypt(3) does by a setting, or a whole hash; None: unknown form."""
        ...

    def account(self, name: bytes) -> Owner | None:
        """Return an account; None: there is none. Raises: OSError: there is no telling now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Household:
    """What a home says about logins."""

    sole: tuple[int, int, bytes] | None
    """Uid, gid and home of the one account that everything belongs to; None: separate accounts."""
    secret: bytes
    """What the answers about names that nobody has are made of."""


class PasswordCheck:
    """The lines of users/passwd, asked about names and passwords; `say` gets our own trouble."""

    def __init__(
        self, file: PasswdFile, tools: Tools, household: Household, say: Callable[[str], None]
    ) -> None:
        self._file = file
        self._tools = tools
        self._household = household
        self._say = say

    def check(self, credentials: Credentials) -> Verdict | None:
        """Say whose mailbox the password opens; None: users/passwd does not know the name."""
        try:
            entry = self._file.look(credentials.name)
        except (PasswdLineError, OSError) as trouble:
            self._say(str(trouble))
            return Refusal.TEMPORARY
        if entry is None:
            return None
        if not self._fits(entry, credentials.password):
            return Refusal.AUTH
        return self.mailbox(entry)

    def _fits(self, entry: PasswdEntry, password: bytes) -> bool:
        forms = password_forms(password)
        if entry.crypted:
            return any(is_crypted(self._tools, form, entry.crypted) for form in forms)
        keys = entry.keys or self.keys_of_nobody(entry.name)
        return any(is_password_of(keys, form) for form in forms) and entry.keys is not None

    def waste(self, credentials: Credentials) -> None:
        """Take the time that a password of a known name takes."""
        keys = self.keys_of_nobody(credentials.name)
        for form in password_forms(credentials.password):
            is_password_of(keys, form)

    def keys(self, name: bytes) -> tuple[ScramKeys, PasswdEntry | None] | Refusal:
        """Return the keys of a name for SCRAM, and its entry; keys of nobody where it has none."""
        try:
            entry = self._file.look(name)
        except (PasswdLineError, OSError) as trouble:
            self._say(str(trouble))
            return Refusal.TEMPORARY
        if entry is None or entry.keys is None:
            return self.keys_of_nobody(name), None
        return entry.keys, entry

    def keys_of_nobody(self, name: bytes) -> ScramKeys:
        """Return keys that no password fits, the same each time for a name."""
        return unknown_keys(self._household.secret, name, self._file.usual_iterations)

    def mailbox(self, entry: PasswdEntry) -> Verdict:
        """Return the mailbox of an entry whose password was right."""
        owner = self._owner(entry)
        if isinstance(owner, Refusal):
            return owner
        try:
            home = entry.home or owner.home
            maildir = maildir_below(entry.mail, entry.name, home, 0) if entry.mail else MAILDIR
            return Mailbox(
                login=entry.name,
                user=owner.user,
                uid=owner.uid,
                gid=owner.gid,
                home=home,
                maildir=maildir,
            )
        except (FrameError, PasswdLineError) as wrong:
            self._say(f"users/passwd: {shown(entry.name)}: {wrong}")
            return Refusal.TEMPORARY

    def _owner(self, entry: PasswdEntry) -> Owner | Refusal:
        sole = self._household.sole
        if entry.uid is not None and entry.gid is not None:
            return Owner(entry.name, entry.uid, entry.gid, entry.home, b"", b"")
        if sole is not None:
            return Owner(entry.name, *sole, b"", b"")
        try:
            account = self._tools.account(entry.name)
        except OSError as trouble:
            self._say(f"the list of accounts: {trouble.strerror}")
            return Refusal.TEMPORARY
        if account is None:
            self._say(f"users/passwd: {shown(entry.name)} has no uid, and there is no such account")
            return Refusal.TEMPORARY
        return account


def shown(name: bytes) -> str:
    """Return a name for the log: one line of plain characters."""
    return "".join(chr(byte) if 33 <= byte < 127 else "?" for byte in name[:100])


def is_crypted(tools: Tools, password: bytes, crypted: bytes) -> bool:
    """Say whether crypt(3) makes `crypted` of the password."""
    made = tools.hashed(password, crypted)
    return made is not None and hmac.compare_digest(made, crypted)


# --- accounts of the system -----------------------------------------------------------------------


class SystemTools(Tools, Protocol):
    """What the machine is asked about its own accounts: by root."""

    def shadow(self, name: bytes) -> Shadow | None:
        """Return an account's record; None: it has none. Raises: OSError: no telling now."""
        ...

    def usual_setting(self) -> bytes:
        """Return a setting for crypt(3) that takes as long as those of real accounts."""
        ...


def check_system(credentials: Credentials, tools: SystemTools, now_s: int) -> Verdict:
    """Say whose mailbox a password of the system opens. `now_s`: seconds since 1970."""
    try:
        account = tools.account(credentials.name)
        shadow = tools.shadow(credentials.name) if account is not None else None
    except OSError:
        return Refusal.TEMPORARY
    record = shadow or NO_SHADOW
    is_usable = account is not None and record.is_usable(now_s // DAY_S)
    # The hash is made in any case: how long it takes tells nothing about the name.
    crypted = record.crypted if is_usable else tools.usual_setting()
    fits = is_crypted(tools, credentials.password, crypted)
    if account is None or not is_usable or not fits or account.uid == 0:
        return Refusal.AUTH
    try:
        return Mailbox(
            login=credentials.name,
            user=account.user,
            uid=account.uid,
            gid=account.gid,
            home=account.home,
            maildir=MAILDIR,
        )
    except FrameError:
        return Refusal.AUTH
