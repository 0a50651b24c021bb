"""Before anything is delivered: is the home fit, which `.qmail` governs, what does it say.

Runs under the recipient's uid: nothing here is read by root. Source: spec/delivery.md 3 and 4.
"""

import errno
import os
import stat
from dataclasses import dataclass
from typing import Final

from qmail.core.dotqmail import DOTQMAIL_BYTES_MAX, Instruction, candidates, owner_files, parse
from qmail.core.errnos import is_temporary
from qmail.protocol.exits import Exit
from qmail.protocol.local_door import Target

PATRN: Final = 0o002
"""Mode bits that neither a home nor a `.qmail` file may have."""


class StoppedError(Exception):
    """The delivery ends here: how qmail-local exits, and what it says (ending in LF)."""

    def __init__(self, code: Exit, text: bytes) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with a message for one target. `default`: the environment's DEFAULT."""

    instructions: tuple[Instruction, ...]
    default: bytes | None


def put_off(text: bytes) -> StoppedError:
    """Make the exception for a temporary failure."""
    return StoppedError(Exit.TEMPORARY, text)


def reason_of(trouble: OSError) -> bytes:
    """Return what the system says, for the end of a sentence."""
    return (trouble.strerror or "unknown error").lower().encode()


def open_home(path: bytes, *, sticky_is_fine: bool = False) -> int:
    """Open the home folder and check that it may get mail; return a descriptor to reach files by.

    `sticky_is_fine`: for a dry run.
    Raises: StoppedError: it is missing, others may write to it, or its owner is editing `.qmail`.
    """
    try:
        # O_PATH asks for no more than chdir does.
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        mode = os.fstat(fd).st_mode
    except (OSError, ValueError) as trouble:
        reason = reason_of(trouble) if isinstance(trouble, OSError) else b"bad name"
        raise put_off(b"Unable to switch to " + path + b": " + reason + b". (#4.3.0)\n") from None
    wrong = _wrong_with_mode(mode, sticky_is_fine=sticky_is_fine)
    if wrong:
        os.close(fd)
        raise put_off(wrong)
    return fd


def _wrong_with_mode(mode: int, *, sticky_is_fine: bool) -> bytes:
    if mode & PATRN:
        return b"Others may write to the home folder. (#4.7.0)\n"
    if mode & stat.S_ISVTX and not sticky_is_fine:
        return b"The home folder is sticky: its owner is editing .qmail files. (#4.2.1)\n"
    return b""


def find_plan(home: int, target: Target, default_delivery: bytes) -> Plan:
    """Find the `.qmail` file of `target` below the open folder `home`, and read it.

    An empty file, and none for a bare user, mean the default delivery.
    Raises: StoppedError: no such mailbox, or the file can't be read or trusted now.
    """
    for candidate in candidates(target.dash, target.ext):
        found = _read_dotqmail(home, candidate.name)
        if found is not None:
            text, forward_only = found
            if text:
                return Plan(parse(text, forward_only=forward_only), candidate.default)
            return Plan(parse(default_delivery, forward_only=False), candidate.default)
    if target.dash:
        raise StoppedError(Exit.PERMANENT, b"There is no mailbox of this name here. (#5.1.1)\n")
    return Plan(parse(default_delivery, forward_only=False), None)


def _read_dotqmail(home: int, name: bytes) -> tuple[bytes, bool] | None:
    """Return the text and the forward-only bit of a `.qmail` file, None where there is none."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=home)
    except OSError as trouble:
        if is_temporary(trouble) or trouble.errno in (errno.EPERM, errno.EACCES):
            raise put_off(_unreadable(name, trouble)) from None
        return None
    except ValueError:
        return None
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            return None
        if mode & PATRN:
            raise put_off(b"Others may write to " + name + b". (#4.7.0)\n")
        return _read_all(fd, name), bool(mode & stat.S_IXUSR)
    except OSError as trouble:
        raise put_off(_unreadable(name, trouble)) from None
    finally:
        os.close(fd)


def _read_all(fd: int, name: bytes) -> bytes:
    text = os.read(fd, 65536)
    if len(text) < 65536:
        return text
    with open(fd, "rb", closefd=False) as rest:
        text += rest.read(DOTQMAIL_BYTES_MAX + 1 - len(text))
    if len(text) > DOTQMAIL_BYTES_MAX:
        raise put_off(name + b" is too long. (#4.3.0)\n")
    return text


def _unreadable(name: bytes, trouble: OSError) -> bytes:
    return b"Unable to read " + name + b": " + reason_of(trouble) + b". (#4.3.0)\n"


def find_owner_files(home: int, target: Target) -> tuple[bool, bool]:
    """Say whether the list files -owner and -owner-default of `target` exist.

    Raises: StoppedError: there is no telling now.
    """
    owner, verp = owner_files(target.dash, target.ext)
    has_owner = _exists(home, owner)
    return has_owner, has_owner and _exists(home, verp)


def _exists(home: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=home)
    except OSError as trouble:
        if is_temporary(trouble):
            raise put_off(_unreadable(name, trouble)) from None
        return False
    except ValueError:
        return False
    return True


def disk_trouble(what: bytes, trouble: OSError) -> bytes:
    """Return the text for a delivery to `what` that the disk refused."""
    code = {
        errno.ENOENT: b"#4.2.1",
        errno.ENOTDIR: b"#4.2.1",
        errno.EACCES: b"#4.2.1",
        errno.EDQUOT: b"#4.2.2",
        errno.ENOSPC: b"#4.3.1",
    }.get(trouble.errno or 0, b"#4.3.0")
    return b"Unable to deliver to " + what + b": " + reason_of(trouble) + b". (" + code + b")\n"
