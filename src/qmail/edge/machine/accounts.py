"""The accounts of the suite, and how a program becomes one of them (spec/programs.md 0)."""

import grp
import os
import pwd
from dataclasses import dataclass
from typing import Final

from qmail.edge.machine.home import home_folder

__all__ = [
    "ACCOUNT_GROUPS",
    "GROUPS",
    "Account",
    "Accounts",
    "MissingAccountError",
    "accounts_of",
    "become",
    "home_folder",
    "one_account",
    "separate_accounts",
]

ACCOUNT_GROUPS: Final = {
    "alias": "nofiles",
    "qmaild": "nofiles",
    "qmaill": "nofiles",
    "qmailp": "nofiles",
    "qmailq": "qmail",
    "qmailr": "qmail",
    "qmails": "qmail",
}
GROUPS: Final = ("qmail", "nofiles")


class MissingAccountError(LookupError):
    """A home with separate accounts on a machine that lacks one of them."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who a program runs as."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Accounts:
    """Who is who in one home. Without separation every name means the one account."""

    separate: bool
    by_name: dict[str, Account]

    @property
    def sole(self) -> tuple[int, int] | None:
        """User and group of the one account; None where they are separate."""
        if self.separate:
            return None
        return self["alias"].uid, self["alias"].gid

    @property
    def without_mailbox(self) -> frozenset[int]:
        """Users who have no mailbox, whatever anybody says: the suite's own, but for alias."""
        if not self.separate:
            return frozenset()
        return frozenset(self[name].uid for name in ACCOUNT_GROUPS if name != "alias")

    def __getitem__(self, name: str) -> Account:
        """Return the account called `name`, one of ACCOUNT_GROUPS."""
        return self.by_name[name]


def accounts_of(home: str) -> Accounts:
    """Read from the owner of the queue who runs this home.

    Owned by qmailq: the separate accounts. Owned by anybody else: that one account for everything.

    Raises: OSError: no home or no queue there. MissingAccountError: an account is missing.
    """
    owner = os.stat(f"{home}/queue")
    try:
        separate = pwd.getpwnam("qmailq").pw_uid == owner.st_uid
    except KeyError:
        separate = False
    if separate:
        return separate_accounts()
    if owner.st_uid == 0:
        raise MissingAccountError(f"{home}/queue belongs to root: run 'qmail init'")
    return one_account(owner.st_uid, owner.st_gid)


def separate_accounts() -> Accounts:
    """Look all accounts up.

    Raises: MissingAccountError: one is missing, or has the wrong group.
    """
    found = {}
    for name, group in ACCOUNT_GROUPS.items():
        try:
            found[name] = Account(name, pwd.getpwnam(name).pw_uid, grp.getgrnam(group).gr_gid)
        except KeyError as missing:
            raise MissingAccountError(
                f"unable to find user {name} or group {group}: run 'qmail init' as root"
            ) from missing
    return Accounts(separate=True, by_name=found)


def one_account(uid: int, gid: int) -> Accounts:
    """Return accounts that all are the one of `uid`."""
    return Accounts(False, {name: Account(name, uid, gid) for name in ACCOUNT_GROUPS})


def become(uid: int, gid: int) -> None:
    """Give up root for good: group list, group, user, in this order; then see that it is so.

    Does nothing when this process is that user already and not root.
    Raises: OSError: not allowed. PermissionError: asked to become root, or still somebody else.
    """
    if uid == 0:
        raise PermissionError(1, "refusing to run as root")
    if os.geteuid() == uid and os.getuid() == uid:
        return
    os.setgroups([gid])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    is_so = os.getresuid() == (uid,) * 3 and os.getresgid() == (gid,) * 3
    if not is_so or os.getgroups() not in ([gid], []):
        raise PermissionError(1, "the change of account did not take place")
