"""lost/: where a repair puts what it can't mend. Nothing that may hold a message is deleted.

A file goes there as `TIME.FAULT.NUMBER.KIND`, so that its name says what it was even where the
power fails at once; lost/NOTES has a line with the reason for each.
"""

from typing import Final

from qmail.core.clock import Clock
from qmail.core.fs import Fs
from qmail.core.repair.faults import Fault

LOST: Final = "lost"
NOTES: Final = "lost/NOTES"
LABEL_MAX: Final = 50
"""Characters of a label that are kept: a name in a folder has 255 bytes."""


class LostFolder:
    """The folder lost/ of one queue."""

    def __init__(self, fs: Fs, clock: Clock) -> None:
        self._fs = fs
        self._clock = clock

    def take(self, fault: Fault, paths: dict[str, str], label: str, why: str) -> str:
        """Move the files in, by kind; `label` is the number of their message, or a name.

        Returns: what its files are called there, before the kind. Raises: OSError.
        """
        stem = self._free(fault, paths, label)
        for kind, path in paths.items():
            self._note(f"{stem}.{kind}: {fault.word}: was {path}: {why}\n")
            self._fs.rename(path, f"{stem}.{kind}")
        return stem

    def _free(self, fault: Fault, paths: dict[str, str], label: str) -> str:
        when = int(self._clock.now())
        while True:
            stem = f"{LOST}/{when}.{fault.word}.{label[:LABEL_MAX]}"
            if all(self._fs.info(f"{stem}.{kind}") is None for kind in paths):
                return stem
            when += 1

    def _note(self, line: str) -> None:
        fd = self._fs.open_append(NOTES)
        try:
            # A name may hold anything; a note stays one line.
            shown = "".join(byte if byte.isprintable() else "?" for byte in line.rstrip("\n"))
            self._fs.write(fd, shown.encode("utf-8", "backslashreplace") + b"\n")
        finally:
            self._fs.close(fd)
