"""Asks the name servers: MX, A and AAAA, with a cache and a bound on time.

QMAIL_RESOLVER="127.0.0.1:5353" (or "[::1]:5353") names another server than /etc/resolv.conf.
"""

import asyncio
import ipaddress
import os
from collections.abc import Sequence
from typing import Any, Final

from qmail.edge.dns.client import DnsClient, Server
from qmail.protocol.dns_message import Kind, name_to_wire, question
from qmail.protocol.lookups import Answer, Finding, MxRecord

RESOLV_CONF: Final = "/etc/resolv.conf"
RESOLV_CONF_BYTES_MAX: Final = 65536
SERVERS_MAX: Final = 3
IPV6_PATIENCE_S: Final = 0.3
"""So long the IPv4 addresses of a host wait for its IPv6 addresses (RFC 8305 3 has less, for people
who wait). There are name servers that never answer about those.
"""
CACHE_S_MAX: Final = 3600
CACHE_NOTHING_S_MAX: Final = 300
CACHE_ENTRIES_MAX: Final = 20000

NOTHING: Final[Answer[Any]] = Answer(Finding.NOTHING)
TEMPORARY: Final[Answer[Any]] = Answer(Finding.TEMPORARY)
_Key = tuple[bytes, Kind]


class DnsResolver:
    """Look-ups by the name servers that this machine is told to use."""

    def __init__(self, server: str | None = None, client: DnsClient | None = None) -> None:
        self._server = server or os.environ.get("QMAIL_RESOLVER") or ""
        self._client = client
        self._cache: dict[_Key, tuple[float, Answer[Any]]] = {}
        self._under_way: dict[_Key, asyncio.Task[Answer[Any]]] = {}

    async def mx(self, domain: bytes) -> Answer[MxRecord]:
        """Return the mail exchangers of `domain`."""
        try:
            name = domain.decode("utf-8")
        except UnicodeDecodeError:
            return NOTHING
        return await self._look_up(name, Kind.MX)

    async def addresses(self, hosts: Sequence[str]) -> list[Answer[str]]:
        """Return for each host its IPv6 and IPv4 addresses; all are asked for at once.

        IPv6 addresses that come late are left out, but nothing goes on without the IPv4 ones: this
        machine may have no way to others.
        """
        return await asyncio.gather(*map(self._both_kinds, hosts))

    async def _both_kinds(self, host: str) -> Answer[str]:
        asking = asyncio.ensure_future(self._look_up(host, Kind.AAAA))
        try:
            ipv4 = await self._look_up(host, Kind.A)
            patience_s = IPV6_PATIENCE_S if ipv4.values else None
            await asyncio.wait((asking,), timeout=patience_s)
            return _both(asking.result() if asking.done() else TEMPORARY, ipv4)
        finally:
            # The question itself goes on: what is learned late helps the next one.
            asking.cancel()

    async def _look_up(self, name: str, kind: Kind) -> Answer[Any]:
        wire = name_to_wire(name)
        if wire is None:
            return NOTHING
        key = wire, kind
        known = self._cache.get(key)
        if known is not None and known[0] > asyncio.get_running_loop().time():
            return known[1]
        asking = self._under_way.get(key)
        if asking is None:
            asking = asyncio.create_task(self._ask(key))
            self._under_way[key] = asking
            asking.add_done_callback(lambda _: self._under_way.pop(key, None))
        # Shared: who stops waiting must not stop it for the others.
        return await asyncio.shield(asking)

    async def _ask(self, key: _Key) -> Answer[Any]:
        try:
            if self._client is None:
                self._client = DnsClient(find_servers(self._server))
            said = await self._client.ask(question(*key))
        except Exception:
            # Whatever the reason, nothing was learned.
            return TEMPORARY
        if said is None:
            return TEMPORARY
        answer: Answer[Any] = Answer(Finding.FOUND, said.values) if said.values else NOTHING
        self._remember(key, answer, said.ttl_s)
        return answer

    def _remember(self, key: _Key, answer: Answer[Any], ttl_s: int) -> None:
        seconds = min(ttl_s, CACHE_S_MAX if answer.values else CACHE_NOTHING_S_MAX)
        if seconds <= 0:
            return
        self._cache.pop(key, None)
        if len(self._cache) >= CACHE_ENTRIES_MAX:
            del self._cache[next(iter(self._cache))]
        self._cache[key] = asyncio.get_running_loop().time() + seconds, answer


def _both(ipv6: Answer[str], ipv4: Answer[str]) -> Answer[str]:
    values = ipv6.values + ipv4.values
    if values:
        return Answer(Finding.FOUND, values)
    return TEMPORARY if TEMPORARY in (ipv6, ipv4) else NOTHING


def find_servers(server: str, resolv_conf: str = RESOLV_CONF) -> list[Server]:
    """Return the name servers to ask: `server` (`host:port`, `[host]:port`, or an address alone).

    Empty: those of resolv.conf, else one on this machine.
    Raises: ValueError: `server` is no address with a port. OSError: resolv.conf can't be read.
    """
    if server:
        return [split_server(server)]
    try:
        with open(resolv_conf, encoding="ascii", errors="replace") as file:
            text = file.read(RESOLV_CONF_BYTES_MAX)
    except FileNotFoundError:
        text = ""
    words = [line.split() for line in text.splitlines()]
    found = [(line[1], 53) for line in words if len(line) > 1 and line[0] == "nameserver"]
    return found[:SERVERS_MAX] or [("127.0.0.1", 53)]


def split_server(server: str) -> Server:
    """Split `host:port`, `[host]:port` or an address alone.

    Raises: ValueError: it is none of them.
    """
    if server.startswith("["):
        host, _, port = server[1:].partition("]")
        port = port.removeprefix(":")
    elif server.count(":") == 1:
        host, _, port = server.partition(":")
    else:
        host, port = server, ""
    return str(ipaddress.ip_address(host)), int(port or "53")
