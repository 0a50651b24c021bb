"""Options of the classic commands, by the rules of the old getopt (spec/programs.md 0)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final


HELP: Final = ("--help", "-h")


class OptionError(ValueError):
    """A command line that can't be understood; the text is what the classic getopt prints."""


def asks_for_help(argv: Sequence[str], words: Sequence[str] = HELP) -> bool:
    """Say whether a person asks how a command is used: one of `words` and nothing else.

    Commands that know `-h` as an option of their own name the other word alone.
    """
    return len(argv) == 1 and argv[0] in words


def split_options(argv: Sequence[str], letters: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Split a command line into options, each with its value or "", and arguments.

    `letters` is getopt's: `:` after a letter that takes a value, `::` after one whose value may
    be missing and is attached where it is there. The options end before the first word that does
    not start with `-`, before a lone `-`, and after `--`.

    Raises: OptionError: an unknown letter, or a value missing.
    """
    options: list[tuple[str, str]] = []
    words = list(argv)
    while words and words[0].startswith("-") and words[0] != "-":
        word = words.pop(0)
        if word == "--":
            break
        rest = word[1:]
        while rest:
            letter, rest = rest[0], rest[1:]
            at = letters.find(letter) if letter != ":" else -1
            if at < 0:
                raise OptionError(f"illegal option -- {letter}")
            value = ""
            if letters[at + 1 : at + 2] == ":":
                value, rest = rest, ""
                if not value and letters[at + 2 : at + 3] != ":":
                    if not words:
                        raise OptionError(f"option requires an argument -- {letter}")
                    value = words.pop(0)
            options.append((letter, value))
    return options, words
