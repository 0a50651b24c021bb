"""users/assign: who controls which addresses, line by line; and its records in users/cdb.

    =local:user:uid:gid:home:dash:ext:      the address `local`
    +loc:user:uid:gid:home:dash:pre:        every address that starts with `loc`
    .                                       the last line

Source: spec/control-files.md 5, spec/delivery.md 2.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Final

from qmail.core.settings.lines import shown
from qmail.protocol.local_door import Owner

ASSIGN: Final = "users/assign"
LINE_BYTES_MAX: Final = 8192
"""Longest line, and so the longest record."""
COLONS: Final = 7
ID_MAX: Final = 0xFFFFFFFE
"""Largest uid and gid: the next number is -1, "as it was", to the kernel."""
WILDCHARS_KEY: Final = b""
"""The key of the record that lists the last bytes of all wildcards, to save look-ups."""
WILDCARD: Final = b"+"
SIMPLE: Final = b"="


class AssignError(ValueError):
    """A line of a file in users/ that can't be used; the text names file, line and what to do."""

    def __init__(self, name: str, line: int, wrong: str) -> None:
        super().__init__(f"{name}:{line}: {wrong}")


@dataclass(frozen=True, slots=True)
class Assignment:
    """One line. `local` is without its first byte; `fields` are user, uid, gid, home, dash, ext."""

    number: int
    is_wildcard: bool
    local: bytes
    fields: tuple[bytes, ...]

    @property
    def record(self) -> tuple[bytes, bytes]:
        """Key and data in users/cdb."""
        key = wildcard_key(self.local) if self.is_wildcard else simple_key(self.local)
        return key, b"\0".join(self.fields)


def simple_key(local: bytes) -> bytes:
    """Return the key of the simple assignment for `local`."""
    return b"!" + local.lower() + b"\0"


def wildcard_key(local: bytes) -> bytes:
    """Return the key of the wildcard assignment for what starts with `local`."""
    return b"!" + local.lower()


def key_shown(key: bytes) -> bytes:
    """Return how a line of users/assign with this key begins: `=local` or `+loc`."""
    if key.endswith(b"\0"):
        return SIMPLE + key[1:-1]
    return WILDCARD + key[1:]


# --- lines of users/assign ----------------------------------------------------------------------


def lines_of(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a file; of one that is too long, a part that is too long as well."""
    while line := file.readline(LINE_BYTES_MAX + 2):
        yield line


def assignments(lines: Iterable[bytes], name: str = ASSIGN) -> Iterator[Assignment]:
    """Yield the assignments of a file, up to the line that ends it.

    Raises: AssignError: a bad line, or no line with a dot; what was yielded before then counts for
    nothing.
    """
    number = 0
    for number, line in enumerate(lines, 1):
        if line.startswith(b"."):
            return
        yield parse_assignment(line.rstrip(b"\n"), number, name)
    raise AssignError(
        name, number + 1, "the last line must be a dot: without it the file may be cut short"
    )


def parse_assignment(line: bytes, number: int, name: str = ASSIGN) -> Assignment:
    """Parse one line, without its LF.

    Raises: AssignError: too few colons, a number that is none, a NUL, a relative home, too long.
    """
    if len(line) > LINE_BYTES_MAX:
        raise AssignError(name, number, f"longer than {LINE_BYTES_MAX} bytes")
    if b"\0" in line:
        raise AssignError(name, number, "a NUL byte inside the line: remove it")
    address, *fields = line.split(b":")
    if not address or len(fields) < COLONS:
        wrong = f"{shown(line)} is not '=LOCAL:USER:UID:GID:HOME:DASH:EXT:'"
        raise AssignError(name, number, f"{wrong}; '+' in place of '=' for all that starts so")
    try:
        owner_of_fields(fields[:6])
    except ValueError as wrong_field:
        raise AssignError(name, number, str(wrong_field)) from None
    return Assignment(number, address[:1] == WILDCARD, address[1:], tuple(fields[:6]))


def records(found: Iterable[Assignment]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the records of users/cdb; the one with the last bytes of the wildcards comes last."""
    wildchars: dict[bytes, None] = {}
    for assignment in found:
        if assignment.is_wildcard and assignment.local:
            # As it is written: `+Joe` gives an upper-case byte that no look-up ever asks for.
            wildchars[assignment.local[-1:]] = None
        yield assignment.record
    yield WILDCHARS_KEY, b"".join(wildchars)


# --- owners -------------------------------------------------------------------------------------


def unpack_owner(data: bytes, rest: bytes = b"") -> Owner:
    """Return the owner that the data of a record names; `rest` is what a wildcard did not cover.

    Raises: ValueError: the data is not what a line of users/assign gives.
    """
    if len(data) > LINE_BYTES_MAX:
        raise ValueError(f"longer than {LINE_BYTES_MAX} bytes")
    fields = data.split(b"\0")
    if len(fields) != 6:
        raise ValueError(f"{len(fields)} fields in place of 6")
    return owner_of_fields(fields, rest)


def owner_of_fields(fields: list[bytes], rest: bytes = b"") -> Owner:
    """Return the owner of user, uid, gid, home, dash, ext. Raises: ValueError: one is wrong."""
    user, uid, gid, home, dash, ext = fields
    if not home.startswith(b"/"):
        raise ValueError(f"the home {shown(home)} does not start with a slash")
    return Owner(user, _id("uid", uid), _id("gid", gid), home, dash, ext + rest)


def _id(what: str, text: bytes) -> int:
    if not text.isdigit() or len(text) > 10 or int(text) > ID_MAX:
        raise ValueError(f"the {what} {shown(text)} is not a number from 0 to {ID_MAX}")
    return int(text)
