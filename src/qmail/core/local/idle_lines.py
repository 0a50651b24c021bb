"""Lines of a `.qmail` that would do nothing at this moment, so that no program starts for them.

`|dot-forward .forward` in the default delivery is run for each message to everybody, and few people
have that file. Without it dot-forward ends with 0, and the next line has its turn: the delivery can
see that by itself, and stays quick. Source: spec/companion.md 1.
"""

import os
from dataclasses import replace
from typing import Final

from qmail.core.local.dotqmail import Instruction, Program
from qmail.core.local.plan import Plan
from qmail.core.shell_words import simple_words

COMMAND: Final = b"dot-forward"


def without_idle_lines(plan: Plan, home: bytes) -> tuple[Plan, int]:
    """Return the plan without such lines, and how many there are of them."""
    kept = tuple(line for line in plan.instructions if not _is_idle(line, home))
    idle = len(plan.instructions) - len(kept)
    return (replace(plan, instructions=kept), idle) if idle else (plan, 0)


def _is_idle(line: Instruction, home: bytes) -> bool:
    words = simple_words(line.command, {}) if isinstance(line, Program) else None
    if words is None or os.path.basename(words[0]) != COMMAND or len(words) < 2:
        return False
    if any(word.startswith(b"-") for word in words[1:]):
        return False
    return all(_is_absent(os.path.join(home, word)) for word in words[1:])


def _is_absent(path: bytes) -> bool:
    """Say whether dot-forward would pass the file over: any other trouble is for it to tell."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False
