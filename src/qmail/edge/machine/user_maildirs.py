"""~/Maildir for the people of this machine, made as each of them and never as root."""

import os
import pwd
from collections.abc import Callable, Iterable
from typing import Final

from qmail.edge.machine.accounts import become

UID_MIN: Final = 1000
UID_MAX: Final = 59999
"""Where Debian's adduser puts people; daemons are below, nobody and its like above."""
NO_LOGIN: Final = ("nologin", "false", "sync")
PARTS: Final = ("tmp", "new", "cur")

_MADE: Final = 0
_THERE: Final = 1


def people(accounts: Iterable[pwd.struct_passwd]) -> list[pwd.struct_passwd]:
    """Return those who get mail at home: they can log in, and their home is theirs."""
    return [
        account
        for account in accounts
        if UID_MIN <= account.pw_uid <= UID_MAX
        and os.path.basename(account.pw_shell) not in NO_LOGIN
        and _owns_home(account)
    ]


def _owns_home(account: pwd.struct_passwd) -> bool:
    try:
        return os.stat(account.pw_dir).st_uid == account.pw_uid
    except OSError:
        return False


def make_user_maildirs(say: Callable[[str], None]) -> None:
    """Make what is missing of every ~/Maildir; tell `say` of each one made, and of trouble."""
    for account in people(pwd.getpwall()):
        pid = os.fork()
        if pid == 0:
            _make_as(account)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code == _MADE:
            say(f"made {account.pw_dir}/Maildir")
        elif code != _THERE:
            say(f"note: {account.pw_dir}/Maildir could not be made as {account.pw_name}")


def _make_as(account: pwd.struct_passwd) -> None:
    code = 2
    try:
        become(account.pw_uid, account.pw_gid)
        os.umask(0o077)
        os.chdir(account.pw_dir)
        code = _MADE if make_maildir("Maildir") else _THERE
    finally:
        os._exit(code)


def make_maildir(folder: str) -> bool:
    """Make what is missing of a maildir. Returns: whether anything was. Raises: OSError."""
    has_made = False
    for path in (folder, *(f"{folder}/{part}" for part in PARTS)):
        try:
            os.mkdir(path, 0o700)
            has_made = True
        except FileExistsError:
            continue
    return has_made
