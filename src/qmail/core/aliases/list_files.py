"""Mailing lists as fastforward reads them: NUL-terminated addresses and names of further lists.

Made from an :include: file (newinclude) or from plain lines (setmaillist).
Source: spec/companion.md 2.1 and 2.4.
"""

from __future__ import annotations

from qmail.core.aliases.entries import (
    ADDRESS_BYTES_MAX,
    EntryError,
    Problem,
    complete,
    list_path,
)
from qmail.core.aliases.forward_table import LIST_BYTES_MAX
from qmail.core.settings.lines import split_lines
from qmail.core.whole_files import read_whole, replace_file
from qmail.protocol.address_list import AddressSyntaxError, tokenise
from qmail.protocol.alias_words import ADDRESS, LIST, read_words
from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO, Final

    from qmail.core.inject.rewriting import Rewriter
    from qmail.core.settings.lines import Line
    from qmail.protocol.alias_words import Word

_NOT_HERE: Final = "deliveries are not supported in a list: name them in the alias file"


class MailList(Record):
    """A list as it is stored. It is good only where there are no problems."""

    binary: bytes
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()


def read_include(text: bytes, rewriter: Rewriter) -> MailList:
    """Read an :include: file: addresses as in mail headers, `#` lines are comments."""
    warnings: list[Problem] = []

    def entries(line: Line) -> Iterator[bytes]:
        for word in read_words(tokenise(line.text)):
            if not word.text:
                # <> is nobody, here as in .forward.
                continue
            yield _entry(word, rewriter)
            if word.kind == LIST and not word.text.endswith(b".bin"):
                name = word.text.decode("utf-8", "replace")
                what = f"{name} is read as it stands: name the file that newinclude makes"
                warnings.append(Problem(line.number, f"{what}, {name}.bin"))

    return _read(text, entries)._replace(warnings=tuple(warnings))


def _entry(word: Word, rewriter: Rewriter) -> bytes:
    if word.kind == ADDRESS:
        address = complete(word.address, rewriter)
        if address[-1:] in (b" ", b"\t"):
            raise EntryError("an address ends in a blank")
        return b"&" + address
    if word.kind == LIST:
        return list_path(word.text)
    raise EntryError(f"{word.kind} {_NOT_HERE}")


def read_plain(text: bytes) -> MailList:
    """Read one address, or path of another list, a line, as it stands (setmaillist)."""

    def entries(line: Line) -> Iterator[bytes]:
        if b"\0" in line.text:
            raise EntryError("a NUL byte")
        if line.text[:1] in (b".", b"/"):
            yield line.text
            return
        if len(line.text) > ADDRESS_BYTES_MAX:
            raise EntryError(f"an address is longer than {ADDRESS_BYTES_MAX} bytes")
        yield line.text if line.text.startswith(b"&") else b"&" + line.text

    return _read(text, entries)


def _read(text: bytes, entries: Callable[[Line], Iterator[bytes]]) -> MailList:
    parts: list[bytes] = []
    problems: list[Problem] = []
    for line in split_lines(text):
        if not line.text or line.text.startswith(b"#"):
            continue
        try:
            parts += entries(line)
        except (EntryError, AddressSyntaxError) as wrong:
            problems.append(Problem(line.number, str(wrong)))
    binary = b"".join(part + b"\0" for part in parts)
    return MailList(binary, tuple(problems))


def make_list(file: str, rewriter: Rewriter, *, follows_links: bool = True) -> MailList:
    """Read the :include: file `file` and, where there is no problem, store it as `file`.bin.

    Raises: OSError: it can't be read or stored.
    """
    text, _ = read_whole(file, LIST_BYTES_MAX, follows_links=follows_links)
    made = read_include(text, rewriter)
    if not made.problems:
        replace_file(f"{file}.bin", f"{file}.tmp", lambda out: write_list(out, made))
    return made


def write_list(out: IO[bytes], made: MailList) -> None:
    """Write a list as it is stored."""
    out.write(made.binary)


def print_list(binary: bytes) -> bytes:
    """Write a stored list for setmaillist to read: one entry a line.

    Raises: EntryError: it is no stored list.
    """
    *entries, rest = binary.split(b"\0")
    if rest or any(entry[:1] not in (b"&", b".", b"/") for entry in entries):
        raise EntryError("not a list that newinclude or setmaillist has made")
    if any(b"\n" in entry for entry in entries):
        raise EntryError("a line ends inside an entry")
    return b"".join(entry + b"\n" for entry in entries)
