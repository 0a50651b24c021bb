"""Where to connect to with mail for one host: routes, then what the name servers say.

Source: RFC 5321 5.1, spec/smtp.md B.2 and B.3.
"""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Final, Protocol

from qmail.core.remote.mx import (
    SMTP_PORT,
    Candidate,
    Target,
    exchangers,
    literal_address,
    route_of,
    routed_targets,
    targets,
)
from qmail.core.settings.programs import Route
from qmail.mail import Result, deferred, failed
from qmail.protocol.lookups import Answer, Finding, LocalAddresses, MxRecord

HOST_SHOWN_MAX: Final = 255
HOSTS_KNOWN_MAX: Final = 10000
"""So many hosts' fixed targets are remembered."""

Targets = tuple[Target, ...]


class Resolver(Protocol):
    """Who asks the name servers."""

    async def mx(self, domain: bytes) -> Answer[MxRecord]:
        """Return the mail exchangers of `domain`."""
        ...

    async def addresses(self, hosts: Sequence[str]) -> list[Answer[str]]:
        """Return for each host its IPv4 and IPv6 addresses; all are asked for at once."""
        ...


class TargetFinder:
    """Finds hosts by one set of routes."""

    def __init__(
        self,
        routes: Mapping[bytes, Route],
        resolver: Resolver,
        *,
        local: Callable[[], LocalAddresses],
        random: Random,
    ) -> None:
        self._routes = routes
        self._resolver = resolver
        self._local = local
        self._random = random
        # Relays that are addresses need no look-up: made once.
        self._fixed: dict[Route, Targets] = {}
        self._known: dict[bytes, Target | None] = {}
        for route in routes.values():
            address = literal_address(route.relay)
            if address is not None:
                self._fixed[route] = (Target(address, route.port),)

    def fixed_target(self, host: bytes) -> Target | None:
        """Return where mail for `host` goes if a route to an address says so, without look-up."""
        if host not in self._known:
            route = route_of(host, self._routes)
            fixed = None if route is None else self._fixed.get(route)
            if len(self._known) >= HOSTS_KNOWN_MAX:
                self._known.clear()
            self._known[host] = fixed[0] if fixed else None
        return self._known[host]

    async def find(self, host: bytes) -> Targets | Result:
        """Return where to connect to, in order; or what comes of the mail if there is nowhere."""
        route = route_of(host, self._routes)
        if route is None:
            return await self._exchangers(host, SMTP_PORT)
        if not route.relay:
            return await self._exchangers(host, route.port)
        fixed = self._fixed.get(route)
        return await self._relay(route) if fixed is None else fixed

    async def _relay(self, route: Route) -> Targets | Result:
        (answer,) = await self._resolver.addresses([route.relay.decode("ascii", "replace")])
        if answer.finding is Finding.TEMPORARY:
            return _no_answer(route.relay)
        if answer.finding is Finding.NOTHING:
            return _no_such_host(route.relay)
        return routed_targets(answer.values, self._local(), route.port)

    async def _exchangers(self, host: bytes, port: int) -> Targets | Result:
        literal = literal_address(host)
        if literal is not None:
            return targets([Candidate(0, (literal,))], self._local(), port)
        answer = await self._resolver.mx(host)
        if answer.finding is Finding.TEMPORARY:
            return _no_answer(host)
        if answer.finding is Finding.NOTHING:
            return await self._host_itself(host, port)
        records = exchangers(answer.values, self._random)
        if isinstance(records, Result):
            return records
        found = await self._resolver.addresses([record.host for record in records])
        candidates = [
            Candidate(record.preference, addresses.values)
            for record, addresses in zip(records, found, strict=True)
        ]
        chosen = targets(candidates, self._local(), port)
        unknown = any(addresses.finding is Finding.TEMPORARY for addresses in found)
        # What is not known yet may be a better host: never fail for good without it.
        return _no_answer(host) if unknown and isinstance(chosen, Result) else chosen

    async def _host_itself(self, host: bytes, port: int) -> Targets | Result:
        # RFC 5321 5.1: without MX the host's own address is an implicit MX with preference 0.
        (answer,) = await self._resolver.addresses([host.decode("utf-8", "replace")])
        if answer.finding is Finding.TEMPORARY:
            return _no_answer(host)
        if answer.finding is Finding.NOTHING:
            return _no_such_host(host)
        return targets([Candidate(0, answer.values)], self._local(), port)


def _shown(host: bytes) -> bytes:
    return bytes(byte if 33 <= byte <= 126 else 63 for byte in host[:HOST_SHOWN_MAX])


def _no_answer(host: bytes) -> Result:
    return deferred(b"No usable answer from the name servers about %b. (#4.1.2)\n" % _shown(host))


def _no_such_host(host: bytes) -> Result:
    return failed(b"There is no host named %b. (#5.1.2)\n" % _shown(host))
