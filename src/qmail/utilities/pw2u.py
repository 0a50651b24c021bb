"""qmail-pw2u: make lines of users/assign from the accounts of the machine (spec/programs.md 3).

    qmail-pw2u [-/ohHuUC] [-c char] <passwd >users/assign

The files include, exclude, mailnames, subusers and append of users/ have their say.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from qmail.core.addresses.assign import AssignError, lines_of
from qmail.core.addresses.pw2u import (
    Homes,
    Rules,
    StoppedError,
    assign_lines,
    parse_mailnames,
    parse_names,
    parse_subusers,
)
from qmail.core.settings.controls import CONTROL_BYTES_MAX, ControlError, Line, control_reader, load
from qmail.core.settings.controls import split_lines as split
from qmail.core.settings.local import LocalControls, parse_break
from qmail.edge.machine.accounts import home_folder
from qmail.edge.machine.passwd import Machine
from qmail.protocol.exits import Exit
from qmail.protocol.options import OptionError, asks_for_help, split_options

USAGE: Final = "qmail-pw2u: usage: qmail-pw2u [ -/ohHuUC ] [ -c char ]"
LETTERS: Final = "/ohHuUCc:"
MEANINGS: Final[dict[str, dict[str, Any]]] = {
    "o": {"homes": Homes.SKIP},
    "h": {"homes": Homes.STOP},
    "H": {"homes": Homes.IGNORE},
    "u": {"allows_upper": True},
    "U": {"allows_upper": False},
    "C": {"break_": b""},
    "/": {"dash": b"-/"},
}


def main(argv: Sequence[str]) -> int:
    """Read descriptor 0, write descriptor 1. Returns: 0, 100 for wrong options, 111 for trouble."""
    if asks_for_help(argv, ("--help",)):
        print(USAGE, file=sys.stderr)
        return Exit.PERMANENT
    try:
        chosen = choices(argv)
    except (OptionError, ControlError) as wrong:
        print(f"qmail-pw2u: {wrong}\n{USAGE}", file=sys.stderr)
        return Exit.PERMANENT
    home = home_folder()
    try:
        rules = read_rules(home, chosen)
        appended = _read(home, "append")
        write = sys.stdout.buffer.write
        for line in assign_lines(lines_of(sys.stdin.buffer), rules, Machine()):
            write(line)
        write(appended or b"")
        write(b"\n.\n" if appended and not appended.endswith(b"\n") else b".\n")
        sys.stdout.buffer.flush()
    except (AssignError, ControlError, StoppedError) as wrong:
        print(f"qmail-pw2u: fatal: {wrong}", file=sys.stderr)
        return Exit.TEMPORARY
    except OSError as trouble:
        where = f"{os.fsdecode(trouble.filename)}: " if trouble.filename else ""
        print(f"qmail-pw2u: fatal: {where}{trouble.strerror}", file=sys.stderr)
        return Exit.TEMPORARY
    return Exit.OK


def choices(argv: Sequence[str]) -> dict[str, Any]:
    """Return what the options say of the rules; the last of several that differ counts.

    Raises: OptionError, ControlError: wrong usage.
    """
    options, words = split_options(argv, LETTERS)
    if words:
        raise OptionError(f"unexpected argument -- {words[0]}")
    chosen: dict[str, Any] = {}
    for letter, value in options:
        if letter == "c":
            chosen["break_"] = parse_break("break", [Line(1, os.fsencode(value))])
        else:
            chosen.update(MEANINGS[letter])
    return chosen


def read_rules(home: str, chosen: dict[str, Any]) -> Rules:
    """Read the files of users/ and control/break. Raises: OSError, AssignError, ControlError."""
    alias_home = os.fsencode(f"{home}/alias")
    include = _read(home, "include")
    found: dict[str, Any] = {
        "include": None if include is None else parse_names(split(include)),
        "exclude": parse_names(split(_read(home, "exclude") or b"")),
        "mailnames": parse_mailnames(split(_read(home, "mailnames") or b""), "users/mailnames"),
        "subusers": parse_subusers(split(_read(home, "subusers") or b""), "users/subusers"),
        "alias_home": alias_home if os.path.isdir(alias_home) else b"",
    }
    if "break_" not in chosen:
        found["break_"] = load(LocalControls, control_reader(home)).break_
    return Rules(**{**found, **chosen})


def _read(home: str, name: str) -> bytes | None:
    """Return a file of users/, None where it is missing. Raises: OSError, AssignError: too long."""
    try:
        with open(f"{home}/users/{name}", "rb") as file:
            found = file.read(CONTROL_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    if len(found) > CONTROL_BYTES_MAX:
        raise AssignError(f"users/{name}", 1, f"longer than {CONTROL_BYTES_MAX} bytes")
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
