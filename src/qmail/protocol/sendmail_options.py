"""The command line of sendmail: one table of all its options, and what a command line asks for.

The letters are those of Sendmail 8.17 and of Postfix, so that no program that was written for one
of them fails here. docs/injection.md shows the table; a test compares.
Source: spec/inject.md 10, spec/oddities.md 8.
"""

from __future__ import annotations

from qmail.protocol.options import OptionError, split_options
from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final


class Option(Record):
    """One letter. `value` names what follows it; in brackets: only attached, and not always."""

    letter: str
    value: str
    effect: str
    """"" for one that is accepted and has none; then `why` says what it means elsewhere."""
    why: str = ""


OPTIONS: Final = (
    Option("t", "", "recipients are those of the header as well as the arguments"),
    Option("f", "SENDER", "envelope sender; author of a From that is added"),
    Option("r", "SENDER", "the same"),
    Option("F", "NAME", "name in a From that is added"),
    Option("b", "MODE", "what to do: the modes below"),
    Option("I", "", "the same as `-bi`"),
    Option("q", "[WHAT]", "without recipients: have the queue worked through now"),
    Option("o", "OPTION", "`-oA FILE` names the alias file for `-bi`; others have none"),
    Option("O", "OPTION", "`-O AliasFile=FILE` names the alias file for `-bi`; others have none"),
    Option("i", "", "", "a line with a single dot never ends the message here"),
    Option("v", "", "", "telling how the delivery goes"),
    Option("B", "TYPE", "", "7BIT or 8BITMIME: every message may have 8-bit bytes"),
    Option("N", "DSN", "", "when to report to the sender; only failures are reported"),
    Option("R", "RETURN", "", "how much of the message a bounce has: `control/bouncemaxbytes`"),
    Option("V", "ID", "", "envelope id of reports"),
    Option("X", "FILE", "", "a log of what is read: `qmail trace` has what happened"),
    Option("e", "HOW", "", "how errors are told: always on descriptor 2 and by the exit code"),
    Option("G", "", "", "a message that is passed on, not a new one"),
    Option("U", "", "", "a new message"),
    Option("A", "WHICH", "", "which of two configuration files"),
    Option("C", "FILE", "", "configuration file: `QMAIL_HOME` names the home"),
    Option("D", "FILE", "", "where to write what `-d` shows"),
    Option("d", "[LEVEL]", "", "debugging"),
    Option("E", "[X]", "", "of an old mail program"),
    Option("J", "[X]", "", "of an old mail program"),
    Option("L", "LABEL", "", "name in the log"),
    Option("M", "MACRO", "", "a macro"),
    Option("T", "", "", "a time limit"),
    Option("c", "", "", "no slow deliveries"),
    Option("h", "COUNT", "", "hops so far: they are counted in the header"),
    Option("m", "", "", "the sender may be among the recipients, as always here"),
    Option("n", "", "", "no aliases: they are looked at when a message is delivered"),
    Option("p", "PROTOCOL", "", "how the message came here"),
    Option("s", "", "", "keeping a first line `From `"),
    Option("x", "", "", "of an old mail program"),
)
LETTERS: Final = "".join(
    [
        option.letter + ("::" if option.value[:1] == "[" else ":" if option.value else "")
        for option in OPTIONS
    ]
)


class Mode(Record):
    """What a letter after `-b` asks for. With `refusal` it is not done, for that reason."""

    letter: str
    effect: str
    refusal: str = ""


DAEMON: Final = "qmail-smtpd takes mail from the network, and qmail-start starts it"
MODES: Final = (
    Mode("m", "send a message (the default)"),
    Mode("s", "speak SMTP on descriptors 0 and 1"),
    Mode("p", "show the queue, as `mailq`"),
    Mode("P", "count the messages in the queue: `qmail-qstat`"),
    Mode("i", "make the alias table: `newaliases`"),
    Mode("v", "say where mail for each recipient would go: `qmail explain`"),
    Mode("t", "the same; without recipients for each line of descriptor 0"),
    Mode("h", "show hosts that could not be reached: `qmail-tcpto`"),
    Mode("H", "forget them: `qmail-tcpok`"),
    Mode("d", "", DAEMON),
    Mode("D", "", DAEMON),
    Mode("l", "", DAEMON),
    Mode("a", "", "there is no ARPANET mode"),
    Mode("C", "", "there is no configuration file to check: run 'qmail check'"),
    Mode("z", "", "there is no configuration file to freeze"),
)


class Command(Record):
    """What a command line asks for."""

    mode: str
    sender: str | None
    name: str | None
    takes_header: bool
    queue: str | None
    """What stands after -q; None without one."""
    aliases: str
    """The alias file that -oA or -O AliasFile names, or ""."""
    arguments: tuple[str, ...]


def read_command(argv: Sequence[str], mode: str = "m") -> Command:
    """Read the command line; the last of several options of a kind counts.

    Raises: OptionError: an option or a mode that is not here, or an option behind a recipient.
    """
    options, arguments = split_options(argv, LETTERS)
    sender = name = queue = None
    takes_header, aliases = False, ""
    for letter, value in options:
        if letter in ("f", "r"):
            sender = value
        elif letter == "F":
            name = value
        elif letter == "t":
            takes_header = True
        elif letter == "q":
            queue = value
        elif letter == "b":
            mode = check_mode(value)
        elif letter == "I":
            mode = "i"
        elif letter in ("o", "O"):
            aliases = _alias_file(letter, value) or aliases
    _check_order(argv, arguments)
    return Command(mode, sender, name, takes_header, queue, aliases, tuple(arguments))


def check_mode(value: str) -> str:
    """Return the mode that stands after -b. Raises: OptionError: it is not here, and why."""
    for mode in MODES:
        if mode.letter == value[:1]:
            if mode.refusal:
                raise OptionError(f"-b{value}: {mode.refusal}")
            return mode.letter
    raise OptionError(f"-b{value}: no such mode")


def _alias_file(letter: str, value: str) -> str:
    if letter == "o":
        return value[1:] if value[:1] == "A" else ""
    option, _, rest = value.partition("=")
    return rest if option.strip().lower() == "aliasfile" else ""


def _check_order(argv: Sequence[str], arguments: Sequence[str]) -> None:
    """Refuse what looks like an option behind a recipient: it would be taken for an address.

    What stands behind `--` is a recipient, whatever it looks like.
    """
    start = len(argv) - len(arguments)
    if start and argv[start - 1] == "--":
        return
    for word in arguments[1:]:
        if word[:1] == "-":
            raise OptionError(f"{word}: options stand before recipients")
