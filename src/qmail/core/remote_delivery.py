"""One remote delivery: which hosts, in which order, and what their refusals mean together.

Source: spec/smtp.md B.2 to B.5, spec/oddities.md 4. Where the original stays with the first host
that takes the connection, this goes on to the next one as long as nothing was said of the message.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Final, Generic, Protocol, TypeVar

from qmail.core.mx import (
    SMTP_PORT,
    Candidate,
    Target,
    exchangers,
    literal_address,
    route_of,
    routed_targets,
    targets,
)
from qmail.core.settings import Route
from qmail.mail import Letter, Result, deferred, failed
from qmail.protocol.lookups import Answer, Finding, LocalAddresses, MxRecord
from qmail.protocol.remote_reports import NO_CONNECTION, Ending, Outcome

HOST_SHOWN_MAX: Final = 255
HOSTS_KNOWN_MAX: Final = 10000
"""So many hosts' fixed targets are remembered."""

Message_contra = TypeVar("Message_contra", contravariant=True)
Sent = TypeVar("Sent")
Targets = tuple[Target, ...]


class Resolver(Protocol):
    """Who asks the name servers."""

    async def mx(self, domain: bytes) -> Answer[MxRecord]:
        """Return the mail exchangers of `domain`."""
        ...

    async def addresses(self, hosts: Sequence[str]) -> list[Answer[str]]:
        """Return for each host its IPv4 and IPv6 addresses; all are asked for at once."""
        ...


class Exchanger(Protocol[Message_contra]):
    """Who talks to servers."""

    def exchange(self, address: str, port: int, message: Message_contra) -> Awaitable[Outcome]:
        """Pass `message` on to the server at `address`."""
        ...


class Deliverer(Generic[Sent]):
    """Delivers messages by one set of routes."""

    def __init__(
        self,
        routes: Mapping[bytes, Route],
        resolver: Resolver,
        exchanger: Exchanger[Sent],
        *,
        local: Callable[[], LocalAddresses],
        random: Random,
    ) -> None:
        self._routes = routes
        self._resolver = resolver
        self._exchanger = exchanger
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

    async def deliver(self, host: bytes, message: Sent) -> Outcome:
        """Pass `message` on to one of the servers that take mail for `host`."""
        found = await self._targets(host)
        if isinstance(found, Result):
            return Outcome((), found)
        outcomes: list[Outcome] = []
        for target in found:
            outcome = await self._exchanger.exchange(target.address, target.port, message)
            outcomes.append(outcome)
            if outcome.ending is Ending.FINAL:
                break
        return all_together(outcomes)

    async def _targets(self, host: bytes) -> Targets | Result:
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


def all_together(outcomes: Sequence[Outcome]) -> Outcome:
    """Say what came of the message at the hosts that were tried, in this order.

    Only the last one can have taken or refused it. Where none listened, that is for good only if
    each one said so.
    """
    last = outcomes[-1]
    if last.ending is Ending.FINAL:
        return last
    spoken = [outcome for outcome in outcomes if outcome is not NO_CONNECTION]
    if not spoken:
        return Outcome((), NO_CONNECTION.result)
    last = spoken[-1]
    if all(outcome.result.letter is Letter.FAILED for outcome in outcomes):
        return Outcome(last.recipients, last.result)
    return Outcome(last.recipients, deferred(last.result.text))


def _shown(host: bytes) -> bytes:
    return bytes(byte if 33 <= byte <= 126 else 63 for byte in host[:HOST_SHOWN_MAX])


def _no_answer(host: bytes) -> Result:
    return deferred(b"No usable answer from the name servers about %b. (#4.1.2)\n" % _shown(host))


def _no_such_host(host: bytes) -> Result:
    return failed(b"There is no host named %b. (#5.1.2)\n" % _shown(host))
