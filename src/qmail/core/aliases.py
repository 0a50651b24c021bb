"""An alias file like Sendmail's /etc/aliases, read into the records of its cdb.

The records are those of newaliases in the package fastforward: `:`target has the commands, `?`list
the owner of a list. Source: spec/companion.md 2.3.
"""

from __future__ import annotations

from qmail.core.control_lines import Line
from qmail.core.rewriting import envelope_address
from qmail.protocol.address_list import (
    COMMENT,
    Address,
    AddressSyntaxError,
    Token,
    plain,
    tokenise,
)
from qmail.protocol.alias_words import ADDRESS, FILE, LIST, PROGRAM, has_at, read_words
from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Final

    from qmail.core.rewriting import Rewriter
    from qmail.protocol.alias_words import Word

ALIASES_BYTES_MAX: Final = 64 * 1024 * 1024
ADDRESS_BYTES_MAX: Final = 800
"""Longest address in a table or a list; fastforward leaves out those of 900 and more."""
PERMANENT: Final = 100
TEMPORARY: Final = 111

_BLANKS: Final = b" \t\r"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_OWNER: Final = b"owner-"
_NOTHING: Final = b"/dev/null"
_INSTEAD_OF_FILE: Final = (
    "file delivery {} is not supported: name an address here, and let its .qmail file say"
    " where the mail is kept"
)
_INSTEAD_OF_NOTHING: Final = 'file delivery {} is not supported: to throw mail away write "|exit 0"'


class Problem(Record):
    """What is wrong with a line, and how a program ends because of it."""

    line: int
    text: str
    code: int = TEMPORARY


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

    @property
    def targets(self) -> frozenset[bytes]:
        """Every target in lower case; one for all hosts ends in @."""
        return frozenset(key[1:] for key, _ in self.records if key.startswith(b":"))


class EntryError(ValueError):
    """An address or command that can't be in a table; the text says why."""

    def __init__(self, why: str, code: int = TEMPORARY) -> None:
        super().__init__(why)
        self.code = code


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
            tuple(self._records), tuple(self._lists), tuple(self._warnings), tuple(self._problems)
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
            raise EntryError(f"nothing after {_shown(key)}: name at least one address")
        commands = b"".join(command(word, self._rewriter) + b"\0" for word in words)
        first = self._lines.setdefault(key, line.number)
        if first != line.number:
            self.warn(line.number, f"{_shown(key)} is defined in line {first}, and that one counts")
            return
        self._lists += [ListUse(line.number, word.text) for word in words if word.kind == LIST]
        if key.startswith(_OWNER) and not key.startswith(_OWNER + b"@"):
            owner = complete(target, self._rewriter)
            self._records.append((b"?" + key[len(_OWNER) :], owner))
        self._records.append((b":" + key, commands))


def _target(tokens: Sequence[Token]) -> Address:
    words = tuple(token for token in tokens if token.kind != COMMENT)
    if not words:
        raise EntryError("no name before the colon")
    target = Address(words)
    try:
        text = envelope_address(target)
    except AddressSyntaxError:
        raise EntryError("what stands before the colon is not one name or address") from None
    if not has_at(words) and text[:1] in (b"|", b"/"):
        raise EntryError("what stands before the colon is a program or file, not a name")
    _check(text, ADDRESS_BYTES_MAX)
    return target


def _key(target: Address) -> bytes:
    """Return the name as it is looked up; one without host is for all hosts."""
    text = plain(target.tokens)
    return (text if has_at(target.tokens) else text + b"@").lower()


def command(word: Word, rewriter: Rewriter) -> bytes:
    """Return the command of a cdb for a word, without its NUL.

    Raises: EntryError: it can't be one. AddressSyntaxError: no address.
    """
    if word.kind == PROGRAM:
        _check(word.text, len(word.text))
        return b"!" + word.text
    if word.kind == ADDRESS:
        return b"&" + complete(word.address, rewriter)
    if word.kind == FILE:
        advice = _INSTEAD_OF_NOTHING if word.text == _NOTHING else _INSTEAD_OF_FILE
        raise EntryError(advice.format(_shown(word.text)))
    return list_path(word.text) + b".bin"


def list_path(name: bytes) -> bytes:
    """Return the name of a list file so that its first byte tells it from an address.

    Raises: EntryError: no name of a file.
    """
    _check(name, len(name))
    if b"\n" in name:
        raise EntryError("a line ends inside the name of a file")
    return name if name[:1] in (b".", b"/") else b"./" + name


def complete(address: Address, rewriter: Rewriter) -> bytes:
    """Return a recipient with its full host.

    Raises: EntryError: empty, too long, or with a byte that no address has. AddressSyntaxError.
    """
    text = envelope_address(rewriter.rewrite(address))
    if not text:
        raise EntryError("an address is empty")
    if b"\n" in text:
        raise EntryError("a line ends inside an address")
    _check(text, ADDRESS_BYTES_MAX)
    return text


def _check(text: bytes, bytes_max: int) -> None:
    if b"\0" in text:
        raise EntryError("a NUL byte")
    if len(text) > bytes_max:
        raise EntryError(f"an address is longer than {bytes_max} bytes", PERMANENT)


def _shown(text: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in text[:80].removesuffix(b"@"))
