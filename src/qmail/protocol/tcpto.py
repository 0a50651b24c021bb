"""Addresses that could not be reached, and for how long they are left alone (spec/delivery.md 13).

Tables of fixed records. The first is the original's, which its tools read: 64 times 16 bytes, IPv4
only, connections that timed out. Beside it lies what that one can't say: IPv6, and connections that
were refused, of both families. Times are seconds since 1970.
"""

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

TCPTO_BYTES: Final = 1024
"""The original's table: 64 records of 16 bytes (spec/queue.md 9)."""
TCPTO6_BYTES: Final = 8192
"""What lies beside it: 128 records of 32 bytes for IPv6 that timed out, as many for refusals."""
REFUSALS_AT: Final = 4096
COUNT_MAX: Final = 10
SAME_TROUBLE_S: Final = 120
"""Attempts that began together fail together: within this time they count once."""
EVICTION_S: Final = 1024
"""A count is worth so many seconds when an entry has to go."""
TRIES: Final = 2
"""After so many failures in a row an address is left alone."""
SPREADS: Final = 32
TIMEOUT_UNIT_S: Final = 64
REFUSED_UNIT_S: Final = 4
"""Timed out: 3840 to 5824 seconds; refused, which costs nobody much, 240 to 364."""
KEYS_KEPT: Final = 1024


@dataclass(frozen=True, slots=True)
class Shape:
    """How the records of one table are laid out: address, count, time."""

    record: struct.Struct
    address_bytes: int


OLD: Final = Shape(struct.Struct("<4sB3xI4x"), 4)
NEW: Final = Shape(struct.Struct("<16sB7xQ"), 16)


@dataclass(frozen=True, slots=True)
class Entry:
    """One address that failed: how often in a row, when last."""

    address: bytes
    count: int
    when: int


class Table:
    """One table in memory; `data` is what is written back."""

    def __init__(self, data: bytes, shape: Shape) -> None:
        self.data = bytearray(data)
        self._shape = shape

    def entries(self) -> Iterator[Entry]:
        """Yield what is in use."""
        for _, entry in self._slots():
            if entry.count:
                yield entry

    def _slots(self) -> Iterator[tuple[int, Entry]]:
        record = self._shape.record
        for offset in range(0, len(self.data) - record.size + 1, record.size):
            yield offset, Entry(*record.unpack_from(self.data, offset))

    def _find(self, address: bytes) -> tuple[int, Entry] | None:
        record = self._shape.record
        offset = self.data.find(address)
        while offset >= 0:
            if not offset % record.size and offset + record.size <= len(self.data):
                entry = Entry(*record.unpack_from(self.data, offset))
                if entry.count:
                    return offset, entry
            offset = self.data.find(address, offset + 1)
        return None

    def is_left_alone(self, address: bytes, now: int, seconds: int) -> bool:
        """Say whether an address has failed twice in a row, the last time not long ago."""
        found = self._find(address)
        return found is not None and found[1].count >= TRIES and 0 <= now - found[1].when < seconds

    def failed(self, address: bytes, now: int) -> bool:
        """Count a failure. Returns: whether the table has changed."""
        found = self._find(address)
        if found is not None:
            offset, entry = found
            if 0 <= now - entry.when < SAME_TROUBLE_S:
                return False
            self._put(offset, address, min(entry.count + 1, COUNT_MAX), now)
            return True
        slots = list(self._slots())
        if slots:
            free = (offset for offset, entry in slots if not entry.count)
            oldest = min(slots, key=lambda slot: slot[1].when + slot[1].count * EVICTION_S)[0]
            self._put(next(free, oldest), address, 1, now)
        return bool(slots)

    def answered(self, address: bytes) -> bool:
        """Forget an address that works. Returns: whether the table has changed."""
        found = self._find(address)
        if found is not None:
            self._put(found[0], address, 0, found[1].when)
        return found is not None

    def clear(self) -> bool:
        """Forget every address. Returns: whether there is a table at all."""
        self.data = bytearray(len(self.data))
        return bool(self.data)

    def _put(self, offset: int, address: bytes, count: int, when: int) -> None:
        when &= 0xFFFFFFFF if self._shape is OLD else 0xFFFFFFFFFFFFFFFF
        self._shape.record.pack_into(self.data, offset, address, count, when)


def seconds_alone(spread: int, unit_s: int) -> int:
    """Return how long an address is left alone; `spread` keeps programs from returning together."""
    return (60 + spread % SPREADS) * unit_s


@lru_cache(KEYS_KEPT)
def old_key(address: str) -> bytes | None:
    """Return how the original's table names an address; None: not at all, as it is not IPv4."""
    found = ipaddress.ip_address(address.partition("%")[0])
    return found.packed if found.version == 4 else None


@lru_cache(KEYS_KEPT)
def new_key(address: str) -> bytes:
    """Return how the second table names an address: IPv4 is ::ffff:a.b.c.d there, as usual."""
    found = ipaddress.ip_address(address.partition("%")[0])
    return found.packed if found.version == 6 else bytes(10) + b"\xff\xff" + found.packed


def shown(address: bytes) -> str:
    """Return the address of a record of either table as people write it."""
    if len(address) == OLD.address_bytes:
        return str(ipaddress.IPv4Address(address))
    found = ipaddress.IPv6Address(address)
    return str(found.ipv4_mapped or found)
