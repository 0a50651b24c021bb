"""Asks the name servers: MX, A and AAAA, with a cache and a bound on time.

dnspython is imported at the first look-up: a machine that sends everything to one relay never needs
it. QMAIL_RESOLVER="127.0.0.1:5353" (or "[::1]:5353") names another server than /etc/resolv.conf.
"""

import asyncio
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from qmail.protocol.lookups import Answer, Finding, MxRecord

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver as DnspythonResolver
    from dns.name import Name

TRY_S: Final = 1.5
"""Wait for one answer; then the question is asked again."""
LOOKUP_S_MAX: Final = 20.0
CACHE_S_MAX: Final = 3600
CACHE_NOTHING_S_MAX: Final = 300
CACHE_ENTRIES_MAX: Final = 20000
LOOKUPS_AT_ONCE: Final = 2000
EDNS_BYTES: Final = 1232
"""Longest answer by UDP; a longer one comes by TCP (RFC 6891)."""

NOTHING: Final[Answer[Any]] = Answer(Finding.NOTHING)
TEMPORARY: Final[Answer[Any]] = Answer(Finding.TEMPORARY)


class Resolver(Protocol):
    """Who asks the name servers."""

    async def mx(self, domain: bytes) -> Answer[MxRecord]:
        """Return the mail exchangers of `domain`."""
        ...

    async def addresses(self, hosts: Sequence[str]) -> list[Answer[str]]:
        """Return for each host its IPv4 and IPv6 addresses; all are asked for at once."""
        ...


class DnsResolver:
    """The real resolver."""

    def __init__(self, server: str | None = None) -> None:
        self._server = server or os.environ.get("QMAIL_RESOLVER") or ""
        self._cache: dict[tuple[str, str], tuple[float, Answer[Any]]] = {}
        self._under_way: dict[tuple[str, str], asyncio.Task[Answer[Any]]] = {}
        self._dnspython: DnspythonResolver | None = None
        self._turnstile = asyncio.Semaphore(LOOKUPS_AT_ONCE)

    async def mx(self, domain: bytes) -> Answer[MxRecord]:
        """Return the mail exchangers of `domain`."""
        try:
            name = domain.decode("utf-8")
        except UnicodeDecodeError:
            return NOTHING
        return await self._look_up(name, "MX")

    async def addresses(self, hosts: Sequence[str]) -> list[Answer[str]]:
        """Return for each host its IPv4 and IPv6 addresses; all are asked for at once."""
        asked = [self._look_up(host, kind) for host in hosts for kind in ("AAAA", "A")]
        answers = await asyncio.gather(*asked)
        return [_both(answers[index], answers[index + 1]) for index in range(0, len(answers), 2)]

    async def _look_up(self, name: str, kind: str) -> Answer[Any]:
        name = name.lower()
        key = name, kind
        known = self._cache.get(key)
        if known is not None and known[0] > asyncio.get_running_loop().time():
            return known[1]
        asking = self._under_way.get(key)
        if asking is None:
            asking = asyncio.create_task(self._ask(name, kind))
            self._under_way[key] = asking
            asking.add_done_callback(lambda _: self._under_way.pop(key, None))
        # Shared: who stops waiting must not stop it for the others.
        return await asyncio.shield(asking)

    async def _ask(self, name: str, kind: str) -> Answer[Any]:
        try:
            async with self._turnstile:
                answer, ttl_s = await asyncio.wait_for(
                    self._query(name, kind), LOOKUP_S_MAX + TRY_S
                )
        except Exception:
            # Whatever the reason, nothing was learned.
            return TEMPORARY
        self._remember((name, kind), answer, ttl_s)
        return answer

    def _remember(self, key: tuple[str, str], answer: Answer[Any], ttl_s: int) -> None:
        found = answer.finding is Finding.FOUND
        seconds = min(ttl_s, CACHE_S_MAX if found else CACHE_NOTHING_S_MAX)
        if answer.finding is Finding.TEMPORARY or seconds <= 0:
            return
        self._cache.pop(key, None)
        if len(self._cache) >= CACHE_ENTRIES_MAX:
            del self._cache[next(iter(self._cache))]
        self._cache[key] = asyncio.get_running_loop().time() + seconds, answer

    def _backend(self) -> "DnspythonResolver":
        import dns.asyncresolver  # noqa: PLC0415  only needed once a name must be looked up

        if self._dnspython is None:
            resolver = dns.asyncresolver.Resolver(configure=not self._server)
            if self._server:
                host, resolver.port = split_server(self._server)
                resolver.nameservers = [host]
            resolver.timeout = TRY_S
            resolver.lifetime = LOOKUP_S_MAX
            resolver.use_edns(0, 0, EDNS_BYTES)
            self._dnspython = resolver
        return self._dnspython

    async def _query(self, name: str, kind: str) -> tuple[Answer[Any], int]:
        import dns.exception  # noqa: PLC0415
        import dns.name  # noqa: PLC0415
        import dns.resolver  # noqa: PLC0415

        try:
            # Absolute: search domains are not for mail (RFC 5321 2.3.5).
            absolute: Name = dns.name.from_text(name)
        except (dns.exception.DNSException, UnicodeError):
            return NOTHING, CACHE_NOTHING_S_MAX
        try:
            found = await self._backend().resolve(absolute, kind, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN as error:
            negative: Any = error
            return NOTHING, negative.response(absolute).resolve_chaining().minimum_ttl
        ttl_s = found.chaining_result.minimum_ttl
        if found.rrset is None:
            return NOTHING, ttl_s
        if kind == "MX":
            records = [
                MxRecord(each.preference, each.exchange.to_text(omit_final_dot=True))
                for each in found.rrset
            ]
            return Answer(Finding.FOUND, tuple(_without_root(record) for record in records)), ttl_s
        return Answer(Finding.FOUND, tuple(each.address for each in found.rrset)), ttl_s


def _both(ipv6: Answer[str], ipv4: Answer[str]) -> Answer[str]:
    values = ipv6.values + ipv4.values
    if values:
        return Answer(Finding.FOUND, values)
    return TEMPORARY if TEMPORARY in (ipv6, ipv4) else NOTHING


def split_server(server: str) -> tuple[str, int]:
    """Split `host:port`, `[host]:port` or a bare address.

    Raises: ValueError: the port is no number.
    """
    if server.startswith("["):
        host, _, port = server[1:].partition("]")
        port = port.removeprefix(":")
    elif server.count(":") == 1:
        host, _, port = server.partition(":")
    else:
        host, port = server, ""
    return host, int(port or "53")


def _without_root(record: MxRecord) -> MxRecord:
    return MxRecord(record.preference, "") if record.host == "." else record
