"""The queue's file system for root, safe against the accounts that own what lies in it.

qmailq and qmails own these folders, so they can rename, link and replace anything in them at any
moment, also between two of our calls. What that must never bring them: that root writes, reads out
or gives away a file from elsewhere. Hence:

- No path is ever handed to the kernel. Each folder is opened step by step, relative to the
  descriptor of the one above, and no step follows a symbolic link. A folder that is swapped for a
  link stops the call; one that is swapped for another folder is one that the account could write
  to before.
- A file is opened without following a link and without waiting (a named pipe would block), and is
  looked at through its descriptor. It must be a plain file, and either belong to an account of the
  queue or have no second name: a hard link to a file from elsewhere has that file's owner and two
  names, for nobody but its owner can take the first one away. Anything else is refused before a
  byte is read.
- Owner, mode and times are set through the descriptor that was looked at, never by name.
- New files are made exclusively, for root alone, and only then given away.
- Renaming and unlinking touch names only, and move them to folders of this queue, nowhere else.
"""

import errno
import os
import stat
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from qmail.core.fs import FileInfo, RealFs, describe

FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
FOLDERS_OPEN_MAX: Final = 64


class Ownership(NamedTuple):
    """Whose a file is to be, and its mode."""

    uid: int
    gid: int
    mode: int


class HeldFs(RealFs):
    """The file system below `root`. `owner_of` says whose a new file at a path is.

    `trusted`: the user ids of the queue, whose files may have two names.
    """

    def __init__(
        self, root: str, owner_of: Callable[[str], Ownership], trusted: Collection[int]
    ) -> None:
        super().__init__(root)
        self._owner_of = owner_of
        self._trusted = trusted
        self._folders: dict[str, int] = {}

    def release(self) -> None:
        """Close everything."""
        self.let_go()
        super().release()

    def let_go(self) -> None:
        """Close the folders: they are looked up again, for they were changed from outside."""
        for fd in self._folders.values():
            os.close(fd)
        self._folders.clear()

    # --- opening --------------------------------------------------------------------------------

    def _folder(self, path: str) -> int:
        """Return a descriptor of a folder, which stays ours. Raises: OSError."""
        if not path:
            return self._root
        found = self._folders.pop(path, -1)
        if found < 0:
            above, _, name = path.rpartition("/")
            found = os.open(name, FOLDER_FLAGS, dir_fd=self._folder(above))
            while len(self._folders) >= FOLDERS_OPEN_MAX:
                os.close(self._folders.pop(next(iter(self._folders))))
        self._folders[path] = found
        return found

    def _at(self, path: str) -> tuple[int, str]:
        folder, _, name = path.rpartition("/")
        return self._folder(folder), name

    def open_existing(self, path: str, flags: int = os.O_RDONLY) -> int:
        """Open a file that is the queue's own. Raises: OSError: there is none, or it is not."""
        folder, name = self._at(path)
        fd = os.open(name, flags | FILE_FLAGS, dir_fd=folder)
        found = os.fstat(fd)
        is_ours = found.st_nlink == 1 or found.st_uid in self._trusted
        if stat.S_ISREG(found.st_mode) and is_ours:
            return fd
        os.close(fd)
        raise OSError(errno.EPERM, f"{path} is not a file of the queue")

    # --- Fs -------------------------------------------------------------------------------------

    def create(self, path: str, mode: int = 0o600) -> int:
        """Create a file that must not exist; return a descriptor for writing.

        Owner and mode are those of its place, whatever `mode` says.
        """
        del mode
        folder, name = self._at(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | FILE_FLAGS
        fd = os.open(name, flags, 0o600, dir_fd=folder)
        self.give(fd, self._owner_of(path))
        return fd

    def status(self, path: str) -> os.stat_result | None:
        """Return all that is known of a name, without following it; None: there is none."""
        try:
            folder, name = self._at(path)
            return os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def repair_owner(self, path: str) -> None:
        """Give a file the owner and mode that one in its place has. Raises: OSError."""
        fd = self.open_existing(path)
        try:
            self.give(fd, self._owner_of(path))
        finally:
            os.close(fd)

    def resize(self, path: str, size: int) -> None:
        """Cut or fill up a file. Raises: OSError."""
        fd = self.open_existing(path, os.O_WRONLY)
        try:
            os.ftruncate(fd, size)
        finally:
            os.close(fd)

    def remove_folder(self, path: str) -> None:
        """Remove an empty folder. Raises: OSError."""
        self.let_go()
        folder, name = self._at(path)
        os.rmdir(name, dir_fd=folder)

    @staticmethod
    def give(fd: int, owner: Ownership) -> None:
        """Give an open file its owner and mode. Raises: OSError."""
        # Owner first: a change of owner takes bits of the mode away.
        found = os.fstat(fd)
        if (found.st_uid, found.st_gid) != (owner.uid, owner.gid):
            os.fchown(fd, owner.uid, owner.gid)
        os.fchmod(fd, owner.mode)

    def open_append(self, path: str, mode: int = 0o600) -> int:
        """Open a file for writing at its end, made when missing; return a descriptor."""
        try:
            return self.open_existing(path, os.O_WRONLY | os.O_APPEND)
        except FileNotFoundError:
            return self.create(path, mode)

    def open_folder(self, path: str) -> int:
        """Open a folder; `fsync` of the descriptor puts the names in it on disk."""
        # One of its own: reading moves a position that a copy of ours would share.
        return os.open(".", FOLDER_FLAGS, dir_fd=self._folder(path))

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, in one step, in place of any file of that name."""
        # The second look-up may close the first folder: a descriptor of our own outlives it.
        source, old_name = self._at(old)
        source = os.dup(source)
        try:
            target, new_name = self._at(new)
            os.rename(old_name, new_name, src_dir_fd=source, dst_dir_fd=target)
        finally:
            os.close(source)

    def link(self, old: str, new: str) -> None:
        """Refuse: nothing that root does here needs a second name."""
        raise OSError(errno.EPERM, f"no second name {new} for {old}")

    def unlink(self, path: str) -> None:
        """Remove a name."""
        folder, name = self._at(path)
        os.unlink(name, dir_fd=folder)

    def set_mtime(self, path: str, when: float) -> None:
        """Set atime and mtime, seconds since 1970."""
        fd = self.open_existing(path)
        try:
            os.utime(fd, (when, when))
        finally:
            os.close(fd)

    def info(self, path: str) -> FileInfo | None:
        """Describe a file; None when there is none of that name."""
        try:
            folder, name = self._at(path)
            return describe(os.stat(name, dir_fd=folder, follow_symlinks=False))
        except (FileNotFoundError, NotADirectoryError):
            return None
