"""Which addresses this machine has, as the kernel lists them."""

import array
import fcntl
import ipaddress
import socket
import struct
import time
from typing import Final

from qmail.protocol.lookups import LocalAddresses

FRESH_S: Final = 30.0
"""How long a list is believed: interfaces come and go."""
_SIOCGIFCONF: Final = 0x8912
_INTERFACES_MAX: Final = 4096
_IFREQ_BYTES: Final = 40
_IF_INET6: Final = "/proc/net/if_inet6"
_IF_INET6_BYTES_MAX: Final = 1024 * 1024


def read_local_addresses() -> LocalAddresses:
    """Ask the kernel.

    Raises: OSError: it does not say.
    """
    ipv6 = _ipv6()
    return LocalAddresses(
        frozenset(str(address) for address in (*_ipv4(), *ipv6)),
        any(address.is_global for address in ipv6),
    )


def _ipv4() -> list[ipaddress.IPv4Address]:
    space = array.array("B", bytes(_INTERFACES_MAX * _IFREQ_BYTES))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        # struct ifconf: the length of a room, and where it is.
        request = struct.pack("iP", len(space), space.buffer_info()[0])
        (length, _) = struct.unpack("iP", fcntl.ioctl(asking, _SIOCGIFCONF, request))
    return [
        ipaddress.IPv4Address(bytes(space[start + 20 : start + 24]))
        for start in range(0, length, _IFREQ_BYTES)
    ]


def _ipv6() -> list[ipaddress.IPv6Address]:
    try:
        with open(_IF_INET6, encoding="ascii") as file:
            lines = file.read(_IF_INET6_BYTES_MAX).splitlines()
    except FileNotFoundError:
        # A kernel without IPv6.
        return []
    return [ipaddress.IPv6Address(bytes.fromhex(line.split()[0])) for line in lines if line]


class FreshLocalAddresses:
    """Calls `read_local_addresses` again when what it said is old."""

    def __init__(self) -> None:
        self._read_at = -FRESH_S
        self._known = LocalAddresses(frozenset(), has_global_ipv6=False)

    def __call__(self) -> LocalAddresses:
        """Return this machine's addresses.

        Raises: OSError: the kernel does not say.
        """
        now = time.monotonic()
        if now - self._read_at > FRESH_S:
            self._known = read_local_addresses()
            self._read_at = now
        return self._known
