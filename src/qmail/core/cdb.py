"""cdb files: tables that are written once and looked up by key, byte-compatible with others' tools.

A header of 256 pairs (position and slots of a hash table), the records, the tables. Whatever an
open file says of itself is checked where it is used, and read with pread: a file cut short under
us is an error, while a mapped one would be the end of the process. Nothing read is remembered, so
that nothing remembered can be out of date. Source: spec/control-files.md 6.
"""

from __future__ import annotations

import os
import stat
import struct

from qmail.core.whole_files import replace_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO, Final

    Path = str | bytes
    Identity = tuple[int, int, int, int, int]
    """Device, inode, size, mtime and ctime: what changes when a file does."""

TABLES: Final = 256
HEADER_BYTES: Final = TABLES * 8
FILE_BYTES_MAX: Final = 0xFFFFFFFF
DATA_BYTES_MAX: Final = 64 * 1024 * 1024
"""A record whose data is longer is taken for damage."""
HASH_START: Final = 5381
_SLOTS_AT_ONCE: Final = 32
_PAIR: Final = struct.Struct("<II")
_HEADER: Final = struct.Struct(f"<{2 * TABLES}I")


class CdbError(ValueError):
    """A cdb file that is damaged, or would be too large; the text names the file."""

    def __init__(self, path: Path, wrong: str) -> None:
        super().__init__(f"{os.fsdecode(path)}: {wrong}")


def cdb_hash(key: bytes) -> int:
    """Return the hash that decides where a key is looked for."""
    found = HASH_START
    for byte in key:
        found = (found * 33 ^ byte) & 0xFFFFFFFF
    return found


def prefix_hashes(key: bytes) -> list[int]:
    """Return the hashes of all prefixes of `key`, the empty one first: one walk for all of them."""
    found = [HASH_START]
    for byte in key:
        found.append((found[-1] * 33 ^ byte) & 0xFFFFFFFF)
    return found


def identity_of(found: os.stat_result) -> Identity:
    """Return what tells one state of a file from another."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class Cdb:
    """One open cdb file. Threads may share it; it closes with the last who holds it."""

    def __init__(self, path: Path) -> None:
        """Open `path`. Raises: OSError: not there, or closed to us. CdbError: not a cdb file."""
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        found = os.fstat(self._fd)
        self.identity = identity_of(found)
        self._size = min(found.st_size, FILE_BYTES_MAX)
        if not stat.S_ISREG(found.st_mode):
            raise CdbError(path, "not a file")
        if self._size < HEADER_BYTES:
            raise CdbError(path, "too short for a cdb file: make it anew")

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> Cdb:
        return self

    def __exit__(self, *_trouble: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; nothing can be looked up any more."""
        fd, self._fd = getattr(self, "_fd", -1), -1
        if fd >= 0:
            os.close(fd)

    def get(self, key: bytes, hashed: int | None = None) -> bytes | None:
        """Return the data of the first record with `key`, None: there is none.

        `hashed`: the hash of `key`, where it is known.
        Raises: CdbError: the file is damaged. OSError: it can't be read.
        """
        hashed = cdb_hash(key) if hashed is None else hashed
        for position in self._positions(hashed):
            key_bytes, data_bytes = self._record(position)
            if key_bytes == len(key) and self._read(position + 8, key_bytes) == key:
                return self._data(position + 8 + key_bytes, data_bytes)
        return None

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every record, in the order of the file.

        Raises: CdbError, OSError: as `get`.
        """
        position, end = HEADER_BYTES, self._end_of_records()
        while position < end:
            key_bytes, data_bytes = self._record(position)
            after_key = position + 8 + key_bytes
            if after_key + data_bytes > end:
                raise self._damaged(f"the record at {position} reaches into a table")
            if key_bytes > DATA_BYTES_MAX:
                raise self._damaged(f"the record at {position} has a key of {key_bytes} bytes")
            yield self._read(position + 8, key_bytes), self._data(after_key, data_bytes)
            position = after_key + data_bytes

    def _positions(self, hashed: int) -> Iterator[int]:
        """Yield where the records of this hash are, in the order in which they count."""
        table, slots = _PAIR.unpack(self._read(hashed % TABLES * 8, 8))
        if slots == 0:
            return
        if table < HEADER_BYTES or table + slots * 8 > self._size:
            raise self._damaged(f"table {hashed % TABLES} is not inside the file")
        start = (hashed >> 8) % slots
        for first, last in ((start, slots), (0, start)):
            for slot in range(first, last, _SLOTS_AT_ONCE):
                count = min(_SLOTS_AT_ONCE, last - slot)
                for found, position in _PAIR.iter_unpack(self._read(table + slot * 8, count * 8)):
                    if position == 0:
                        return
                    if found == hashed:
                        yield position

    def _record(self, position: int) -> tuple[int, int]:
        """Return the lengths of key and data of the record at `position`."""
        if position < HEADER_BYTES:
            raise self._damaged(f"a record at {position}, inside the header")
        key_bytes, data_bytes = _PAIR.unpack(self._read(position, 8))
        if position + 8 + key_bytes + data_bytes > self._size:
            raise self._damaged(f"the record at {position} is not inside the file")
        return key_bytes, data_bytes

    def _data(self, position: int, data_bytes: int) -> bytes:
        if data_bytes > DATA_BYTES_MAX:
            raise self._damaged(f"{data_bytes} bytes of data at {position}")
        return self._read(position, data_bytes)

    def _end_of_records(self) -> int:
        header = _HEADER.unpack(self._read(0, HEADER_BYTES))
        tables = [table for table, slots in zip(header[::2], header[1::2], strict=True) if slots]
        end: int = min(tables, default=HEADER_BYTES)
        if not HEADER_BYTES <= end <= self._size:
            raise self._damaged("a table is not inside the file")
        return end

    def _read(self, position: int, count: int) -> bytes:
        found = os.pread(self._fd, count, position)
        if len(found) != count:
            raise self._damaged(f"{count} bytes at {position} are not there")
        return found

    def _damaged(self, wrong: str) -> CdbError:
        return CdbError(self.path, f"damaged ({wrong}): make it anew")


class CdbFile:
    """The cdb of a name: opened once, and again when there is another file of that name.

    A file that is replaced keeps its inode as long as we hold it open, so that the new one is
    known by its own; one that is written over is read as it is, since a `Cdb` remembers nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: Cdb | None = None

    def now(self) -> Cdb | None:
        """Return what is there now, None: no file of that name.

        Raises: OSError: it can't be opened. CdbError: not a cdb file.
        """
        try:
            found = identity_of(os.stat(self._path))
            kept = self._kept
            if kept is None or kept.identity != found:
                # Another thread may still read the old one: it closes when that is done.
                kept = self._kept = Cdb(self._path)
        except FileNotFoundError:
            self._kept = None
            return None
        return kept


