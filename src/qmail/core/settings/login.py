"""What qmail-pspawn reads in control/."""

from dataclasses import dataclass
from enum import StrEnum

from qmail.core.settings.controls import (
    ControlError,
    Line,
    control,
    entries,
    parse_integer,
    parse_word,
    shown,
)
from qmail.core.settings.pop3 import CONCURRENCYPOP3
from qmail.core.shell_words import simple_words


def parse_program(name: str, lines: list[Line]) -> tuple[bytes, ...]:
    """Return a program and its arguments: the words of the one line, or one argument a line."""
    listed = entries(lines)
    if any(b"\0" in line.text for line in listed):
        raise ControlError(name, 1, "a NUL byte inside the line")
    if len(listed) != 1:
        return tuple(line.text for line in listed)
    words = simple_words(listed[0].text, {})
    if words is None:
        what = f"{shown(listed[0].text)} is more than words: write one argument a line"
        raise ControlError(name, listed[0].number, what)
    return words


class Apop(StrEnum):
    """What control/apop may say."""

    NO = "no"
    """APOP is not offered."""
    YES = "yes"
    """It is, where a checkpassword program decides: that one has passwords in the clear."""


def parse_apop(name: str, lines: list[Line]) -> Apop:
    """First line as one of the words of `Apop`."""
    return parse_word(Apop, name, lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginControls:
    """What qmail-pspawn reads."""

    checkpassword: tuple[bytes, ...] = control(
        parse_program,
        (),
        kind="list",
        doc="A checkpassword program that decides about logins, and its arguments, one a line.",
    )
    apop: Apop = control(
        parse_apop,
        Apop.NO,
        doc="Whether the program of checkpassword can do APOP: yes or no.",
    )
    concurrencypop3: int = CONCURRENCYPOP3
    concurrencypop3login: int = control(
        parse_integer,
        10,
        kind="integer",
        doc="POP3 sessions at once of one login; 0 is no limit.",
    )
