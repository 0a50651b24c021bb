"""qsmhook: run a program that Sendmail's mailer rules describe (spec/programs.md 6)."""

from __future__ import annotations

import os
from itertools import chain

from qmail.edge.tools.line_tool import (
    PERMANENT,
    command_line,
    feed_program,
    message,
    run_tool,
    variable,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

NAME: Final = "qsmhook"
USAGE: Final = "qsmhook: usage: qsmhook [ -DFlMmnPs ] [ -x prefix ] program [ arg ... ]"


def main(argv: Sequence[str]) -> int:
    """Run the program with its arguments filled in, on lines and message; end as it does."""
    line = command_line(USAGE, argv, "DFlMmnPsx:")
    if line is None:
        return PERMANENT
    options, program = line
    return run_tool(NAME, lambda: hook(dict(options), program))


def hook(options: Mapping[str, str], program: Sequence[str]) -> int:
    """Run the program. Returns the exit code."""
    names = ("SENDER", "LOCAL", "HOST", "UFLINE", "RPLINE", "DTLINE")
    sender, local, host, *lines = map(variable, names)
    is_wanted = ("n" not in options, "P" in options, "l" in options)
    kept = [line for line, wanted in zip(lines, is_wanted, strict=True) if wanted]
    user = without_prefix(local, os.fsencode(options.get("x", "")))
    values = {b"g": sender, b"h": host, b"u": user, b"%": b"%"}
    words = [os.fsdecode(filled(os.fsencode(word), values)) for word in program]
    return feed_program(words, chain(kept, message()))


def without_prefix(local: bytes, prefix: bytes) -> bytes:
    """Take `prefix`, whose case does not matter, off a local part that begins with it."""
    return local[len(prefix) :] if local.lower().startswith(prefix.lower()) else local


def filled(word: bytes, values: Mapping[bytes, bytes]) -> bytes:
    """Replace % and the letter after it by its value; one without a value stays as it is."""
    done, rest = b"", word
    while rest:
        text, percent, rest = rest.partition(b"%")
        letter, rest = (rest[:1], rest[1:]) if percent else (b"", rest)
        done += text + values.get(letter, percent + letter)
    return done
