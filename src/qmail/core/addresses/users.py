"""Who controls a local address: the rules of qmail-getpw (spec/delivery.md 2).

users/cdb, where there is one, is asked before these rules (`core.addresses.owners`).
"""

from dataclasses import replace
from typing import Final, Protocol

from qmail.protocol.local_door import Answer, Owner
from qmail.protocol.local_exits import LocalExit

BREAK: Final = b"-"
"""What ends the user's name in an address, where control/break does not say otherwise."""
DASH: Final = b"-"
"""The dash field of whoever has extensions, whatever the break character is."""
NAME_BYTES_MAX: Final = 31
ALIAS: Final = b"alias"
PERSON_UID_MIN: Final = 1000
NOBODY_UID: Final = 65534


class LookupTroubleError(Exception):
    """No answer now; `code` is how qmail-getpw ends."""

    def __init__(self, code: LocalExit) -> None:
        super().__init__(code.name)
        self.code = code


class Directory(Protocol):
    """The seam for accounts and the owners of their homes."""

    def account(self, name: bytes) -> Owner | None:
        """Look `name` up; dash and ext are empty. Raises OSError: the list can't be read now."""
        ...

    def folder_owner(self, path: bytes) -> int | None:
        """Return the uid that owns a folder, None: no such folder. Raises OSError: not now."""
        ...


def owner_of(
    local: bytes, directory: Directory, alias_home: bytes = b"", break_: bytes = BREAK
) -> Owner:
    """Return who controls the local part `local`; `alias_home`: in place of alias's own home.

    `break_` is one byte, or none: then there are no extensions.
    Raises: LookupTroubleError: there is no saying now, or no account alias.
    """
    for length in _candidate_lengths(local, break_):
        name = local[:length].lower()
        account = _account(directory, name)
        if account is not None and name == ALIAS and alias_home:
            account = replace(account, home=alias_home)
        if account is not None and _is_user(account, directory):
            ext = local[length + 1 :]
            dash = DASH if length < len(local) else b""
            return Owner(name, account.uid, account.gid, account.home, dash, ext)
    alias = _account(directory, ALIAS)
    if alias is None:
        raise LookupTroubleError(LocalExit.NO_ALIAS)
    return Owner(ALIAS, alias.uid, alias.gid, alias_home or alias.home, DASH, local)


def answer_for(
    local: bytes, directory: Directory, alias_home: bytes = b"", break_: bytes = BREAK
) -> Answer:
    """Return what `owner_of` finds, or the exit code that says why there is no saying."""
    try:
        return Answer(local, 0, owner_of(local, directory, alias_home, break_))
    except LookupTroubleError as trouble:
        return Answer(local, trouble.code)


def sole_owner(local: bytes, uid: int, gid: int, alias_home: bytes) -> Owner:
    """Return who controls `local` where one account runs everything: alias, with a home of its own.

    The list of accounts is not asked, so that nothing lands in the mailbox of whoever tries it;
    users/cdb may say otherwise.
    """
    return Owner(ALIAS, uid, gid, alias_home, DASH, local)


def _candidate_lengths(local: bytes, break_: bytes) -> list[int]:
    """Return where the possible user names end: the whole, then before each break, longest first.

    Longer names than 31 bytes are nobody's; bytes that end a field would fool the look-up.
    """
    lengths = [len(local)] if len(local) <= NAME_BYTES_MAX else []
    end = local.rfind(break_, 0, NAME_BYTES_MAX + 1) if break_ else -1
    while end > 0:
        lengths.append(end)
        end = local.rfind(break_, 0, end)
    return [length for length in lengths if length and not set(local[:length]) & {0, 10, 47, 58}]


def _account(directory: Directory, name: bytes) -> Owner | None:
    try:
        return directory.account(name)
    except OSError as trouble:
        raise LookupTroubleError(LocalExit.SYSTEM) from trouble


def _is_user(account: Owner, directory: Directory) -> bool:
    """Say whether `account` gets mail: not root, and its home is its own.

    The home of a person that is not there, or is root's, may be a disk that is not mounted: the
    mail waits. Accounts of the system often have none: those are not users.
    """
    if account.uid == 0 or not account.home.startswith(b"/"):
        return False
    try:
        owner = directory.folder_owner(account.home)
    except OSError as trouble:
        raise LookupTroubleError(LocalExit.HOME_TROUBLE) from trouble
    if owner in (None, 0) and PERSON_UID_MIN <= account.uid < NOBODY_UID:
        raise LookupTroubleError(LocalExit.HOME_TROUBLE)
    return owner == account.uid
