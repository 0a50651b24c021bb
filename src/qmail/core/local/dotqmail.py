"""`.qmail` files: which one governs an address, and its lines as instructions.

Source: spec/delivery.md 4 and 5.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

DOTQMAIL_BYTES_MAX: Final = 8 * 1024 * 1024
OWNER_TAIL: Final = b"-owner"
DEFAULT: Final = b"default"


@dataclass(frozen=True, slots=True)
class Maildir:
    """Deliver to a maildir; `path` ends in a slash."""

    path: bytes


@dataclass(frozen=True, slots=True)
class Mbox:
    """Append to an mbox file."""

    path: bytes


@dataclass(frozen=True, slots=True)
class Program:
    """Run a command by the shell."""

    command: bytes


@dataclass(frozen=True, slots=True)
class Forward:
    """Send the message on to another address, together with the other forward lines."""

    address: bytes


@dataclass(frozen=True, slots=True)
class Refuse:
    """A line that must not be obeyed: the delivery is put off when it is reached."""

    reason: bytes


Instruction = Maildir | Mbox | Program | Forward | Refuse


def parse(text: bytes, *, forward_only: bool) -> tuple[Instruction, ...]:
    """Return what the lines of a `.qmail` file say, as `numbered` does, without their numbers."""
    return tuple(instruction for _, instruction in numbered(text, forward_only=forward_only))


def numbered(text: bytes, *, forward_only: bool) -> Iterator[tuple[int, Instruction]]:
    """Yield the instructions of a `.qmail` file, each with the number of its line.

    `forward_only`: the file's owner-execute bit. Never fails: a line that may not be obeyed becomes
    a `Refuse` at its place, so that what stands before it is still done.
    Source: spec/delivery.md 5.
    """
    for number, raw in enumerate(text.split(b"\n"), 1):
        line = raw.rstrip(b" \t")
        if not line:
            if number == 1:
                yield number, Refuse(b"The first line of the .qmail file is blank. (#4.2.1)\n")
        elif b"\0" in line and line[0] != _COMMENT:
            yield number, Refuse(b"A line of the .qmail file contains a NUL byte. (#4.2.1)\n")
        elif line == b"+list":
            forward_only = True
        elif line[0] not in b"#+":
            instruction = _instruction(line)
            if forward_only and isinstance(instruction, Maildir | Mbox | Program):
                instruction = Refuse(_NOT_HERE)
            if instruction != _NOTHING:
                yield number, instruction


_COMMENT: Final = ord("#")
_NOTHING: Final = Forward(b"")
_NOT_HERE: Final = b"The .qmail file may only forward: it is executable or has +list. (#4.7.0)\n"


def _instruction(line: bytes) -> Instruction:
    """Return what one line means; a lone `&` is nothing (spec/oddities.md 7)."""
    match line[:1]:
        case b"|":
            return Program(line[1:])
        case b"." | b"/":
            return Maildir(line) if line.endswith(b"/") else Mbox(line)
        case b"&":
            return Forward(line[1:])
        case _:
            return Forward(line)


def doubt_about(address: bytes) -> bytes:
    """Say what is in a forward address that is hardly meant to be a part of it; b"" for nothing.

    It is used as it stands all the same. Source: spec/oddities.md 7.
    """
    if address.strip(b" \t") != address:
        return b"a blank before it"
    if address.startswith(b"<") or address.endswith(b">"):
        return b"brackets around it"
    if address.endswith(b")"):
        return b"a comment behind it"
    return b""


def safe_ext(ext: bytes) -> bytes:
    """Return `ext` as it stands in file names: lowercase, a colon for each dot."""
    return ext.lower().replace(b".", b":")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A name to look for. `default`: what the environment's DEFAULT is if this is the one."""

    name: bytes
    default: bytes | None


def candidates(dash: bytes, ext: bytes) -> Iterator[Candidate]:
    """Yield the `.qmail` files that may govern an address, in the order of the search.

    A bare user has `.qmail` only (spec/oddities.md 7); an assignment without a dash has defaults as
    any other. Source: spec/delivery.md 4.
    """
    safe = safe_ext(ext)
    ends_in_default = safe.endswith(DEFAULT)
    yield Candidate(b".qmail" + dash + safe, ext[-len(DEFAULT) :] if ends_in_default else None)
    if not dash and not ext:
        return
    length = safe.rfind(b"-") + 1
    while True:
        yield Candidate(b".qmail" + dash + safe[:length] + DEFAULT, ext[length:])
        if length == 0:
            return
        # The next shorter prefix ends in a hyphen as well, or is empty.
        length = safe.rfind(b"-", 0, length - 1) + 1


def owner_files(dash: bytes, ext: bytes) -> tuple[bytes, bytes]:
    """Return the files whose existence makes bounces go to the list's owner, and asks for VERP.

    Source: spec/delivery.md 6.
    """
    owner = b".qmail" + dash + safe_ext(ext) + OWNER_TAIL
    return owner, owner + b"-" + DEFAULT
