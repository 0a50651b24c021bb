"""Questions to a name server and its answers, as bytes: MX, A and AAAA (RFC 1035 4, RFC 3596).

Every pointer in a name must lead backwards, so that reading ends; what does not answer the question
that was asked is an error, and never an answer.
"""

import ipaddress
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from qmail.protocol.lookups import MxRecord

NAME_BYTES_MAX: Final = 255
LABEL_BYTES_MAX: Final = 63
RECORDS_MAX: Final = 256
ALIASES_MAX: Final = 16
UDP_BYTES_MAX: Final = 1232
"""Longest answer that we take by UDP; a longer one comes by TCP (RFC 6891 6.2.5)."""
_CLASS_IN: Final = 1
_CNAME: Final = 5
_SOA: Final = 6
_RECURSION_DESIRED: Final = 0x0100
_OPT: Final = b"\0" + struct.pack(">HHIH", 41, UDP_BYTES_MAX, 0, 0)
_HEADER: Final = struct.Struct(">HHHHHH")
_RECORD: Final = struct.Struct(">HHIH")


class Kind(IntEnum):
    """What is asked for: the number of the record type."""

    A = 1
    MX = 15
    AAAA = 28


class Rcode(IntEnum):
    """The two response codes that answer a question (RFC 1035 4.1.1)."""

    NO_ERROR = 0
    NO_SUCH_NAME = 3


class BadAnswerError(ValueError):
    """Bytes that do not answer the question."""


@dataclass(frozen=True, slots=True)
class DnsAnswer:
    """What one message says. `ttl_s` tells how long it may be believed."""

    rcode: int
    is_truncated: bool = False
    values: tuple[str | MxRecord, ...] = ()
    ttl_s: int = 0


def name_to_wire(name: str) -> bytes | None:
    """Return a host name as it stands in a question, in lower case; None: no such name can be."""
    try:
        # Only names outside ASCII need the codec (RFC 5891): it is slow, and strict about more.
        raw = (name if name.isascii() else name.encode("idna").decode()).lower().encode("ascii")
    except UnicodeError:
        return None
    labels = raw.removesuffix(b".").split(b".")
    if not all(0 < len(label) <= LABEL_BYTES_MAX for label in labels):
        return None
    wire = b"".join([bytes((len(label),)) + label for label in labels]) + b"\0"
    return wire if len(wire) <= NAME_BYTES_MAX else None


def question(name_wire: bytes, kind: Kind) -> bytes:
    """Return the question section that asks for `kind` at a name made by `name_to_wire`."""
    return name_wire + struct.pack(">HH", kind, _CLASS_IN)


def query(number: int, asked: bytes) -> bytes:
    """Return the message that asks a question (RFC 1035 4.1.1, with EDNS of RFC 6891)."""
    return _HEADER.pack(number, _RECURSION_DESIRED, 1, 0, 0, 1) + asked + _OPT


def answer_number(data: bytes) -> int:
    """Return the number that a message gives itself; -1 where it is too short to have one."""
    return (data[0] << 8) | data[1] if len(data) >= _HEADER.size else -1


def parse_answer(data: bytes, asked: bytes) -> DnsAnswer:
    """Parse the answer to the question `asked`; its number is checked by the caller.

    Raises: BadAnswerError: it answers something else, or breaks the format.
    """
    try:
        return _parse(data, asked)
    except (IndexError, struct.error) as short:
        raise BadAnswerError("cut short") from short


def _parse(data: bytes, asked: bytes) -> DnsAnswer:
    _, flags, questions, answers, authorities, _ = _HEADER.unpack_from(data)
    if not flags & 0x8000 or flags & 0x7800 or questions > 1:
        raise BadAnswerError("not an answer")
    rcode = flags & 0x000F
    start = _HEADER.size
    if questions == 0 and rcode:
        # A server that does not understand may leave the question out.
        return DnsAnswer(rcode)
    if data[start : start + len(asked)].lower() != asked:
        raise BadAnswerError("another question")
    if flags & 0x0200:
        return DnsAnswer(rcode, is_truncated=True)
    if rcode not in (Rcode.NO_ERROR, Rcode.NO_SUCH_NAME):
        return DnsAnswer(rcode)
    if answers + authorities > RECORDS_MAX:
        raise BadAnswerError("too many records")
    reader = _Reader(data, start + len(asked), int.from_bytes(asked[-4:-2], "big"))
    for _ in range(answers):
        reader.take_answer()
    values, ttl_s = reader.found(asked[:-4])
    if not values:
        for _ in range(authorities):
            reader.take_authority()
        ttl_s = min(ttl_s, reader.nothing_ttl_s)
    # A name that exists only as an alias of one that does not: what was asked for is not there.
    return DnsAnswer(rcode, values=values, ttl_s=0 if ttl_s > 0x7FFFFFFF else ttl_s)


