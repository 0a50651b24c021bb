"""What the suite's own commands in a `.qmail` line would do, without running them.

Of other programs nothing is guessed. Source: spec/programs.md 6.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from qmail.core.explanation import Step, printable
from qmail.core.shell_words import simple_words
from qmail.protocol.exits import Exit
from qmail.protocol.local_exits import program_exit

EXIT_DIGITS_MAX: Final = 3


@dataclass(slots=True)
class Command:
    """One command with what it finds in its environment; gathers what it would do."""

    arguments: Sequence[bytes]
    variables: Mapping[bytes, bytes]
    steps: list[Step] = field(default_factory=list)
    onward: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Senders and recipients of what it would send on."""
    exit: Exit = Exit.OK

    def say(self, text: str, file: str = "", line: int = 0) -> None:
        """Add a detail."""
        self.steps.append(Step("", text, file, line, depth=1))

    def send(self, sender: bytes, address: bytes) -> None:
        """Add a recipient of what is sent on."""
        self.onward.append((sender, address))


def tell_command(line: bytes, variables: Mapping[bytes, bytes]) -> Command | None:
    """Return what a program line would do; None: not one of ours, or more than one command."""
    words = simple_words(line, variables)
    if words is None:
        return None
    name, *arguments = words
    teller = TELLERS.get(os.path.basename(name))
    if teller is None or not arguments:
        return None
    command = Command(arguments, variables)
    teller(command)
    return command


def _forward(command: Command) -> None:
    sender = command.variables[b"NEWSENDER"]
    for address in command.arguments:
        command.say(f"forward: sends it to {printable(address)}, from {_shown(sender)}")
        command.send(sender, address)


def _condredirect(command: Command) -> None:
    address, *program = command.arguments
    if not program:
        command.say("condredirect: wrong usage, it bounces")
        command.exit = Exit.PERMANENT
        return
    sender = command.variables[b"SENDER"]
    command.say(
        f"condredirect: if {_command(program)} ends with 0, sends it to {printable(address)},"
        f" from {_shown(sender)}, and nothing that follows is done"
    )
    command.send(sender, address)


def _bouncesaying(command: Command) -> None:
    text, *program = command.arguments
    if program:
        command.say(
            f'bouncesaying: if {_command(program)} ends with 0, bounces "{printable(text)}"'
        )
        return
    command.say(f'bouncesaying: bounces "{printable(text)}"')
    command.exit = Exit.PERMANENT


def _except(command: Command) -> None:
    command.say(f"except: if {_command(command.arguments)} ends with 0, it bounces; else goes on")


def _preline(command: Command) -> None:
    words = _command(command.arguments)
    command.say(f"preline: the lines on top of a mailbox message, then the message, to {words}")


def _exit(command: Command) -> None:
    word, *more = command.arguments
    if more or not word.isdigit() or len(word) > EXIT_DIGITS_MAX:
        return
    command.exit = program_exit(int(word))
    command.say(f"exit {int(word)}: {MEANINGS[command.exit]}")


MEANINGS: Final = {
    Exit.OK: "goes on with the next line",
    Exit.STOP: "what follows is skipped",
    Exit.PERMANENT: "bounces",
    Exit.TEMPORARY: "put off",
}
TELLERS: Final[Mapping[bytes, Callable[[Command], None]]] = {
    b"forward": _forward,
    b"condredirect": _condredirect,
    b"bouncesaying": _bouncesaying,
    b"except": _except,
    b"preline": _preline,
    b"exit": _exit,
}


def _command(words: Sequence[bytes]) -> str:
    return f'"{printable(b" ".join(words))}"'


def _shown(sender: bytes) -> str:
    return printable(sender) or "<>"
