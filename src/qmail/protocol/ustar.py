"""Headers of tar archives, of plain files only: what `qmail queue export` writes and tar(1) reads.

Reading is strict on purpose. An archive comes from elsewhere and is read by root, so there are no
links, no folders, no extensions, no long names, and nothing that has no limit.
Source: POSIX.1-2017, pax, "ustar Interchange Format".
"""

from typing import Final, NamedTuple

BLOCK: Final = 512
NAME_BYTES_MAX: Final = 100
SIZE_MAX: Final = 8**11 - 1
END: Final = bytes(2 * BLOCK)
"""Two empty blocks end an archive."""
MAGIC: Final = b"ustar\x0000"


class TarError(ValueError):
    """A block that is no header of a plain file."""


class Entry(NamedTuple):
    """One file of an archive: its name, and how many bytes follow."""

    name: str
    size: int
    mtime: int

    @property
    def padding(self) -> int:
        """How many bytes of no meaning follow those of the file."""
        return -self.size % BLOCK


def header(entry: Entry) -> bytes:
    """Return the block before a file. Raises: TarError: it does not fit."""
    name = entry.name.encode("ascii")
    if len(name) > NAME_BYTES_MAX or not 0 <= entry.size <= SIZE_MAX:
        raise TarError(f"{entry.name} of {entry.size} bytes does not fit into an archive")
    mtime = min(max(0, entry.mtime), SIZE_MAX)
    fields = b"%b%b%b%b" % (
        name.ljust(NAME_BYTES_MAX, b"\0"),
        b"0000600\0" + b"0000000\0" * 2,
        b"%011o\0%011o\0" % (entry.size, mtime),
        b" " * 8 + b"0".ljust(101, b"\0") + MAGIC,
    )
    block = fields.ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def parse(block: bytes) -> Entry | None:
    """Parse a block; None for an empty one, which ends the archive.

    Raises: TarError: anything but the header of a plain file.
    """
    if len(block) != BLOCK:
        raise TarError("the archive is cut")
    if not any(block):
        return None
    if sum(block[:148]) + 8 * 32 + sum(block[156:]) != _octal(block[148:156]):
        raise TarError("the sum of a header is wrong")
    if block[257:265] != MAGIC or block[156:157] != b"0" or any(block[345:]):
        raise TarError("an entry is no plain file")
    name, _, rest = block[:NAME_BYTES_MAX].partition(b"\0")
    if any(rest) or not name.isascii() or not name.decode("ascii").isprintable():
        raise TarError("the name of an entry is not of the form that is written")
    return Entry(name.decode("ascii"), _octal(block[124:136]), _octal(block[136:148]))


def _octal(digits: bytes) -> int:
    text = digits.rstrip(b"\0 ")
    if not text or text.strip(b"01234567"):
        raise TarError("a number of a header is none")
    return int(text, 8)