# --- writing ------------------------------------------------------------------------------------


def write_cdb(
    path: Path, temporary: Path, records: Iterable[tuple[bytes, bytes]], *, mode: int = 0o644
) -> None:
    """Write `records` to `path`: the whole file appears there, durable, or the old one stays.

    `temporary` is a name in the same folder. Of equal keys the first is found.
    Raises: OSError: it can't be written, or somebody else is writing it now. CdbError: over 4 GiB.
    Whatever `records` raises goes through, and the old file stays.
    """
    replace_file(path, temporary, lambda file: _write(file, path, records), mode=mode)


def write_masked_cdb(path: Path, temporary: Path, records: Iterable[tuple[bytes, bytes]]) -> None:
    """Do as `write_cdb`, for others to read as far as the caller's mask allows.

    Only for a process that does nothing else meanwhile. Raises: as `write_cdb`.
    """
    mask = os.umask(0)
    os.umask(mask)
    write_cdb(path, temporary, records, mode=0o644 & ~mask)


def _write(file: IO[bytes], path: Path, records: Iterable[tuple[bytes, bytes]]) -> None:
    tables: list[list[tuple[int, int]]] = [[] for _ in range(TABLES)]
    file.write(bytes(HEADER_BYTES))
    position = HEADER_BYTES
    for key, data in records:
        hashed = cdb_hash(key)
        tables[hashed % TABLES].append((hashed, position))
        position = _checked(path, position + 8 + len(key) + len(data))
        file.write(_PAIR.pack(len(key), len(data)) + key + data)
    header = []
    for entries in tables:
        header += [position, 2 * len(entries)]
        position = _checked(path, position + 16 * len(entries))
        file.write(_table(entries))
    file.seek(0)
    file.write(_HEADER.pack(*header))


def _checked(path: Path, size: int) -> int:
    if size > FILE_BYTES_MAX:
        raise CdbError(path, "a cdb file can't be larger than 4 GiB: use fewer or shorter records")
    return size


def _table(entries: list[tuple[int, int]]) -> bytes:
    """Return the hash table of `entries`: twice as many slots, each entry in its first free one."""
    slots = 2 * len(entries)
    table = [(0, 0)] * slots
    for hashed, position in entries:
        slot = (hashed >> 8) % slots
        while table[slot][1]:
            slot = (slot + 1) % slots
        table[slot] = hashed, position
    return b"".join(_PAIR.pack(*pair) for pair in table)
