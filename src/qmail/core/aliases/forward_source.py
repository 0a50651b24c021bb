"""The written form of a forwarding table: `target: command, command;` (setforward, printforward).

Source: spec/companion.md 2.2.
"""

from __future__ import annotations

from qmail.core.aliases.entries import ADDRESS_BYTES_MAX
from qmail.core.aliases.forward_table import stored_entries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Final

    Record = tuple[bytes, bytes]

SOURCE_BYTES_MAX: Final = 256 * 1024 * 1024
_IGNORED: Final = b" \t\n"
_ESCAPED: Final = bytes(range(33)) + b",:;\\#"
_COMMANDS: Final = (b"|", b"!", b".", b"/", b"&")


class SourceError(ValueError):
    """Text that is no table; it says in which line, and why."""

    def __init__(self, line: int, wrong: str) -> None:
        super().__init__(f"line {line}: {wrong}")


class TableError(ValueError):
    """Records that are no forwarding table."""


def read_source(text: bytes) -> list[Record]:
    """Return the records that a table is made from.

    Raises: SourceError.
    """
    records: list[Record] = []
    instruction = _Instruction(1)
    for mark, byte, line in _marks(text):
        if mark == b":":
            instruction.begin_commands(line)
        elif mark in (b",", b";"):
            instruction.end_command(line)
            if mark == b";":
                records += instruction.records()
                instruction = _Instruction(line)
        else:
            instruction.add(byte, line)
    if not instruction.is_empty:
        raise SourceError(instruction.line, "the last instruction does not end with a semicolon")
    return records


def _marks(text: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield each byte that counts with its line; first a mark, b"" where it stands for itself."""
    at, line, end = 0, 1, len(text)
    while at < end:
        byte = text[at]
        at += 1
        if byte == ord("#"):
            # The line's end is left for the next turn, which counts it.
            found = text.find(b"\n", at)
            at = end if found < 0 else found
        elif byte in _IGNORED:
            line += byte == ord("\n")
        elif byte in b":,;":
            yield bytes((byte,)), byte, line
        else:
            if byte == ord("\\"):
                if at == end:
                    raise SourceError(line, "a backslash at the end")
                byte = text[at]
                at += 1
            if byte == 0:
                raise SourceError(line, "a NUL byte is not permitted")
            yield b"", byte, line
            line += byte == ord("\n")


class _Instruction:
    """One `target: command, command;`, as far as it is read."""

    def __init__(self, line: int) -> None:
        self.line = line
        self._target = bytearray()
        self._command = bytearray()
        self._commands: list[bytes] = []
        self._owners: list[bytes] = []
        self._has_target = False

    @property
    def is_empty(self) -> bool:
        """True while nothing of it was read."""
        return not (self._target or self._has_target)

    def add(self, byte: int, line: int) -> None:
        """Add a byte to what is being read."""
        if self.is_empty:
            self.line = line
        (self._command if self._has_target else self._target).append(byte)

    def begin_commands(self, line: int) -> None:
        """Take the colon."""
        if self._has_target:
            raise SourceError(line, "a second colon; one inside an address needs a backslash")
        self._has_target = True

    def end_command(self, line: int) -> None:
        """Take a comma or semicolon."""
        if not self._has_target:
            raise SourceError(line, "a comma or semicolon before the colon")
        command = bytes(self._command)
        self._command.clear()
        if command.startswith(b"?"):
            self._owners.append(command[1:])
        elif command[:1] in (b"|", b"!", b".", b"/"):
            self._commands.append(command)
        elif command:
            if len(command) > ADDRESS_BYTES_MAX:
                raise SourceError(line, f"an address is longer than {ADDRESS_BYTES_MAX} bytes")
            self._commands.append(command if command.startswith(b"&") else b"&" + command)

    def records(self) -> Iterator[Record]:
        """Yield the owners, then everything else in one record, as the original orders them."""
        name = bytes(self._target).lower()
        for owner in self._owners:
            yield b"?" + name, owner
        if self._commands:
            yield b":" + name, b"".join(command + b"\0" for command in self._commands)


# --- and back -----------------------------------------------------------------------------------


def write_source(records: Iterable[Record]) -> Iterator[bytes]:
    """Yield the text of each record, from which `read_source` makes the same record.

    Raises: TableError: something that is no record of a forwarding table.
    """
    for key, data in records:
        mark, name = key[:1], _escape(key[1:])
        if mark == b"?":
            yield name + b": ?" + _escape(data) + b";\n"
        elif mark == b":":
            yield name + b":\n" + b"".join(_commands(key, data)) + b";\n"
        else:
            raise TableError(f"{_shown(key)} is no record of a forwarding table")


def _commands(key: bytes, data: bytes) -> Iterator[bytes]:
    if not data.endswith(b"\0"):
        raise TableError(f"{_shown(key)}: the last command has no end")
    for command in stored_entries(data):
        if command[:1] not in _COMMANDS:
            raise TableError(f"{_shown(key)}: {_shown(command)} is no command")
        yield b", " + _escape(command) + b"\n"


def _escape(text: bytes) -> bytes:
    return b"".join(
        (b"\\" if byte in _ESCAPED else b"") + text[at : at + 1] for at, byte in enumerate(text)
    )


def _shown(text: bytes) -> str:
    return '"' + "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in text[:80]) + '"'
