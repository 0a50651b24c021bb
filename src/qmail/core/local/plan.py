"""Before anything is delivered: is the home fit, which `.qmail` governs, what does it say.

Runs under the recipient's uid: nothing here is read by root. Source: spec/delivery.md 3 and 4.
"""

import errno
import os
import stat
from dataclasses import dataclass

from qmail.core.local.dotqmail import Instruction, candidates, owner_files, parse
from qmail.core.local.environment import SENDERS_KEPT
from qmail.core.local.home_files import PATRN, DotqmailFiles, StoppedError, put_off, reason_of
from qmail.protocol.exits import Exit
from qmail.protocol.local_door import Target


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with a message for one target.

    `default`: the environment's DEFAULT. `name`: the file that says so, b"" for none.
    """

    instructions: tuple[Instruction, ...]
    default: bytes | None
    name: bytes = b""


def enter_home(path: bytes, *, patrn: int = PATRN, sticky_is_fine: bool = False) -> int:
    """Make the home the working folder, as `open_home` opens it."""
    fd = open_home(path, patrn=patrn, sticky_is_fine=sticky_is_fine)
    try:
        os.fchdir(fd)
    except OSError as trouble:
        os.close(fd)
        raise _not_entered(path, reason_of(trouble)) from None
    return fd


def open_home(path: bytes, *, patrn: int = PATRN, sticky_is_fine: bool = False) -> int:
    """Open the home folder and check that it may get mail; return a descriptor to reach files by.

    `patrn`: mode bits that it may not have. `sticky_is_fine`: for a dry run.
    Raises: StoppedError: it is missing, others may write to it, or its owner is editing `.qmail`.
    """
    try:
        # O_PATH asks for no more than chdir does.
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        mode = os.fstat(fd).st_mode
    except (OSError, ValueError) as trouble:
        reason = reason_of(trouble) if isinstance(trouble, OSError) else b"bad name"
        raise _not_entered(path, reason) from None
    wrong = wrong_with_mode(mode, patrn, sticky_is_fine=sticky_is_fine)
    if wrong:
        os.close(fd)
        raise put_off(wrong)
    return fd


def is_sticky(home: int) -> bool:
    """Say whether the owner of an open home is editing `.qmail` files. Raises: OSError."""
    return bool(os.fstat(home).st_mode & stat.S_ISVTX)


def _not_entered(path: bytes, reason: bytes) -> StoppedError:
    return put_off(b"Unable to switch to " + path + b": " + reason + b". (#4.3.0)\n")


def wrong_with_mode(mode: int, patrn: int, *, sticky_is_fine: bool) -> bytes:
    """Return why a home of this mode gets no mail now, b"" where it may."""
    if mode & patrn:
        return b"Others may write to the home folder. (#4.7.0)\n"
    if mode & stat.S_ISVTX and not sticky_is_fine:
        return b"The home folder is sticky: its owner is editing .qmail files. (#4.2.1)\n"
    return b""


def find_plan(files: DotqmailFiles, target: Target, default_delivery: bytes) -> Plan:
    """Find the `.qmail` file of `target` among those of its home, and read it.

    An empty file, and none for a bare user, mean the default delivery.
    Raises: StoppedError: no such mailbox, or the file can't be read or trusted now.
    """
    for candidate in candidates(target.dash, target.ext):
        found = files.read(candidate.name)
        if found is not None:
            if found.text:
                return Plan(found.instructions, candidate.default, candidate.name)
            return Plan(parse(default_delivery, forward_only=False), candidate.default)
    if target.dash:
        raise StoppedError(Exit.PERMANENT, b"There is no mailbox of this name here. (#5.1.1)\n")
    return Plan(parse(default_delivery, forward_only=False), None)


def find_owner_files(files: DotqmailFiles, target: Target, sender: bytes) -> tuple[bool, bool]:
    """Say whether the list files -owner and -owner-default of `target` exist.

    Mail of a sender that stays as it is needs no answer: then nothing is asked, and none is there.
    Raises: StoppedError: there is no telling now.
    """
    if sender in SENDERS_KEPT:
        return False, False
    owner, verp = owner_files(target.dash, target.ext)
    has_owner = files.exists(owner)
    return has_owner, has_owner and files.exists(verp)


def disk_trouble(what: bytes, trouble: OSError) -> bytes:
    """Return the text for a delivery to `what` that the disk refused."""
    code = {
        errno.ENOENT: b"#4.2.1",
        errno.ENOTDIR: b"#4.2.1",
        errno.EISDIR: b"#4.2.1",
        errno.EACCES: b"#4.2.1",
        errno.ENXIO: b"#4.2.1",
        errno.ELOOP: b"#4.2.1",
        errno.ENAMETOOLONG: b"#4.2.1",
        errno.EROFS: b"#4.2.1",
        errno.EDQUOT: b"#4.2.2",
        errno.ENOSPC: b"#4.3.1",
    }.get(trouble.errno or 0, b"#4.3.0")
    return b"Unable to deliver to " + what + b": " + reason_of(trouble) + b". (" + code + b")\n"
