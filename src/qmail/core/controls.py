"""Control files: each program's settings as one frozen dataclass, read once and checked.

A setting is a field: kind, default, unit and meaning stand in one place. The reader, qmail-showctl,
`qmail check` and the man page are made from the fields. Source: spec/control-files.md.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

ReadFile = Callable[[str], bytes | None]
"""Returns the bytes of control/NAME, None when there is no such file; raises OSError otherwise."""

CONTROL_BYTES_MAX: Final = 64 * 1024 * 1024
ME: Final = "me"
"""As a default: the value of control/me."""


class ControlError(ValueError):
    """A control file that can't be used; the text names the file, the line and what is wrong."""

    def __init__(self, name: str, line: int, wrong: str) -> None:
        super().__init__(f"control/{name}:{line}: {wrong}")
        self.name = name


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a list file, with its number for messages (counted from 1)."""

    number: int
    text: bytes


Parse = Callable[[str, "list[Line]"], Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known of one control file."""

    name: str
    doc: str
    unit: str
    parse: Parse
    default: Any
    kind: str


def control(
    parse: Parse, default: Any = None, *, doc: str, unit: str = "", kind: str = "line"
) -> Any:
    """Declare a dataclass field that is read from the control file of the field's name."""
    metadata = {"parse": parse, "doc": doc, "unit": unit, "default": default, "kind": kind}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=None if default == ME else default, metadata=metadata)


def settings(owner: type[Any]) -> list[Setting]:
    """List the control files that the dataclass `owner` is made from."""
    return [
        Setting(
            field.name,
            field.metadata["doc"],
            field.metadata["unit"],
            field.metadata["parse"],
            field.metadata["default"],
            field.metadata["kind"],
        )
        for field in dataclasses.fields(owner)
    ]


Controls = TypeVar("Controls")


def load(owner: type[Controls], read_file: ReadFile) -> Controls:
    """Read every control file of `owner`.

    Raises: ControlError: a bad line. OSError: a file is there and can't be read.
    """
    values: dict[str, Any] = {}
    for setting in settings(owner):
        values[setting.name] = load_one(setting, read_file)
    return owner(**values)


def load_one(setting: Setting, read_file: ReadFile) -> Any:
    """Read one control file, or return its default.

    Raises: ControlError, OSError: as `load`.
    """
    raw = read_file(setting.name)
    if raw is not None:
        return setting.parse(setting.name, split_lines(raw))
    if setting.default is not ME:
        return setting.default
    raw = read_file(ME)
    return None if raw is None else setting.parse(ME, split_lines(raw)[:1])


def split_lines(raw: bytes) -> list[Line]:
    """Split a control file; blanks that end a line are dropped (spec/control-files.md 1)."""
    lines = raw.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return [Line(index, line.rstrip(b" \t\n")) for index, line in enumerate(lines, 1)]


def control_reader(home: str) -> ReadFile:
    """Return the real reader for the control folder of `home`."""

    def read_file(name: str) -> bytes | None:
        try:
            with open(f"{home}/control/{name}", "rb") as file:
                data = file.read(CONTROL_BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        if len(data) > CONTROL_BYTES_MAX:
            raise ControlError(name, 1, f"longer than {CONTROL_BYTES_MAX} bytes")
        return data

    return read_file


# --- how the lines of a file become a value -----------------------------------------------------


def parse_line(name: str, lines: list[Line]) -> bytes:
    """First line only; an empty one is the empty string and not the default."""
    text = lines[0].text if lines else b""
    if b"\0" in text:
        raise ControlError(name, 1, "a NUL byte inside the line")
    return text


def parse_host(name: str, lines: list[Line]) -> bytes:
    """First line, which must be usable as a host name in headers and SMTP."""
    text = parse_line(name, lines)
    if not text:
        raise ControlError(name, 1, "empty; write the host name, or remove the file")
    if any(byte <= 32 or byte >= 127 for byte in text):
        raise ControlError(name, 1, f"{shown(text)} is not a host name")
    return text


def parse_integer(name: str, lines: list[Line]) -> int:
    """First line as a whole number."""
    text = parse_line(name, lines)
    if not text.isdigit() or len(text) > 18:
        raise ControlError(name, 1, f"{shown(text)} is not a whole number")
    return int(text)


def entries(lines: list[Line]) -> list[Line]:
    """Drop the empty lines of a list file and those that start with `#`."""
    return [line for line in lines if line.text and not line.text.startswith(b"#")]


def parse_domains(name: str, lines: list[Line]) -> frozenset[bytes]:
    """A list of domains, lowercased."""
    for line in entries(lines):
        if any(byte <= 32 or byte in b"@:\x7f" for byte in line.text):
            raise ControlError(name, line.number, f"{shown(line.text)} is not a domain")
    return frozenset(line.text.lower() for line in entries(lines))


def parse_colon_map(name: str, lines: list[Line]) -> dict[bytes, bytes]:
    """`key:value` lines; keys lowercased, the last of equal keys wins (spec/control-files.md 2)."""
    found: dict[bytes, bytes] = {}
    for line in entries(lines):
        key, colon, value = line.text.partition(b":")
        if not colon:
            raise ControlError(name, line.number, f"no colon in {shown(line.text)}")
        found[key.lower()] = value
    return found


def shown(text: bytes) -> str:
    """Return `text` quoted and printable, cut to a readable length."""
    return '"' + "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in text[:80]) + '"'


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
