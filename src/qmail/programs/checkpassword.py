"""qmail-checkpassword PROG [ARG ...]: the checkpassword interface over users/passwd and the system.

Reads a name and a password on descriptor 3, becomes the owner of the mailbox, and runs PROG in the
home. So qmail-popup of any origin can use the passwords that qmail-pspawn uses, under tcpserver.
Source: spec/smtp.md E.2.
"""

import os
import pwd
import signal
import sys
import time
from collections.abc import Sequence
from typing import Final

from qmail.core.login.passwd_file import PasswdFile
from qmail.core.login.password_check import PasswordCheck, Verdict, check_system
from qmail.core.login.secret import household
from qmail.edge.log.lines import complain
from qmail.edge.machine.accounts import (
    Accounts,
    MissingAccountError,
    accounts_of,
    become,
    home_folder,
)
from qmail.edge.machine.system_passwords import SystemPasswords
from qmail.edge.machine.wipe import leave_no_dump
from qmail.protocol.checkpassword import INPUT_BYTES_MAX, InputError, TooLongError, read_input
from qmail.protocol.exits import Exit
from qmail.protocol.login_door import Refusal
from qmail.protocol.options import asks_for_help
from qmail.protocol.password_door import Mailbox
from qmail.protocol.sasl import Credentials, SaslError, read_credentials

NAME: Final = "qmail-checkpassword"
USAGE: Final = f"{NAME}: usage: {NAME} program [argument ...]"
INPUT_FD: Final = 3
REFUSED: Final = 1
MISUSED: Final = 2
REFUSAL_EVERY_S: Final = 0.5
"""A refusal comes at a multiple of this time after the start: what took how long is not seen."""
SHELL: Final = "/bin/sh"


def main(argv: Sequence[str]) -> int:
    """Check and become PROG.

    Returns: 1 not acceptable, 2 misused, 111 temporary trouble; it does not return where PROG runs.
    """
    if asks_for_help(argv):
        print(USAGE, file=sys.stderr)
        return Exit.PERMANENT
    if not argv:
        complain(NAME, USAGE.partition(": ")[2])
        return MISUSED
    started = time.monotonic()
    leave_no_dump()
    try:
        data = read_descriptor()
        name, password = read_input(data)
    except TooLongError:
        return REFUSED
    except (InputError, OSError) as wrong:
        complain(NAME, f"descriptor 3: {getattr(wrong, 'strerror', None) or wrong}")
        return MISUSED
    verdict = _verdict(name, password)
    if verdict is Refusal.AUTH:
        spent = time.monotonic() - started
        time.sleep(REFUSAL_EVERY_S - spent % REFUSAL_EVERY_S)
        return REFUSED
    if isinstance(verdict, Refusal):
        return Exit.TEMPORARY
    return run_as(verdict, argv)


def read_descriptor() -> bytes:
    """Read descriptor 3 to its end, one byte more than is allowed at most; close it.

    Raises: OSError: it is not open.
    """
    data = b""
    while len(data) <= INPUT_BYTES_MAX:
        part = os.read(INPUT_FD, INPUT_BYTES_MAX + 1 - len(data))
        if not part:
            break
        data += part
    os.close(INPUT_FD)
    return data


def _verdict(name: bytes, password: bytes) -> Verdict:
    try:
        credentials = read_credentials(name, password)
    except SaslError:
        return Refusal.AUTH
    try:
        home = home_folder()
        return check(home, accounts_of(home), credentials)
    except (MissingAccountError, OSError) as trouble:
        complain(NAME, str(trouble))
        return Refusal.TEMPORARY


def check(home: str, accounts: Accounts, credentials: Credentials) -> Verdict:
    """Say whose mailbox the credentials open: users/passwd, then the system's accounts."""
    passwords = SystemPasswords()
    checks = PasswordCheck(
        PasswdFile(home),
        passwords,
        household(home, accounts.sole),
        lambda text: complain(NAME, text),
    )
    verdict = checks.check(credentials)
    if verdict is None and accounts.separate:
        verdict = check_system(credentials, passwords, int(time.time()))
    if verdict is None:
        checks.waste(credentials)
        return Refusal.AUTH
    if isinstance(verdict, Mailbox) and verdict.uid in accounts.without_mailbox:
        complain(NAME, f"uid {verdict.uid} can't have a mailbox")
        return Refusal.TEMPORARY
    return verdict


def run_as(mailbox: Mailbox, argv: Sequence[str]) -> int:
    """Become the owner and run PROG in the home. Returns: 111 where that can't be done."""
    try:
        become(mailbox.uid, mailbox.gid)
        os.chdir(mailbox.home)
    except OSError as trouble:
        complain(NAME, f"{os.fsdecode(mailbox.home)}: {trouble.strerror}")
        return Exit.TEMPORARY
    environ = dict(
        os.environ,
        USER=os.fsdecode(mailbox.user),
        HOME=os.fsdecode(mailbox.home),
        SHELL=shell_of(os.fsdecode(mailbox.user)),
        MAILDIR=os.fsdecode(mailbox.maildir),
    )
    # Python ignores it, which is no good for programs that were not told.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvpe(argv[0], list(argv), environ)
    except OSError as trouble:
        complain(NAME, f"{argv[0]}: {trouble.strerror}")
        return Exit.TEMPORARY


def shell_of(user: str) -> str:
    """Return the shell of an account; of a virtual one, which has none, that of all."""
    try:
        return pwd.getpwnam(user).pw_shell or SHELL
    except KeyError:
        return SHELL
