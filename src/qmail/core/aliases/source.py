"""An alias file like Sendmail's /etc/aliases, read into the records of its cdb.

The records are those of newaliases in the package fastforward: `:`target has the commands, `?`list
the owner of a list. Source: spec/companion.md 2.3.
"""

from __future__ import annotations

from qmail.core.aliases.entries import (
    ADDRESS_BYTES_MAX,
    EntryError,
    Problem,
    check,
    command,
    complete,
    shown,
)
from qmail.core.inject.rewriting import envelope_address
from qmail.core.settings.lines import Line
from qmail.protocol.address_list import (
    COMMENT,
    Address,
    AddressSyntaxError,
    Token,
    plain,
    tokenise,
)
from qmail.protocol.alias_words import ADDRESS, LIST, has_at, read_words
from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Final

    from qmail.core.inject.rewriting import Rewriter
    from qmail.protocol.alias_words import Word

ALIASES_BYTES_MAX: Final = 64 * 1024 * 1024

_BLANKS: Final = b" \t\r"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_OWNER: Final = b"owner-"


class ListUse(Record):
    """An :include: file that a line names; it is read as FILE.bin."""

    line: int
    file: bytes


class AliasTable(Record):
    """What an alias file says. Its records are good only where there are no problems."""

    records: tuple[tuple[bytes, bytes], ...]
    lists: tuple[ListUse, ...]
    warnings: tuple[Problem, ...]
    problems: tuple[Problem, ...]
    lines: tuple[tuple[bytes, int], ...] = ()
    """Every target as in `targets`, and the line that defines it."""

    @property
    def targets(self) -> frozenset[bytes]:
        """Every target in lower case; one for all hosts ends in @."""
        return frozenset(key[1:] for key, _ in self.records if key.startswith(b":"))


# --- lines --------------------------------------------------------------------------------------


def logical_lines(text: bytes, lost: list[int]) -> Iterator[Line]:
    """Yield each entry with the number of its first line; what begins with a blank continues it.

    Empty lines are nothing. A `#` begins a comment, which continues too, and `lost` gets the
    numbers of those lines; a comment that is itself such a line is left out and ends nothing.
    """
    number, is_comment = 0, False
    parts: list[bytes] = []
    lines = text.removeprefix(_BYTE_ORDER_MARK).split(b"\n")
    for at, line in enumerate(lines, 1):
        if not line.strip(_BLANKS):
            continue
        mark = line.lstrip(_BLANKS)[:1]
        if line[:1] not in b" \t":
            if parts:
                yield Line(number, b"\n".join(parts))
            number, is_comment, parts = at, mark == b"#", []
        if is_comment or mark == b"#":
            if mark != b"#":
                lost.append(at)
            continue
        number = number if parts else at
        parts.append(line)
    if parts:
        yield Line(number, b"\n".join(parts))


# --- entries ------------------------------------------------------------------------------------


def read_aliases(text: bytes, rewriter: Rewriter) -> AliasTable:
    """Read a whole alias file; every bad line is among the problems."""
    reader = _Reader(rewriter)
    lost: list[int] = []
    for line in logical_lines(text, lost):
        reader.read(line)
    for number in lost:
        reader.warn(number, "this line continues a comment, so it is one too")
    return reader.table()


class _Reader:
    def __init__(self, rewriter: Rewriter) -> None:
        self._rewriter = rewriter
        self._records: list[tuple[bytes, bytes]] = []
        self._lists: list[ListUse] = []
        self._warnings: list[Problem] = []
        self._problems: list[Problem] = []
        self._lines: dict[bytes, int] = {}

    def read(self, line: Line) -> None:
        """Add one entry."""
        try:
            self._entry(line)
        except EntryError as wrong:
            self._problems.append(Problem(line.number, str(wrong), wrong.code))
        except AddressSyntaxError as wrong:
            self._problems.append(Problem(line.number, str(wrong)))

    def warn(self, number: int, text: str) -> None:
        """Remember something that people should know of a line."""
        self._warnings.append(Problem(number, text))

    def table(self) -> AliasTable:
        """Return everything so far."""
        return AliasTable(
            tuple(self._records),
            tuple(self._lists),
            tuple(self._warnings),
            tuple(self._problems),
            tuple(self._lines.items()),
        )

    def _entry(self, line: Line) -> None:
        tokens = tokenise(line.text)
        colon = next((at for at, token in enumerate(tokens) if token.kind == ":"), -1)
        if colon < 0:
            raise EntryError("no colon: an alias is written NAME: ADDRESS, ADDRESS ...")
        target = _target(tokens[:colon])
        key = _key(target)
        words = read_words(tokens[colon + 1 :])
        if not words:
            raise EntryError(f"nothing after {shown(key)}: name at least one address")
        commands = b"".join(command(word, self._rewriter) + b"\0" for word in _in_order(words))
        first = self._lines.setdefault(key, line.number)
        if first != line.number:
            self.warn(line.number, f"{shown(key)} is defined in line {first}, and that one counts")
            return
        self._lists += [ListUse(line.number, word.text) for word in words if word.kind == LIST]
        if key.startswith(_OWNER) and not key.startswith(_OWNER + b"@"):
            owner = complete(target, self._rewriter)
            self._records.append((b"?" + key[len(_OWNER) :], owner))
        self._records.append((b":" + key, commands))


def _in_order(words: Sequence[Word]) -> Iterator[Word]:
    """Yield the words, read from the right, in the order of a table that fastforward's own makes.

    There each address waits until the next one shows that it is not the target.
    """
    waiting: list[Word] = []
    for word in words:
        if word.kind == ADDRESS:
            yield from waiting
            waiting = [word]
        else:
            yield word
    yield from waiting


def _target(tokens: Sequence[Token]) -> Address:
    words = tuple(token for token in tokens if token.kind != COMMENT)
    if not words:
        raise EntryError("no name before the colon")
    target = Address(words)
    check(plain(words), ADDRESS_BYTES_MAX)
    try:
        text = envelope_address(target)
    except AddressSyntaxError:
        raise EntryError("what stands before the colon is not one name or address") from None
    if not has_at(words) and text[:1] in (b"|", b"/"):
        raise EntryError("what stands before the colon is a program or file, not a name")
    return target


def _key(target: Address) -> bytes:
    """Return the name as it is looked up; one without host is for all hosts."""
    text = plain(target.tokens)
    return (text if has_at(target.tokens) else text + b"@").lower()
