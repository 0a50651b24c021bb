"""Control files watched while the rules ask them: who wants to explain a decision hands these in.

The rules are not done again here: `core.addresses.routing`, `core.smtp.relay` and the others
decide, the journal keeps what they asked for, and the line that answered is found by parsing each
line on its own.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from qmail.core.explain.explanation import Part, Step, printable
from qmail.core.settings.controls import (
    ME,
    ME_OR_NAME,
    ControlError,
    ReadFile,
    Setting,
    entries,
    settings,
    split_lines,
)
from qmail.protocol.exits import Exit

KEYS_SHOWN_MAX: Final = 8
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Asked:
    """One key that was looked for in one file."""

    name: str
    key: bytes
    found: bool


@dataclass(slots=True)
class Journal:
    """Everything that was asked, in order."""

    asked: list[Asked] = field(default_factory=list)

    def of(self, name: str) -> list[Asked]:
        """Return what was asked of one file."""
        return [one for one in self.asked if one.name == name]

    def hit(self, name: str) -> bytes | None:
        """Return the key of a file that was found last, None where none was."""
        found = [one.key for one in self.of(name) if one.found]
        return found[-1] if found else None


def tried(asked: Iterable[Asked]) -> str:
    """Return the keys that were looked for, the first ones by name; an empty one is none."""
    keys = list(dict.fromkeys(one.key.lower() for one in asked if one.key))
    names = ", ".join(printable(key) for key in keys[:KEYS_SHOWN_MAX])
    more = len(keys) - KEYS_SHOWN_MAX
    return f"{names} and {more} more" if more > 0 else names


class WatchedSet(frozenset[bytes]):
    """A list of domains that notes what it is asked."""

    name: str
    journal: Journal

    @classmethod
    def of(cls, name: str, values: Iterable[bytes], journal: Journal) -> "WatchedSet":
        """Watch `values`, the entries of control/`name`."""
        made = cls(values)
        made.name, made.journal = name, journal
        return made

    def __contains__(self, key: object) -> bool:
        found = super().__contains__(key)
        if isinstance(key, bytes):
            self.journal.asked.append(Asked(self.name, key, found))
        return found


class WatchedMap(Mapping[bytes, Value]):
    """A map of domains that notes what it is asked."""

    def __init__(self, name: str, values: Mapping[bytes, Value], journal: Journal) -> None:
        self._name = name
        self._values = values
        self._journal = journal

    def __contains__(self, key: object) -> bool:
        found = key in self._values
        if isinstance(key, bytes):
            self._journal.asked.append(Asked(self._name, key, found))
        return found

    def __getitem__(self, key: bytes) -> Value:
        return self._values[key]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Controls:
    """Says which line of which file a setting comes from."""

    def __init__(self, owner: type[Any], read_file: ReadFile) -> None:
        self._settings = {setting.name: setting for setting in settings(owner)}
        self._read_file = read_file

    def is_there(self, name: str) -> bool:
        """Say whether there is a file control/`name`. Raises: OSError: no telling."""
        return self._read_file(name) is not None

    def place(self, name: str, matches: Callable[[Any], bool] | None = None) -> tuple[str, int]:
        """Return file and line of the last entry whose value `matches`; of the first without it.

        A file that is missing is control/me where that is its default; line 0: no line says it.
        """
        setting = self._settings[name]
        raw = self._read_file(name)
        if raw is None:
            has_me = setting.default in (ME, ME_OR_NAME) and self._read_file(ME) is not None
            return (f"control/{ME}", 1) if has_me else (f"control/{name}", 0)
        if matches is None:
            return f"control/{name}", 1
        for line in reversed(entries(split_lines(raw))):
            if matches(_value(setting, line)):
                return f"control/{name}", line.number
        return f"control/{name}", 0

    def entry(self, name: str, key: bytes) -> tuple[str, int]:
        """Return file and line of the entry for `key` in a list or map: the last one counts."""
        return self.place(name, lambda value: key in value)


def _value(setting: Setting, line: Any) -> Any:
    return setting.parse(setting.name, [line])


def unreadable(part: str, trouble: ControlError | OSError, program: str) -> Part:
    """Return the part for a program whose control files are no use."""
    later = f"{program} goes on with what it read before, and does not start anew"
    if isinstance(trouble, ControlError):
        file, line, wrong = f"control/{trouble.name}", trouble.line, trouble.wrong
    else:
        file, line = f"control/{os.path.basename(str(trouble.filename or ''))}", 0
        wrong = (trouble.strerror or "unreadable").lower()
    return Part((Step(part, f"{wrong}: {later}", file, line),), Exit.TEMPORARY)
