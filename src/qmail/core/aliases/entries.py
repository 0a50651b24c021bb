"""One entry of an alias file or a list: what it becomes in the table, or why it can't be there.

Source: spec/companion.md 2.3 and 2.4.
"""

from __future__ import annotations

from qmail.core.inject.rewriting import envelope_address
from qmail.protocol.alias_words import ADDRESS, FILE, PROGRAM
from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from qmail.core.inject.rewriting import Rewriter
    from qmail.protocol.address_list import Address
    from qmail.protocol.alias_words import Word

ADDRESS_BYTES_MAX: Final = 800
"""Longest address in a table or a list; fastforward leaves out those of 900 and more."""
PERMANENT: Final = 100
TEMPORARY: Final = 111

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


class EntryError(ValueError):
    """An address or command that can't be in a table; the text says why."""

    def __init__(self, why: str, code: int = TEMPORARY) -> None:
        super().__init__(why)
        self.code = code


def command(word: Word, rewriter: Rewriter) -> bytes:
    """Return the command of a cdb for a word, without its NUL.

    Raises: EntryError: it can't be one. AddressSyntaxError: no address.
    """
    if word.kind == PROGRAM:
        check(word.text, len(word.text))
        return b"!" + word.text
    if word.kind == ADDRESS:
        return b"&" + complete(word.address, rewriter)
    if word.kind == FILE:
        advice = _INSTEAD_OF_NOTHING if word.text == _NOTHING else _INSTEAD_OF_FILE
        raise EntryError(advice.format(shown(word.text)))
    return list_path(word.text) + b".bin"


def list_path(name: bytes) -> bytes:
    """Return the name of a list file so that its first byte tells it from an address.

    Raises: EntryError: no name of a file.
    """
    check(name, len(name))
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
    check(text, ADDRESS_BYTES_MAX)
    return text


def check(text: bytes, bytes_max: int) -> None:
    """Refuse a text with a NUL, and one that is too long.

    Raises: EntryError.
    """
    if b"\0" in text:
        raise EntryError("a NUL byte")
    if len(text) > bytes_max:
        raise EntryError(f"an address is longer than {bytes_max} bytes", PERMANENT)


def shown(text: bytes) -> str:
    """Return a name as people read it, without the @ of one for all hosts."""
    return "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in text[:80].removesuffix(b"@"))
