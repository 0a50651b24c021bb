"""What dot-forward does with a .forward file, found out without doing it (spec/companion.md 1)."""

from __future__ import annotations

from qmail.core.aliases.entries import EntryError, complete
from qmail.core.settings.lines import split_lines
from qmail.protocol.address_list import AddressSyntaxError, tokenise
from qmail.protocol.alias_words import ADDRESS, FILE, LIST, PROGRAM, read_words
from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Final

    from qmail.core.inject.rewriting import Rewriter
    from qmail.protocol.alias_words import Word

    ReadFile = Callable[[bytes], bytes | None]
    """Returns the contents of a file, None where there is none. Raises: OSError."""

FORWARD_BYTES_MAX: Final = 1024 * 1024
DIRECT: Final = "direct"
FORWARD: Final = "forward"
_ADVICE: Final = {
    FILE: "file delivery is not supported: write this line into .qmail instead",
    LIST: ":include: is not supported: list the addresses here, or one a line in .qmail",
}


class ForwardFileError(ValueError):
    """A .forward file that can't be used; the text names file and line."""

    def __init__(self, file: bytes, line: int, wrong: str) -> None:
        super().__init__(f"{file.decode('utf-8', 'replace')}:{line}: {wrong}")


class Owner(Record):
    """Whose .forward it is: what $USER and $HOST say."""

    user: bytes
    host: bytes


class Action(Record):
    """What one word of the file means: an address, a command for the shell, or keep it here."""

    kind: str
    text: bytes
    line: int


class DotForward(Record):
    """What is to be done with a message. Without a file that says something, nothing."""

    file: bytes | None
    """The file that decides."""
    skipped: tuple[bytes, ...]
    """Files before it that say nothing."""
    actions: tuple[Action, ...]

    @property
    def is_direct(self) -> bool:
        """True where the lines of .qmail after this one count."""
        return self.file is None or any(action.kind == DIRECT for action in self.actions)

    @property
    def targets(self) -> tuple[bytes, ...]:
        """Who gets the message, in one submission."""
        return tuple(action.text for action in self.actions if action.kind == FORWARD)

    @property
    def programs(self) -> tuple[bytes, ...]:
        """The commands that are run, in order."""
        return tuple(action.text for action in self.actions if action.kind == PROGRAM)


def plan_dot_forward(
    files: Sequence[bytes], owner: Owner, rewriter: Rewriter, read_file: ReadFile
) -> DotForward:
    """Find out what the first file that says something asks for.

    Raises: ForwardFileError: a line that can't be understood. Whatever `read_file` raises.
    """
    skipped: list[bytes] = []
    for file in files:
        text = read_file(file)
        if text is None:
            continue
        actions = tuple(_actions(file, text, owner, rewriter))
        if actions:
            return DotForward(file, tuple(skipped), actions)
        skipped.append(file)
    return DotForward(None, tuple(skipped), ())


def _actions(file: bytes, text: bytes, owner: Owner, rewriter: Rewriter) -> Iterator[Action]:
    for line in split_lines(text):
        if line.text.startswith(b"#"):
            continue
        try:
            for word in read_words(tokenise(line.text)):
                yield from _action(word, line.number, owner, rewriter)
        except (AddressSyntaxError, EntryError) as wrong:
            raise ForwardFileError(file, line.number, str(wrong)) from None


def _action(word: Word, line: int, owner: Owner, rewriter: Rewriter) -> Iterator[Action]:
    if word.kind == PROGRAM:
        if b"\0" in word.text:
            raise EntryError("a NUL byte")
        yield Action(PROGRAM, word.text, line)
    elif word.kind != ADDRESS:
        raise EntryError(_ADVICE[word.kind])
    elif _is_own(word, owner):
        yield Action(DIRECT, word.text, line)
    elif word.text:
        yield Action(FORWARD, complete(word.address, rewriter), line)


def _is_own(word: Word, owner: Owner) -> bool:
    """Say whether an address as it is written means the user: keep a copy here."""
    name = owner.user + b"@" + owner.host if word.has_host else owner.user
    return bool(word.text) and word.text.lower() == name.lower()
