"""The order of hosts to try: routes, mail exchangers, and whether one of them is this machine.

Source: RFC 5321 5.1, RFC 7505, spec/smtp.md B.3 and B.4, spec/oddities.md 4.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from qmail.core.settings.controls import domain_keys, first_match
from qmail.core.settings.programs import Route
from qmail.mail import Result, failed
from qmail.protocol.lookups import LocalAddresses, MxRecord

SMTP_PORT: Final = 25
EXCHANGERS_MAX: Final = 20
"""How many mail exchangers of one domain are looked up."""
ADDRESSES_MAX: Final = 20
"""How many addresses one attempt tries."""

TALKS_TO_ITSELF: Final = failed(
    b"This machine is the best mail exchanger of that host, and control/locals does not have it."
    b" (#5.4.6)\n"
)
NO_EXCHANGER: Final = failed(b"No mail exchanger of that host has a usable address. (#5.4.4)\n")
TAKES_NO_MAIL: Final = failed(b"That host's null MX says that it takes no mail. (#5.1.10)\n")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One host that may take the mail, with its addresses."""

    preference: int
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect to."""

    address: str
    port: int


def route_of(host: bytes, routes: Mapping[bytes, Route]) -> Route | None:
    """Look `host` up in control/smtproutes: itself, its suffixes from a dot, the empty key.

    Source: spec/control-files.md 4.5.
    """
    if not routes:
        return None
    route: Route | None = first_match(routes, [*domain_keys(host.lower()), b""])
    return route


def literal_address(host: bytes) -> str | None:
    """Return the address that `1.2.3.4`, `[1.2.3.4]`, `[IPv6:...]` or `[::1]` is; else None.

    Source: RFC 5321 4.1.3.
    """
    text = host.decode("ascii", "replace")
    try:
        if not text.startswith("["):
            return str(ipaddress.IPv4Address(text))
        if not text.endswith("]"):
            return None
        inner = text[1:-1]
        if inner[:5].lower() == "ipv6:":
            return str(ipaddress.IPv6Address(inner[5:]))
        return str(ipaddress.ip_address(inner))
    except ValueError:
        return None


def exchangers(records: Sequence[MxRecord], random: Random) -> tuple[MxRecord, ...] | Result:
    """Put mail exchangers in the order to try: lowest preference first, equal ones by lot.

    Returns: a failure where the only record is the null MX (RFC 7505 3).
    """
    hosts = [record for record in records if record.host]
    if records and not hosts:
        return TAKES_NO_MAIL
    random.shuffle(hosts)
    hosts.sort(key=lambda record: record.preference)
    return tuple(hosts[:EXCHANGERS_MAX])


def targets(
    candidates: Sequence[Candidate], local: LocalAddresses, port: int
) -> tuple[Target, ...] | Result:
    """Return where to connect to, in order; `candidates` are in order already.

    Only what is better than this machine itself counts (RFC 5321 5.1); the loopback addresses are
    this machine, and nothing is sent to a multicast address. Another port than 25 was asked for by
    a route, and what listens there is not this machine's own mail server.
    """
    limit = None if port != SMTP_PORT else _own_preference(candidates, local)
    found: dict[Target, None] = {}
    for candidate in candidates:
        if limit is None or candidate.preference < limit:
            for address in sorted(candidate.addresses, key=lambda each: _rank(each, local)):
                if not ipaddress.ip_address(address).is_multicast:
                    found[Target(address, port)] = None
    if found:
        return tuple(found)[:ADDRESSES_MAX]
    return NO_EXCHANGER if limit is None else TALKS_TO_ITSELF


def _own_preference(candidates: Sequence[Candidate], local: LocalAddresses) -> int | None:
    return min(
        (
            candidate.preference
            for candidate in candidates
            if any(is_this_machine(address, local) for address in candidate.addresses)
        ),
        default=None,
    )


def routed_targets(
    addresses: Sequence[str], local: LocalAddresses, port: int
) -> tuple[Target, ...]:
    """Return where to connect to for a relay of control/smtproutes: any address may be one."""
    ordered = sorted(addresses, key=lambda each: _rank(each, local))
    return tuple(Target(address, port) for address in ordered[:ADDRESSES_MAX])


def is_this_machine(address: str, local: LocalAddresses) -> bool:
    """Say whether a connection to `address` would end at this machine."""
    found = ipaddress.ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None)
    found = mapped or found
    return found.is_loopback or found.is_unspecified or str(found) in local.addresses


def _rank(address: str, local: LocalAddresses) -> int:
    # IPv6 first (RFC 6724), but not from a machine that has no way out by it.
    is_ipv6 = ":" in address
    return 0 if is_ipv6 == local.has_global_ipv6 else 1
