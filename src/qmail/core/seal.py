"""The seal of a queued message: how a todo entry tells that it and its message are whole.

One sync puts a message, its envelope and their names on disk together, in any order; only then is
it accepted. What a power cut in the middle leaves was never accepted and may be half written. The
seal, a size and a CRC-32 in the second record of todo/N, tells it apart: `p`qp`/`size`/`crc. The
original reads the digits before the first slash and would deliver such an entry as well.
"""

import zlib
from typing import Final

from qmail.core.fs import Fs

SLASH: Final = b"/"


def sealed(qp: int, size: int, crc: int, packed: bytes) -> bytes:
    """Return the second record of todo/N, without its NUL.

    `crc` is that of the message of `size` bytes; `packed` is the envelope.
    """
    return b"p%d/%d/%08x" % (qp, size, zlib.crc32(packed[:-1], crc))


def qp_of(record: bytes) -> int:
    """Return the number in the second record. Raises: ValueError: it is none."""
    if record[:1] != b"p":
        raise ValueError("unknown record")
    return int(record[1:].partition(SLASH)[0])


def is_whole(fs: Fs, mess: str, records: bytes) -> bool:
    """Tell whether todo/N, which is `records`, and its message at `mess` are as they were written.

    Entries without a seal come from writers that sync first, as the original. Raises: OSError.
    """
    if records[:1] != b"u":
        return False
    _, _, rest = records.partition(b"\0")
    record, _, envelope = rest.partition(b"\0")
    _, slash, seal = record.partition(SLASH)
    if not slash:
        return record[:1] == b"p" and record[1:].isdigit()
    crc = size = 0
    for part in fs.parts(mess):
        crc = zlib.crc32(part, crc)
        size += len(part)
    return seal == b"%d/%08x" % (size, zlib.crc32(envelope, crc))
