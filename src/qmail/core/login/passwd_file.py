"""users/passwd as a whole: found by name, read again when it changes, edited line by line."""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from qmail.core.login.passwd_line import (
    LINES,
    PasswdEntry,
    PasswdLineError,
    parse_passwd_line,
)
from qmail.core.whole_files import read_whole
from qmail.protocol.sasl import SaslError, prepared_name
from qmail.protocol.scram_keys import ITERATIONS

FILE_BYTES_MAX: Final = 256 * 1024 * 1024
_COUNTED_MAX: Final = 100
"""So many lines are looked at for the usual number of iterations."""


def passwd_lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and text of every line that is no comment and not empty."""
    for number, line in enumerate(data.split(b"\n"), 1):
        text = line.removesuffix(b"\r")
        if text.strip() and not text.startswith(b"#"):
            yield number, text


def line_name(line: bytes) -> bytes:
    """Return the name that a line is about, prepared where it can be."""
    name = line.partition(b":")[0]
    try:
        return prepared_name(name)
    except SaslError:
        return name


@dataclass(frozen=True, slots=True)
class _Kept:
    """The file as it was read."""

    version: tuple[int, ...] | None
    by_name: dict[bytes, tuple[int, bytes]]
    usual_iterations: int


class PasswdFile:
    """The file of one home, as it is at each look: a change is seen at once."""

    def __init__(self, home: str) -> None:
        self._path = f"{home}/{LINES}"
        # One value, put in place at once: several threads look, and one of them reads.
        self._reading = threading.Lock()
        self._kept = _Kept(None, {}, ITERATIONS)

    def look(self, name: bytes) -> PasswdEntry | None:
        """Return the entry of a prepared name, the first of several; None: there is none.

        Raises: PasswdLineError: its line can't be used. OSError: the file can't be read.
        """
        found = self._now().by_name.get(name)
        return None if found is None else parse_passwd_line(found[1], found[0])

    @property
    def usual_iterations(self) -> int:
        """What most lines that were last read have."""
        return self._kept.usual_iterations

    def _now(self) -> _Kept:
        version = _version_of(self._path)
        if version == self._kept.version:
            return self._kept
        with self._reading:
            if version != self._kept.version:
                self._kept = _read(self._path, is_there=version is not None)
            return self._kept


def _read(path: str, *, is_there: bool) -> _Kept:
    if not is_there:
        return _Kept(None, {}, ITERATIONS)
    data, found = read_whole(path, FILE_BYTES_MAX)
    by_name: dict[bytes, tuple[int, bytes]] = {}
    for number, line in passwd_lines(data):
        by_name.setdefault(line_name(line), (number, line))
    return _Kept(_stamp(found), by_name, _usual_iterations(by_name))


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _version_of(path: str) -> tuple[int, ...] | None:
    try:
        return _stamp(os.stat(path))
    except FileNotFoundError:
        return None


def _usual_iterations(by_name: dict[bytes, tuple[int, bytes]]) -> int:
    """Return what most lines have: what is said of a name that nobody has must not stand out."""
    counts: dict[int, int] = {}
    for number, line in list(by_name.values())[:_COUNTED_MAX]:
        try:
            keys = parse_passwd_line(line, number).keys
        except PasswdLineError:
            continue
        if keys is not None:
            counts[keys.iterations] = counts.get(keys.iterations, 0) + 1
    return max(counts, key=lambda count: counts[count], default=ITERATIONS)


def wrong_lines(data: bytes) -> list[str]:
    """Say what is wrong with each line of the file that can't be used, or that nobody sees."""
    found = []
    seen: dict[bytes, int] = {}
    for number, line in passwd_lines(data):
        try:
            name = parse_passwd_line(line, number).name
        except PasswdLineError as wrong:
            found.append(str(wrong))
            name = line_name(line)
        if name in seen:
            found.append(f"{LINES}:{number}: field 1 (name): line {seen[name]} has it already")
        seen.setdefault(name, number)
    return found


# --- editing --------------------------------------------------------------------------------------


def with_line(data: bytes, name: bytes, line: bytes) -> bytes:
    """Return the file with `line` in place of the first about `name`, else at its end.

    Later lines about the same name, which nobody ever saw, go.
    """
    lines = data.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    kept = []
    placed = False
    for old in lines:
        if not _is_about(old, name):
            kept.append(old)
        elif not placed:
            kept.append(line)
            placed = True
    if not placed:
        kept.append(line)
    return b"\n".join(kept) + b"\n"


def without_name(data: bytes, name: bytes) -> bytes | None:
    """Return the file without the lines about `name`; None: there are none."""
    lines = data.split(b"\n")
    kept = [line for line in lines if not _is_about(line, name)]
    return b"\n".join(kept) if len(kept) < len(lines) else None


def find_line(data: bytes, name: bytes) -> tuple[int, bytes] | None:
    """Return number and text of the first line about `name`."""
    found = passwd_lines(data)
    return next(((number, line) for number, line in found if line_name(line) == name), None)


def _is_about(line: bytes, name: bytes) -> bool:
    text = line.removesuffix(b"\r")
    return bool(text.strip()) and not text.startswith(b"#") and line_name(text) == name


def with_secret(line: bytes, secret: bytes) -> bytes:
    """Return the line with another second field."""
    name, _, rest = line.partition(b":")
    _, colon, after = rest.partition(b":")
    return name + b":" + secret + colon + after
