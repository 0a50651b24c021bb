"""Where the files of message N are, relative to HOME/queue (spec/queue.md 1)."""

from dataclasses import dataclass
from typing import Final

from qmail.core.fs import Fs

SPLIT_DEFAULT: Final = 23
SPLIT_FOLDERS: Final = ("mess", "info", "local", "remote")
OSSIFIED_S: Final = 129600
"""Age at which an abandoned file may be removed: 36 hours (spec/queue.md 12)."""
SPARE: Final = "spare."
"""Names in pid/ that start so are files of finished messages, kept to be written again."""
PARKED: Final = "parked"
"""The folder of messages whose envelope makes no sense."""
ENVELOPE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Longest todo, info, local or remote file that is read."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of one queue. `split` is the number of folders below mess, info, local, remote."""

    split: int = SPLIT_DEFAULT

    def body(self, number: int) -> str:
        """Return the path below mess/, as it crosses the door to a spawner."""
        return f"{number % self.split}/{number}"

    def mess(self, number: int) -> str:
        """Return the path of the message."""
        return f"mess/{number % self.split}/{number}"

    def info(self, number: int) -> str:
        """Return the path of the envelope sender."""
        return f"info/{number % self.split}/{number}"

    def channel(self, word: str, number: int) -> str:
        """Return the path of the recipients of channel `word`, local or remote."""
        return f"{word}/{number % self.split}/{number}"

    @staticmethod
    def intd(number: int) -> str:
        """Return the path of the envelope under construction."""
        return f"intd/{number}"

    @staticmethod
    def todo(number: int) -> str:
        """Return the path of the complete envelope."""
        return f"todo/{number}"

    @staticmethod
    def bounce(number: int) -> str:
        """Return the path of the failure reports."""
        return f"bounce/{number}"


def parked(number: int, kind: str) -> str:
    """Return the path of a file, mess or todo, of a parked message."""
    return f"{PARKED}/{number}.{kind}"


def find_layout(fs: Fs) -> Layout:
    """Read the split from the folders that the queue was made with.

    Raises: OSError: there is no mess folder. ValueError: it holds no numbered folder, or one is
    missing, so that messages would be looked for in the wrong ones.
    """
    found = {int(name) for name, _ in fs.names("mess") if is_number(name)}
    if not found:
        raise ValueError("queue/mess has no numbered folders: run 'qmail init'")
    missing = next((number for number in range(len(found)) if number not in found), None)
    if missing is not None:
        raise ValueError(f"queue/mess/{missing} is missing: run 'qmail queue check --repair'")
    return Layout(len(found))


def numbered(fs: Fs, folder: str) -> dict[int, int]:
    """Return number -> inode of the entries of `folder`; other names are ignored."""
    return {int(name): inode for name, inode in fs.names(folder) if is_number(name)}


def numbered_split(fs: Fs, folder: str, split: int) -> dict[int, int]:
    """Return number -> inode of the entries of all folders below `folder`."""
    found: dict[int, int] = {}
    for index in range(split):
        found.update(numbered(fs, f"{folder}/{index}"))
    return found


def is_number(name: str) -> bool:
    """Tell whether `name` is a decimal without leading zeros, as the queue's names are."""
    return name.isascii() and name.isdigit() and (name[0] != "0" or name == "0")
