"""What a name server said, and which addresses are this machine's: plain values."""

from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar


class Finding(Enum):
    """How a look-up ended. Only a name server that says so makes NOTHING of it."""

    FOUND = "found"
    NOTHING = "nothing"
    """No such name, or nothing of that type at it."""
    TEMPORARY = "temporary"
    """No answer, or one that decides nothing: ask again later."""


Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Answer(Generic[Value]):
    """The end of one look-up; there are values only with FOUND."""

    finding: Finding
    values: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class MxRecord:
    """One mail exchanger; `host` is "" for the root (RFC 7505)."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class LocalAddresses:
    """The addresses of this machine's interfaces, in their canonical text form."""

    addresses: frozenset[str]
    has_global_ipv6: bool
