"""Control files: each program's settings as one frozen dataclass, read once and checked.

A setting is a field: kind, default, unit and meaning stand in one place. The reader, qmail-showctl,
`qmail check` and the man page are made from the fields. Source: spec/control-files.md.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

from qmail.core.settings.lines import (
    CONTROL_BYTES_MAX,
    ME,
    ControlError,
    Line,
    control_reader,
    parse_host,
    parse_line,
    shown,
    split_lines,
)

__all__ = [
    "CONTROL_BYTES_MAX",
    "ME",
    "ME_OR_NAME",
    "ControlError",
    "Controls",
    "Line",
    "Parse",
    "ReadFile",
    "Setting",
    "control",
    "control_reader",
    "domain_keys",
    "entries",
    "first_match",
    "load",
    "load_one",
    "parse_colon_map",
    "parse_domain",
    "parse_domains",
    "parse_host",
    "parse_integer",
    "parse_line",
    "parse_word",
    "settings",
    "shown",
    "split_lines",
]

ReadFile = Callable[[str], bytes | None]
"""Returns the bytes of control/NAME, None when there is no such file; raises OSError otherwise."""
ME_OR_NAME: Final = "me, or else the file's own name"
"""As a default: the value of control/me, and without that file the name of the setting itself."""

Parse = Callable[[str, "list[Line]"], Any]
_Word = TypeVar("_Word", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known of one control file."""

    name: str
    doc: str
    unit: str
    parse: Parse
    default: Any
    kind: str
    field: str


def control(
    parse: Parse, default: Any = None, *, doc: str, unit: str = "", kind: str = "line"
) -> Any:
    """Declare a dataclass field that is read from the control file of the field's name.

    A `_` at its end is no part of that name: Python keeps some words for itself.
    """
    metadata = {"parse": parse, "doc": doc, "unit": unit, "default": default, "kind": kind}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=None if default == ME else default, metadata=metadata)


def settings(owner: type[Any]) -> list[Setting]:
    """List the control files that the dataclass `owner` is made from."""
    return [
        Setting(
            field.name.removesuffix("_"),
            field.metadata["doc"],
            field.metadata["unit"],
            field.metadata["parse"],
            field.metadata["default"],
            field.metadata["kind"],
            field.name,
        )
        for field in dataclasses.fields(owner)
    ]


Controls = TypeVar("Controls")


def load(owner: type[Controls], read_file: ReadFile) -> Controls:
    """Read every control file of `owner`.

    Raises: ControlError: a bad line. OSError: a file is there and can't be read.
    """
    found = {setting.field: load_one(setting, read_file) for setting in settings(owner)}
    return owner(**found)


def load_one(setting: Setting, read_file: ReadFile) -> Any:
    """Read one control file, or return its default.

    Raises: ControlError, OSError: as `load`.
    """
    raw = read_file(setting.name)
    if raw is not None:
        return setting.parse(setting.name, split_lines(raw))
    if setting.default not in (ME, ME_OR_NAME):
        return setting.default
    raw = read_file(ME)
    if raw is None:
        return None if setting.default == ME else setting.name.encode()
    return setting.parse(ME, split_lines(raw)[:1])


# --- how the lines of a file become a value -----------------------------------------------------


def parse_integer(name: str, lines: list[Line]) -> int:
    """First line as a whole number."""
    text = parse_line(name, lines)
    if not text.isdigit() or len(text) > 18:
        raise ControlError(name, 1, f"{shown(text)} is not a whole number")
    return int(text)


def parse_word(words: type[_Word], name: str, lines: list[Line]) -> _Word:
    """First line as one of `words`."""
    word = parse_line(name, lines)
    try:
        return words(word.decode("ascii", "replace"))
    except ValueError:
        raise ControlError(name, 1, f"{shown(word)} is none of: {', '.join(words)}") from None


def entries(lines: list[Line]) -> list[Line]:
    """Drop the empty lines of a list file and those that start with `#`."""
    return [line for line in lines if line.text and not line.text.startswith(b"#")]


def parse_domains(name: str, lines: list[Line]) -> frozenset[bytes]:
    """A list of domains, lowercased."""
    return frozenset(parse_domain(name, line) for line in entries(lines))


def parse_domain(name: str, line: Line) -> bytes:
    """One entry of a list of domains, lowercased."""
    if any(byte <= 32 or byte in b"@:\x7f" for byte in line.text):
        raise ControlError(name, line.number, f"{shown(line.text)} is not a domain")
    return line.text.lower()


def parse_colon_map(name: str, lines: list[Line]) -> dict[bytes, bytes]:
    """`key:value` lines; keys lowercased, the last of equal keys wins (spec/control-files.md 2)."""
    found: dict[bytes, bytes] = {}
    for line in entries(lines):
        key, colon, value = line.text.partition(b":")
        if not colon:
            raise ControlError(name, line.number, f"no colon in {shown(line.text)}")
        found[key.lower()] = value
    return found


def domain_keys(domain: bytes) -> list[bytes]:
    """Keys to try for a lowercased domain: itself, then each suffix from a dot, longest first."""
    keys = [domain]
    dot = domain.find(b".")
    while dot >= 0:
        keys.append(domain[dot:])
        dot = domain.find(b".", dot + 1)
    return keys


def first_match(table: Mapping[bytes, Any], keys: list[bytes]) -> Any:
    """Return the value of the first key present, else None."""
    for key in keys:
        if key in table:
            return table[key]
    return None
