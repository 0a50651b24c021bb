"""Where the notes of operators are on disk: info/notes, a file that other queue tools pass over."""

from typing import Final

from qmail.core.fs import Fs
from qmail.core.queue.engine import EngineError

PATH: Final = "info/notes"
NEW_PATH: Final = "info/notes.new"
NOTES_BYTES_MAX: Final = 1 << 28


class NotesFile:
    """The Store of one queue. A first name, a whole new file: never half of one."""

    def __init__(self, fs: Fs) -> None:
        self._fs = fs
        self.has_changed = False
        """Something was written that no commit has seen."""

    def read(self) -> bytes | None:
        """Return all of it, None where there is none. Raises: EngineError."""
        try:
            self._unlink(NEW_PATH)
            return self._fs.read(PATH, NOTES_BYTES_MAX)
        except FileNotFoundError:
            return None
        except OSError as trouble:
            raise EngineError(f"unable to read {PATH}: {trouble}") from trouble

    def append(self, entries: bytes) -> None:
        """Add to its end. Raises: EngineError."""
        self.has_changed = True
        try:
            fd = self._fs.open_append(PATH, 0o600)
            try:
                self._fs.write(fd, entries)
            finally:
                self._fs.close(fd)
        except OSError as trouble:
            raise EngineError(f"unable to write {PATH}: {trouble}") from trouble

    def replace(self, entries: bytes) -> None:
        """Put these in place of all; none: have no file. Raises: EngineError."""
        self.has_changed = True
        try:
            self._unlink(NEW_PATH)
            if not entries:
                self._unlink(PATH)
                return
            fd = self._fs.create(NEW_PATH, 0o600)
            try:
                self._fs.write(fd, entries)
                # The name may reach the disk before the bytes, and the old file is gone then.
                self._fs.fsync(fd)
            finally:
                self._fs.close(fd)
            self._fs.rename(NEW_PATH, PATH)
        except OSError as trouble:
            raise EngineError(f"unable to replace {PATH}: {trouble}") from trouble

    def _unlink(self, path: str) -> None:
        if self._fs.info(path) is not None:
            self._fs.unlink(path)
