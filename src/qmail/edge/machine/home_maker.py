"""Makes and repairs the folders and files of a home, safe against the owners of what lies in it.

Root works here inside folders that belong to accounts it does not trust. So every step opens a
descriptor without following links, and owner and mode are changed through that descriptor only.
"""

import contextlib
import errno
import grp
import os
import pwd
import stat
from collections.abc import Callable
from typing import Final

from qmail.edge.machine.accounts import Accounts

FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
ROOT: Final = "root"


class HomeError(Exception):
    """Something in the home is not what it ought to be, and can't be repaired from here."""


def ids_of(accounts: Accounts, owner: str, group: str) -> tuple[int, int]:
    """Return uid and gid for names of the layout: an account or root, and one of the two groups."""
    member = accounts["qmailq" if group == "qmail" else "alias"]
    if accounts.separate and owner == ROOT:
        return 0, member.gid
    return accounts["alias" if owner == ROOT else owner].uid, member.gid


def shown_owner(uid: int, gid: int, mode: int) -> str:
    """Return owner, group and mode as people read them: `qmailq:qmail 0750`."""
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    try:
        group = grp.getgrgid(gid).gr_name
    except KeyError:
        group = str(gid)
    return f"{user}:{group} {mode:04o}"


class HomeMaker:
    """Makes what is missing below one home and repairs owners and modes; tells `say` of each."""

    def __init__(self, home: str, say: Callable[[str], None]) -> None:
        self.home = home
        self._say = say
        self.made_count = 0
        self.repaired_count = 0

    def folder(self, path: str, *, owner: tuple[int, int], mode: int) -> None:
        """Make a folder, or give the one that is there its owner and mode.

        Raises: OSError: not allowed. HomeError: something else of that name is there.
        """
        if not path:
            made = not os.path.isdir(self.home)
            os.makedirs(self.home, mode=0o755, exist_ok=True)
            fd = os.open(self.home, FOLDER_FLAGS & ~os.O_NOFOLLOW)
            self._settle(fd, "", owner, mode, made=made)
            return
        parent, name = self._open_parent(path)
        try:
            made = _attempt(lambda: os.mkdir(name, 0o700, dir_fd=parent))
            fd = self._open_folder(parent, name, path)
            self._settle(fd, path, owner, mode, made=made)
        finally:
            os.close(parent)

    def file(self, path: str, content: bytes, *, owner: tuple[int, int], mode: int) -> bool:
        """Make a file with `content`; one that is there keeps its contents, owner and mode.

        Returns: whether it was made.
        Raises: OSError: not allowed.
        """
        parent, name = self._open_parent(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(name, flags, 0o600, dir_fd=parent)
        except FileExistsError:
            return False
        finally:
            os.close(parent)
        with open(fd, "wb", closefd=False) as file:
            file.write(content)
        self._settle(fd, path, owner, mode, made=True)
        return True

    def pipe(self, path: str, *, owner: tuple[int, int], mode: int) -> None:
        """Make a named pipe.

        Raises: OSError: not allowed. HomeError: something else of that name is there.
        """
        parent, name = self._open_parent(path)
        try:
            made = _attempt(lambda: os.mkfifo(name, 0o600, dir_fd=parent))
        finally:
            os.close(parent)
        self.repair(path, owner=owner, mode=mode, kind=stat.S_IFIFO, made=made)

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link; one that leads nowhere is made anew, whatever else is there stays.

        Raises: OSError: not allowed.
        """
        parent, name = self._open_parent(path)
        try:
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISLNK(os.lstat(name, dir_fd=parent).st_mode) and not _leads(parent, name):
                    os.unlink(name, dir_fd=parent)
            self.made_count += _attempt(lambda: os.symlink(target, name, dir_fd=parent))
        finally:
            os.close(parent)

    def repair(
        self, path: str, *, owner: tuple[int, int], mode: int, kind: int, made: bool = False
    ) -> None:
        """Give an existing file of type `kind` (a stat.S_IF constant) its owner and mode.

        Raises: OSError: not allowed. HomeError: it is of another type, or has a second name.
        """
        parent, name = self._open_parent(path)
        try:
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
            before = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_IFMT(before.st_mode) != kind or before.st_nlink != 1:
                raise HomeError(f"{self.home}/{path} is not a file of our making: remove it")
            if (before.st_uid, before.st_gid, stat.S_IMODE(before.st_mode)) == (*owner, mode):
                return
            fd = os.open(name, flags, dir_fd=parent)
        finally:
            os.close(parent)
        if not os.path.samestat(before, os.fstat(fd)):
            os.close(fd)
            raise HomeError(f"{self.home}/{path} changed while it was looked at: try again")
        self._settle(fd, path, owner, mode, made=made)

    def _settle(
        self, fd: int, path: str, owner: tuple[int, int], mode: int, *, made: bool = False
    ) -> None:
        # Owner first: a change of owner takes set-group-id away. Closes `fd`.
        with contextlib.closing(_Descriptor(fd)):
            found = os.fstat(fd)
            before = (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))
            wanted = (*owner, mode)
            if before == wanted:
                self.made_count += made
                return
            if before[:2] != owner:
                os.fchown(fd, *owner)
            os.fchmod(fd, mode)
        if made:
            self.made_count += 1
            return
        self.repaired_count += 1
        where = f"{self.home}/{path}" if path else self.home
        self._say(f"repaired {where}: {shown_owner(*before)} is now {shown_owner(*wanted)}")

    def _open_parent(self, path: str) -> tuple[int, str]:
        folders, _, name = path.rpartition("/")
        fd = os.open(self.home, FOLDER_FLAGS & ~os.O_NOFOLLOW)
        done = ""
        for step in folders.split("/") if folders else ():
            done = f"{done}/{step}" if done else step
            try:
                below = self._open_folder(fd, step, done)
            finally:
                os.close(fd)
            fd = below
        return fd, name

    def _open_folder(self, parent: int, name: str, path: str) -> int:
        try:
            return os.open(name, FOLDER_FLAGS, dir_fd=parent)
        except NotADirectoryError:
            if not _is_trusted_link(parent, name):
                raise HomeError(f"{self.home}/{path} is not a folder: move it away") from None
        # The administrator may keep the queue on another disk by a link of their own.
        return os.open(name, FOLDER_FLAGS & ~os.O_NOFOLLOW, dir_fd=parent)


class _Descriptor:
    """A descriptor as something contextlib.closing can close."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def close(self) -> None:
        os.close(self._fd)


def _attempt(make: Callable[[], None]) -> bool:
    try:
        make()
    except FileExistsError:
        return False
    return True


def _leads(parent: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=parent)
    except OSError as trouble:
        # Any other trouble says nothing about where it leads.
        return trouble.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
    return True


def _is_trusted_link(parent: int, name: str) -> bool:
    link = os.stat(name, dir_fd=parent, follow_symlinks=False)
    folder = os.fstat(parent)
    me = os.geteuid()
    return stat.S_ISLNK(link.st_mode) and link.st_uid == me and folder.st_uid == me
