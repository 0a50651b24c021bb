"""What small commands in a `.qmail` line would do, without running them (spec/programs.md 6)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from qmail.core.explain.explanation import Step, printable
from qmail.core.settings.controls import ReadFile
from qmail.protocol.exits import Exit
from qmail.protocol.local_exits import program_exit

EXIT_DIGITS_MAX: Final = 3


@dataclass(slots=True)
class Command:
    """One command with what it finds in its environment; gathers what it would do."""

    arguments: Sequence[bytes]
    variables: Mapping[bytes, bytes]
    read_control: ReadFile
    steps: list[Step] = field(default_factory=list)
    onward: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Senders and recipients of what it would send on."""
    exit: Exit = Exit.OK
    """What becomes of the delivery, as far as that can be said."""

    def say(self, text: str, file: str = "", line: int = 0) -> None:
        """Add a detail."""
        self.steps.append(Step("", text, file, line, depth=1))

    def end(self, text: str, code: Exit) -> None:
        """Add the detail that ends the delivery here."""
        self.say(text)
        self.exit = code

    def send(self, sender: bytes, address: bytes) -> None:
        """Add a recipient of what is sent on."""
        self.onward.append((sender, address))


def tell_forward(command: Command) -> None:
    """Say who gets it, from the sender that NEWSENDER is."""
    sender = command.variables[b"NEWSENDER"]
    for address in command.arguments:
        command.say(f"forward: sends it to {printable(address)}, from {_shown(sender)}")
        command.send(sender, address)


def tell_condredirect(command: Command) -> None:
    """Say who gets it if a program agrees."""
    address, *program = command.arguments
    if not program:
        command.end("condredirect: wrong usage, it bounces", Exit.PERMANENT)
        return
    sender = command.variables[b"SENDER"]
    command.say(
        f"condredirect: if {_command(program)} ends with 0, sends it to {printable(address)},"
        f" from {_shown(sender)}, and nothing that follows is done"
    )
    command.send(sender, address)


def tell_bouncesaying(command: Command) -> None:
    """Say what the sender is told."""
    text, *program = command.arguments
    if program:
        command.say(
            f'bouncesaying: if {_command(program)} ends with 0, bounces "{printable(text)}"'
        )
        return
    command.end(f'bouncesaying: bounces "{printable(text)}"', Exit.PERMANENT)


def tell_except(command: Command) -> None:
    """Say what a program decides."""
    command.say(f"except: if {_command(command.arguments)} ends with 0, it bounces; else goes on")


def tell_preline(command: Command) -> None:
    """Say what a program gets."""
    words = _command(command.arguments)
    command.say(f"preline: the lines on top of a mailbox message, then the message, to {words}")


def tell_exit(command: Command) -> None:
    """Say what the exit code means; the shell has this one itself."""
    word, *more = command.arguments
    if more or not word.isdigit() or len(word) > EXIT_DIGITS_MAX:
        return
    meaning = program_exit(int(word))
    command.end(f"exit {int(word)}: {MEANINGS[meaning]}", meaning)


MEANINGS: Final = {
    Exit.OK: "goes on with the next line",
    Exit.STOP: "what follows is skipped",
    Exit.PERMANENT: "bounces",
    Exit.TEMPORARY: "put off",
}


def _command(words: Sequence[bytes]) -> str:
    return f'"{printable(b" ".join(words))}"'


def _shown(sender: bytes) -> str:
    return printable(sender) or "<>"
