"""Control files as lines: part of `core.settings.controls`, which exports all this.

It stands alone so that sendmail and qmail-inject can read their four hosts and import no more.
Source: spec/control-files.md 1.
"""

from __future__ import annotations

from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Final

    ReadFile = Callable[[str], bytes | None]
    """Returns the bytes of control/NAME, None when there is no such file; raises OSError else."""

CONTROL_BYTES_MAX: Final = 64 * 1024 * 1024
USUAL_BYTES: Final = 4096
"""Python makes room for as much as is asked for: 64 MB for each host name would take its time."""
ME: Final = "me"
"""As a default: the value of control/me."""


class ControlError(ValueError):
    """A control file that can't be used; the text names the file, the line and what is wrong."""

    def __init__(self, name: str, line: int, wrong: str) -> None:
        super().__init__(f"control/{name}:{line}: {wrong}")
        self.name = name
        self.line = line
        self.wrong = wrong


class Line(Record):
    """One line of a list file, with its number for messages (counted from 1)."""

    number: int
    text: bytes


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
                data = file.read(USUAL_BYTES)
                if len(data) == USUAL_BYTES:
                    data += file.read(CONTROL_BYTES_MAX + 1 - USUAL_BYTES)
        except FileNotFoundError:
            return None
        if len(data) > CONTROL_BYTES_MAX:
            raise ControlError(name, 1, f"longer than {CONTROL_BYTES_MAX} bytes")
        return data

    return read_file


def read_named_file(environ: Mapping[bytes, bytes], variable: bytes) -> bytes | None:
    """Return what the file holds that a variable names; None: no such variable, or no such file.

    Raises: OSError: it can't be read. ControlError: it is longer than CONTROL_BYTES_MAX.
    """
    path = environ.get(variable)
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            raw = file.read(CONTROL_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    if len(raw) > CONTROL_BYTES_MAX:
        raise ControlError(variable.decode(), 1, f"longer than {CONTROL_BYTES_MAX} bytes")
    return raw


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


def shown(text: bytes) -> str:
    """Return `text` quoted and printable, cut to a readable length."""
    return '"' + "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in text[:80]) + '"'
