"""The `.qmail` files of one home, read as its owner: the seam between the rules and the disk.

Deliveries read them through `HomeFiles`; who wants to remember or to show what was read hands
`delivery_plan` another `DotqmailFiles`. Source: spec/delivery.md 4.
"""

import errno
import os
import stat
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

from qmail.core.local.dotqmail import DOTQMAIL_BYTES_MAX, Instruction, parse
from qmail.protocol.errnos import is_temporary
from qmail.protocol.exits import Exit

PATRN: Final = 0o002
"""Mode bits that neither a home nor a `.qmail` file may have."""
FIRST_BYTES: Final = 65536


class StoppedError(Exception):
    """The delivery ends here: how qmail-local exits, and what it says (ending in LF)."""

    def __init__(self, code: Exit, text: bytes) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def put_off(text: bytes) -> StoppedError:
    """Make the exception for a temporary failure."""
    return StoppedError(Exit.TEMPORARY, text)


def reason_of(trouble: OSError) -> bytes:
    """Return what the system says, for the end of a sentence."""
    return (trouble.strerror or "unknown error").lower().encode()


@dataclass(frozen=True)
class DotqmailFile:
    """One `.qmail` file. `forward_only`: its owner-execute bit."""

    text: bytes
    forward_only: bool

    @cached_property
    def instructions(self) -> tuple[Instruction, ...]:
        """What its lines say."""
        return parse(self.text, forward_only=self.forward_only)


class DotqmailFiles(Protocol):
    """Answers for the names of one home."""

    def read(self, name: bytes) -> DotqmailFile | None:
        """Return the file `name`, None where there is none.

        Raises: StoppedError: it can't be read or trusted now.
        """
        ...

    def exists(self, name: bytes) -> bool:
        """Say whether there is anything of that name. Raises: StoppedError: no telling now."""
        ...


class HomeFiles:
    """The files below the open folder `home`; `patrn`: mode bits that they may not have."""

    __slots__ = ("_home", "_patrn")

    def __init__(self, home: int, patrn: int = PATRN) -> None:
        self._home = home
        self._patrn = patrn

    def read(self, name: bytes) -> DotqmailFile | None:
        """Return the file `name`, None where there is none.

        Raises: StoppedError: it can't be read or trusted now.
        """
        found = self.read_with_stat(name)
        return None if found is None else found[0]

    def read_with_stat(self, name: bytes) -> tuple[DotqmailFile, os.stat_result] | None:
        """Return the file `name` and what the system said of it before it was read.

        Raises: StoppedError: as `read`.
        """
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._home)
        except OSError as trouble:
            if is_temporary(trouble) or trouble.errno in (errno.EPERM, errno.EACCES):
                raise put_off(_unreadable(name, trouble)) from None
            return None
        except ValueError:
            return None
        try:
            found = os.fstat(fd)
            mode = found.st_mode
            if not stat.S_ISREG(mode):
                return None
            if mode & self._patrn:
                raise put_off(b"Others may write to " + name + b". (#4.7.0)\n")
            return DotqmailFile(_read_all(fd, name), bool(mode & stat.S_IXUSR)), found
        except OSError as trouble:
            raise put_off(_unreadable(name, trouble)) from None
        finally:
            os.close(fd)

    def exists(self, name: bytes) -> bool:
        """Say whether there is anything of that name. Raises: StoppedError: no telling now."""
        try:
            os.stat(name, dir_fd=self._home)
        except OSError as trouble:
            if is_temporary(trouble):
                raise put_off(_unreadable(name, trouble)) from None
            return False
        except ValueError:
            return False
        return True


def _read_all(fd: int, name: bytes) -> bytes:
    text = os.read(fd, FIRST_BYTES)
    if len(text) < FIRST_BYTES:
        return text
    with open(fd, "rb", closefd=False) as rest:
        text += rest.read(DOTQMAIL_BYTES_MAX + 1 - len(text))
    if len(text) > DOTQMAIL_BYTES_MAX:
        raise put_off(name + b" is longer than %d bytes. (#4.3.0)\n" % DOTQMAIL_BYTES_MAX)
    return text


def _unreadable(name: bytes, trouble: OSError) -> bytes:
    return b"Unable to read " + name + b": " + reason_of(trouble) + b". (#4.3.0)\n"
