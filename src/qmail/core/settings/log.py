"""control/log: in which form the log is written, and where to; whether there is a trace index."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from qmail.core.settings.controls import ControlError, Line, entries, shown


class LogFormat(StrEnum):
    """The form of the lines."""

    CLASSIC = "classic"
    """The original's lines (spec/logging.md 2)."""
    JSON = "json"
    BOTH = "both"


class Stamp(StrEnum):
    """What stands in front of a classic line."""

    TAI64N = "tai64n"
    ISO = "iso"
    SECONDS = "seconds"
    NONE = "none"


class Target(StrEnum):
    """Kinds of destinations."""

    DESCRIPTOR = "descriptor"
    FILE = "file"
    SYSLOG = "syslog"
    JOURNAL = "journal"


SIZE_MIN: Final = 4096
SIZE_MAX: Final = 1 << 40
SIZE_DEFAULT: Final = 10_000_000
KEEP_MIN: Final = 2
KEEP_MAX: Final = 100_000
KEEP_DEFAULT: Final = 10
DAYS_DEFAULT: Final = 7
DAYS_MAX: Final = 36500
MB_DEFAULT: Final = 200
MB_MAX: Final = 1_000_000


Take = Callable[[str, Line, list[str]], object]
"""Makes a value of the words behind the first of a line."""


@dataclass(frozen=True, slots=True)
class Destination:
    """One `to` line."""

    target: Target
    folder: str = ""
    """For files. Not absolute: below HOME/log."""
    size: int = SIZE_DEFAULT
    keep: int = KEEP_DEFAULT

    def __str__(self) -> str:
        """Return it as it stands in control/log."""
        if self.target is Target.FILE:
            return f"to file {self.folder} size {self.size} keep {self.keep}"
        return f"to {self.target}"


DESCRIPTOR: Final = Destination(Target.DESCRIPTOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What control/log says."""

    format: LogFormat = LogFormat.CLASSIC
    stamp: Stamp = Stamp.NONE
    destinations: tuple[Destination, ...] = (DESCRIPTOR,)
    is_traced: bool = False
    trace_days: int = DAYS_DEFAULT
    trace_mb: int = MB_DEFAULT

    @property
    def needs_logger(self) -> bool:
        """False where every program writes straight to descriptor 1, as in the original."""
        plain = self.format is LogFormat.CLASSIC and self.stamp is Stamp.NONE
        return self.is_traced or not plain or self.destinations != (DESCRIPTOR,)

    @property
    def needs_records(self) -> bool:
        """Whether the programs are to add what structured records need."""
        return self.is_traced or self.format is not LogFormat.CLASSIC

    @property
    def lines(self) -> list[str]:
        """What is not as without the file, as lines of control/log."""
        usual = LogSettings()
        found = [
            (f"format {self.format}", self.format is usual.format),
            (f"time {self.stamp}", self.stamp is usual.stamp),
            *((str(one), self.destinations == usual.destinations) for one in self.destinations),
            (f"trace {'on' if self.is_traced else 'off'}", self.is_traced == usual.is_traced),
            (f"trace-days {self.trace_days}", self.trace_days == usual.trace_days),
            (f"trace-mb {self.trace_mb}", self.trace_mb == usual.trace_mb),
        ]
        return [line for line, is_usual in found if not is_usual]


def parse_log(name: str, lines: list[Line]) -> LogSettings:
    """Lines `WORD VALUE`: what is not said has its default; only `to` may stand more than once."""
    found: dict[str, object] = {}
    destinations: list[Destination] = []
    for line in entries(lines):
        key, *values = line.text.decode("ascii", "replace").split() or [""]
        if key == "to":
            destinations.append(_destination(name, line, values))
        elif key in _FIELDS:
            field, take = _FIELDS[key]
            if field in found:
                raise ControlError(name, line.number, f"{key} stands there twice")
            found[field] = take(name, line, values)
        else:
            known = ", ".join((*_FIELDS, "to"))
            raise ControlError(
                name, line.number, f"{shown(line.text)} begins with none of: {known}"
            )
    if len({one.folder or one.target for one in destinations}) != len(destinations):
        raise ControlError(name, lines[-1].number, "the same destination stands there twice")
    if destinations:
        found["destinations"] = tuple(destinations)
    return LogSettings(**found)  # type: ignore[arg-type]


def _one(name: str, line: Line, values: list[str]) -> str:
    if len(values) != 1:
        raise ControlError(name, line.number, f"{shown(line.text)} is not one word and one value")
    return values[0]


def _choice(choices: type[StrEnum]) -> Take:
    def take(name: str, line: Line, values: list[str]) -> StrEnum:
        word = _one(name, line, values)
        try:
            return choices(word)
        except ValueError:
            known = ", ".join(choices)
            raise ControlError(name, line.number, f'"{word}" is none of: {known}') from None

    return take


def _switch(name: str, line: Line, values: list[str]) -> bool:
    word = _one(name, line, values)
    if word not in ("on", "off"):
        raise ControlError(name, line.number, f'"{word}" is neither on nor off')
    return word == "on"


def _whole(name: str, line: Line, text: str, limits: tuple[int, int]) -> int:
    least, most = limits
    if not (text.isascii() and text.isdigit() and len(text) < 16 and least <= int(text) <= most):
        raise ControlError(name, line.number, f'"{text}" is not a number from {least} to {most}')
    return int(text)


def _within(most: int) -> Take:
    def take(name: str, line: Line, values: list[str]) -> int:
        return _whole(name, line, _one(name, line, values), (1, most))

    return take


_FIELDS: Final[dict[str, tuple[str, Take]]] = {
    "format": ("format", _choice(LogFormat)),
    "time": ("stamp", _choice(Stamp)),
    "trace": ("is_traced", _switch),
    "trace-days": ("trace_days", _within(DAYS_MAX)),
    "trace-mb": ("trace_mb", _within(MB_MAX)),
}


def _destination(name: str, line: Line, values: list[str]) -> Destination:
    try:
        target = Target(values[0] if values else "")
    except ValueError:
        known = ", ".join(Target)
        raise ControlError(name, line.number, f"{shown(line.text)}: to what? {known}") from None
    if target is not Target.FILE:
        _one(name, line, values)
        return Destination(target)
    folder, *options = values[1:] or [""]
    if not folder or ".." in folder.split("/"):
        raise ControlError(name, line.number, "'to file' needs a folder: to file main")
    if len(options) % 2 or not set(options[::2]) <= {"size", "keep"}:
        wrong = f"{shown(line.text)} is not 'to file DIR size BYTES keep NUMBER'"
        raise ControlError(name, line.number, wrong)
    chosen = dict(zip(options[::2], options[1::2], strict=True))
    size = _whole(name, line, chosen.get("size", str(SIZE_DEFAULT)), (SIZE_MIN, SIZE_MAX))
    keep = _whole(name, line, chosen.get("keep", str(KEEP_DEFAULT)), (KEEP_MIN, KEEP_MAX))
    return Destination(target, folder, size, keep)
