"""Clients of a server, by their addresses: who counts as one, and how many connections each has."""

import ipaddress
from collections import Counter
from functools import lru_cache
from typing import Final

IPV6_NETWORK_BITS: Final = 64
"""One customer of a provider has at least so many bits to choose addresses from (RFC 6177 2)."""


def is_loopback(ip: str) -> bool:
    """Say whether this is an address of this host itself, which has no limit of its own."""
    return ip.startswith("127.") or ip == "::1"


@lru_cache(maxsize=1024)
def client_key(ip: str) -> bytes | None:
    """Return what stands for a client: its address, with IPv6 its network of 64 bits.

    Returns: None: this host itself, or not an address. The last answers are kept: each connection
    asks three times.
    """
    if is_loopback(ip):
        return None
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    if address.is_loopback:
        return None
    packed = address.packed
    return packed[: IPV6_NETWORK_BITS // 8] if len(packed) > 4 else packed


class ClientCounts:
    """How many connections each client has. This host itself is not counted."""

    def __init__(self) -> None:
        self._counts: Counter[bytes] = Counter()

    def of(self, ip: str) -> int:
        """Return how many the client at this address has."""
        key = client_key(ip)
        return 0 if key is None else self._counts[key]

    def add(self, ip: str) -> None:
        """Count one more."""
        key = client_key(ip)
        if key is not None:
            self._counts[key] += 1

    def remove(self, ip: str) -> None:
        """Count one less; it was added before."""
        key = client_key(ip)
        if key is None:
            return
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]
