"""The seal of a queued message: how a todo entry tells that it and its message are whole.

One sync puts a message, its envelope and their names on disk together, in any order; only then is
it accepted. What a power cut in the middle leaves was never accepted and may be half written. The
seal, a size and a CRC-32 in the second record of todo/N, tells it apart: `p`qp`/`size`/`crc`/`id.
The id of the message (protocol/trace_id.py) is sealed as well. The original reads the digits before
the first slash and would deliver such an entry too.
"""

import zlib
from typing import Final, NamedTuple

from qmail.core.fs import Fs
from qmail.protocol.trace_id import is_trace_id

SLASH: Final = b"/"


class Seal(NamedTuple):
    """What the second record of todo/N holds. `crc` is that of the message of `size` bytes."""

    qp: int
    size: int
    crc: int
    trace_id: bytes = b""

    def record(self, packed: bytes) -> bytes:
        """Return the record without its NUL; `packed` is the envelope."""
        qp, size, crc, trace_id = self
        crc = zlib.crc32(trace_id, zlib.crc32(packed[:-1], crc))
        return b"p%d/%d/%08x%b" % (qp, size, crc, SLASH + trace_id if trace_id else b"")


def qp_of(record: bytes) -> int:
    """Return the number in the second record. Raises: ValueError: it is none."""
    if record[:1] != b"p":
        raise ValueError("unknown record")
    return int(record[1:].partition(SLASH)[0])


def trace_id_of(record: bytes) -> bytes:
    """Return the id in the second record; b"" where there is none."""
    fields = record.split(SLASH)
    return fields[3] if len(fields) == 4 and is_trace_id(fields[3]) else b""


def is_whole(fs: Fs, mess: str, records: bytes) -> bool:
    """Tell whether todo/N, which is `records`, and its message at `mess` are as they were written.

    The message is read from the disk: in memory it can be whole when a sync of it has failed.
    Entries without a seal come from writers that sync first, as the original. Raises: OSError.
    """
    if records[:1] != b"u":
        return False
    _, _, rest = records.partition(b"\0")
    record, _, envelope = rest.partition(b"\0")
    _, slash, rest = record.partition(SLASH)
    seal, _, trace_id = rest.rpartition(SLASH) if rest.count(SLASH) == 2 else (rest, b"", b"")
    if not slash:
        return record[:1] == b"p" and record[1:].isdigit()
    crc = size = 0
    for part in fs.parts_on_disk(mess):
        crc = zlib.crc32(part, crc)
        size += len(part)
    return seal == b"%d/%08x" % (size, zlib.crc32(trace_id, zlib.crc32(envelope, crc)))