class _Reader:
    """Walks over the records of one message."""

    def __init__(self, data: bytes, offset: int, kind: int) -> None:
        self._data = data
        self._offset = offset
        self._kind = kind
        self._aliases: dict[bytes, tuple[bytes, int]] = {}
        self._values: dict[bytes, list[tuple[str | MxRecord, int]]] = {}
        self.nothing_ttl_s = 0
        """How long to believe that there is nothing (RFC 2308 5)."""

    def take_answer(self) -> None:
        owner, kind, ttl_s, start, end = self._next()
        if kind == _CNAME:
            self._aliases[owner] = self._name(start)[0], ttl_s
        elif kind == self._kind:
            value = self._value(start, end)
            self._values.setdefault(owner, []).append((value, ttl_s))

    def take_authority(self) -> None:
        _, kind, ttl_s, _, end = self._next()
        if kind == _SOA:
            self.nothing_ttl_s = min(ttl_s, int.from_bytes(self._data[end - 4 : end], "big"))

    def found(self, name: bytes) -> tuple[tuple[str | MxRecord, ...], int]:
        """Follow the aliases from `name`; return what is at their end, and the shortest TTL."""
        ttl_s = 0xFFFFFFFF
        for _ in range(ALIASES_MAX):
            if name not in self._aliases:
                break
            name, alias_ttl_s = self._aliases[name]
            ttl_s = min(ttl_s, alias_ttl_s)
        found = self._values.get(name, [])
        return tuple(value for value, _ in found), min([ttl_s, *[each for _, each in found]])

    def _next(self) -> tuple[bytes, int, int, int, int]:
        owner, start = self._name(self._offset)
        kind, in_class, ttl_s, length = _RECORD.unpack_from(self._data, start)
        start += _RECORD.size
        end = self._offset = start + length
        if end > len(self._data):
            raise BadAnswerError("cut short")
        return owner, kind if in_class == _CLASS_IN else 0, ttl_s, start, end

    def _value(self, start: int, end: int) -> str | MxRecord:
        data = self._data
        if self._kind == Kind.MX:
            wire, _ = self._name(start + 2)
            return MxRecord((data[start] << 8) | data[start + 1], _text(wire))
        if end - start != (4 if self._kind == Kind.A else 16):
            raise BadAnswerError("an address of the wrong length")
        if self._kind == Kind.A:
            return ".".join(map(str, data[start:end]))
        return str(ipaddress.IPv6Address(data[start:end]))

    def _name(self, offset: int) -> tuple[bytes, int]:
        """Return the name at `offset` without pointers, in lower case, and what follows it."""
        data = self._data
        name = b""
        after = 0
        limit = offset
        while (length := data[offset]) != 0:
            if length > LABEL_BYTES_MAX:
                target = ((length & 0x3F) << 8) | data[offset + 1]
                if length < 0xC0 or target >= limit:
                    raise BadAnswerError("a pointer that does not lead backwards")
                after = after or offset + 2
                offset = limit = target
                continue
            end = offset + 1 + length
            name += data[offset:end]
            if len(name) >= NAME_BYTES_MAX or end >= len(data):
                raise BadAnswerError("a name without end")
            offset = end
        return name.lower() + b"\0", after or offset + 1


def _text(wire: bytes) -> str:
    """Return a name in text; bytes that no host name has become question marks."""
    labels = []
    offset = 0
    while wire[offset]:
        end = offset + 1 + wire[offset]
        label = wire[offset + 1 : end]
        labels.append("".join(chr(b) if 32 < b < 127 and b != 46 else "?" for b in label))
        offset = end
    return ".".join(labels)
