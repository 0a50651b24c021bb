"""What the suite's own commands in a `.qmail` line would do, without running them.

Of other programs nothing is guessed.
"""

import os
from collections.abc import Callable, Mapping
from typing import Final

from qmail.core.explain.aliases import tell_dot_forward, tell_fastforward
from qmail.core.explain.tools import (
    Command,
    tell_bouncesaying,
    tell_condredirect,
    tell_except,
    tell_exit,
    tell_forward,
    tell_preline,
)
from qmail.core.settings.controls import ReadFile
from qmail.core.shell_words import simple_words

TELLERS: Final[Mapping[bytes, Callable[[Command], None]]] = {
    b"forward": tell_forward,
    b"condredirect": tell_condredirect,
    b"bouncesaying": tell_bouncesaying,
    b"except": tell_except,
    b"preline": tell_preline,
    b"exit": tell_exit,
    b"fastforward": tell_fastforward,
    b"dot-forward": tell_dot_forward,
}


def tell_command(
    line: bytes, variables: Mapping[bytes, bytes], read_control: ReadFile
) -> Command | None:
    """Return what a program line would do; None: not one of ours, or more than one command."""
    words = simple_words(line, variables)
    if words is None:
        return None
    name, *arguments = words
    teller = TELLERS.get(os.path.basename(name))
    if teller is None or not arguments:
        return None
    command = Command(arguments, variables, read_control)
    teller(command)
    return command
