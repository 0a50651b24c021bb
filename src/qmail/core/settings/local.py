"""The two control files of local delivery: what the original was compiled with.

They stand apart from `core.settings.programs` so that qmail-local and qmail-getpw, which may start
for every message, read them and import no more.
"""

from dataclasses import dataclass
from typing import Final

from qmail.core.addresses.users import BREAK
from qmail.core.local.home_files import PATRN
from qmail.core.settings.controls import ControlError, Line, control, parse_line, shown

PATRN_MAX: Final = 0o077
"""What control/patrn may forbid: bits of the owner would close homes to their own users."""


class ModeBits(int):
    """Mode bits; people read and write them in octal."""

    def __str__(self) -> str:
        return f"{self:03o}"


def parse_break(name: str, lines: list[Line]) -> bytes:
    """First line as one character, or nothing."""
    text = parse_line(name, lines)
    if len(text) > 1 or text[:1].isalnum() or not all(32 < byte < 127 for byte in text):
        wrong = f"{shown(text)} is not one character that ends a user's name"
        raise ControlError(name, 1, f"{wrong}, like '-' or '+'; empty: no extensions")
    if text in {b"@", b"/", b":"}:
        raise ControlError(name, 1, f"{shown(text)} can't end a user's name: take '-' or '+'")
    return text


def parse_patrn(name: str, lines: list[Line]) -> ModeBits:
    """First line as mode bits in octal: those of group and others at most."""
    text = parse_line(name, lines)
    if not text or len(text) > 4 or text.strip(b"01234567"):
        raise ControlError(name, 1, f"{shown(text)} is not octal mode bits, like 002 or 022")
    if int(text, 8) & ~PATRN_MAX:
        raise ControlError(name, 1, f"{shown(text)} has bits outside 077: take 002 or 022")
    return ModeBits(text, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalControls:
    """What qmail-lspawn, qmail-verify, qmail-local, qmail-getpw and qmail-pw2u read."""

    break_: bytes = control(
        parse_break,
        BREAK,
        doc="What ends the user's name and begins the extension; empty: no extensions.",
    )
    patrn: int = control(
        parse_patrn,
        ModeBits(PATRN),
        doc="Mode bits, in octal, that neither a home nor a .qmail file may have.",
    )
