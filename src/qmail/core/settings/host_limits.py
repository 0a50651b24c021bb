"""control/concurrencyhost and control/concurrencyhosts: how hard one remote domain may be hit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from qmail.core.settings.controls import (
    ControlError,
    Line,
    domain_keys,
    entries,
    first_match,
    shown,
)

IN_LINE: Final = 2
"""Deliveries under way for each connection that control/concurrencyhost allows: while one is at
the server the next is at hand, so that a quick server never waits for us."""
DIGITS_MAX: Final = 6


@dataclass(frozen=True, slots=True)
class HostLimit:
    """Of one domain: deliveries at once, starts a minute; 0 is no limit."""

    at_once: int = 0
    per_minute: int = 0


NO_LIMIT: Final = HostLimit()


@dataclass(frozen=True, slots=True)
class HostLimits:
    """Of all domains: `table` by domain or .suffix, and what is not there gets `default`."""

    default: HostLimit = NO_LIMIT
    table: Mapping[bytes, HostLimit] = field(default_factory=dict)

    def of(self, domain: bytes) -> HostLimit:
        """Return the limit of a lowercased domain."""
        found = first_match(self.table, domain_keys(domain)) if self.table else None
        return self.default if found is None else found


NO_LIMITS: Final = HostLimits()


def host_limits(
    connections: int, table: Mapping[bytes, HostLimit], channel_limit: int
) -> HostLimits:
    """Build the limits from the control files.

    The default leaves at least half of the channel to others. What the table says is taken at its
    word: a delivery is a connection.
    """
    at_once = min(connections * IN_LINE, max(1, channel_limit // 2))
    return HostLimits(HostLimit(at_once), table)


def parse_host_limits(name: str, lines: list[Line]) -> dict[bytes, HostLimit]:
    """`domain:connections` or `domain:connections:per-minute` lines; `.domain` is all below it."""
    found: dict[bytes, HostLimit] = {}
    for line in entries(lines):
        domain, *numbers = line.text.split(b":")
        if not domain or any(byte <= 32 or byte in b"@\x7f" for byte in domain):
            raise ControlError(name, line.number, f"{shown(domain)} is not a domain")
        if not 1 <= len(numbers) <= 2 or not all(map(_is_count, numbers)):
            what = "'DOMAIN:CONNECTIONS' or 'DOMAIN:CONNECTIONS:PER-MINUTE' with whole numbers"
            raise ControlError(name, line.number, f"{shown(line.text)} is not {what}")
        found[domain.lower()] = HostLimit(*map(int, numbers))
    return found


def _is_count(text: bytes) -> bool:
    return text.isdigit() and len(text) <= DIGITS_MAX
