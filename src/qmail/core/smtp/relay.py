"""May this client relay, may this recipient be taken: verdicts, not replies.

Without a rcpthosts file nobody's mail is taken: the original opened the host to everybody.
Source: spec/control-files.md 4.4, spec/oddities.md 2.
"""

import ipaddress
from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import Final

from qmail.core.cdb import CdbError, CdbFile
from qmail.core.settings.controls import domain_keys
from qmail.core.settings.programs import Network
from qmail.mail import ADDRESS_BYTES_MAX

CLIENTS_KEPT_MAX: Final = 4096
"""So many clients' verdicts are remembered."""
POSTMASTER: Final = b"postmaster"
MORE_HOSTS: Final = "morercpthosts"
"""The control file with more domains; what counts is the cdb that qmail-newmrh makes of it."""

OwnAddresses = Callable[[], frozenset[str]]
"""Returns the IP addresses of this host."""


class Refusal(Enum):
    """Why a recipient is not taken."""

    EMPTY = auto()
    NO_DOMAIN = auto()
    NOT_OURS = auto()
    NO_TELLING = auto()
    """control/morercpthosts.cdb can't be read."""
    TOO_LONG = auto()


class RelayClients:
    """Answers whether a client's address is in control/relayclients; remembers the answers."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._networks = tuple(networks)
        self._known: dict[str, bool] = {}

    def may_relay(self, ip: str) -> bool:
        """Say whether the client at `ip` may send to any domain."""
        if not self._networks:
            return False
        verdict = self._known.get(ip)
        if verdict is None:
            if len(self._known) >= CLIENTS_KEPT_MAX:
                self._known.clear()
            verdict = self._known[ip] = self._look_up(ip)
        return verdict

    def _look_up(self, ip: str) -> bool:
        try:
            address = ipaddress.ip_address(ip)
        except ValueError:
            return False
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        address = mapped or address
        return any(address in network for network in self._networks)


def more_hosts_of(home: str) -> CdbFile:
    """Return the domains of control/morercpthosts.cdb, there or not."""
    return CdbFile(f"{home}/control/{MORE_HOSTS}.cdb")


class Recipients:
    """Judges recipients by control/rcpthosts, and rewrites [address] to control/localiphost.

    `more_hosts` is asked after rcpthosts. Source: spec/control-files.md 4.4.
    """

    def __init__(
        self,
        rcpthosts: frozenset[bytes],
        localiphost: bytes | None,
        own_addresses: OwnAddresses,
        more_hosts: CdbFile | None = None,
    ) -> None:
        self._rcpthosts = rcpthosts
        self._more_hosts = more_hosts
        self._localiphost = localiphost
        self._own_addresses = own_addresses

    def localised(self, address: bytes) -> bytes:
        """Return `address` with localiphost in place of an address literal of this host.

        Source: spec/smtp.md A.4, step 4.
        """
        if not address.endswith(b"]") or self._localiphost is None:
            return address
        local, at, literal = address.rpartition(b"@")
        if not at or not literal.startswith(b"["):
            return address
        text = literal[1:-1].decode("ascii", "replace")
        if text[:5].lower() == "ipv6:":
            text = text[5:]
        try:
            ip = str(ipaddress.ip_address(text))
        except ValueError:
            return address
        return local + at + self._localiphost if ip in self._own_addresses() else address

    def judge(self, address: bytes, relay_suffix: bytes | None) -> bytes | Refusal:
        """Return the recipient to queue, or why it is refused.

        `relay_suffix` is what RELAYCLIENT appends, b"" too; None for a client that may not relay.
        """
        local, at, domain = address.rpartition(b"@")
        if not (local if at else domain):
            return Refusal.EMPTY
        if domain.endswith(b"]"):
            address = self.localised(address)
            domain = address[len(local) + 1 :]
        if relay_suffix is not None:
            address += relay_suffix
        elif not at:
            if address.lower() != POSTMASTER:
                return Refusal.NO_DOMAIN
        else:
            try:
                if not self.is_ours(domain):
                    return Refusal.NOT_OURS
            except (OSError, CdbError):
                return Refusal.NO_TELLING
        return address if len(address) <= ADDRESS_BYTES_MAX else Refusal.TOO_LONG

    def is_ours(self, domain: bytes) -> bool:
        """Say whether rcpthosts has `domain`, or a suffix of it that starts with a dot.

        Else morercpthosts.cdb is asked for the same. Raises: OSError, CdbError: it can't be read.
        """
        hosts = self._rcpthosts
        if domain in hosts:
            return True
        keys = domain_keys(domain.lower())
        if any(key in hosts for key in keys):
            return True
        more = self._more_hosts.now() if self._more_hosts is not None else None
        return more is not None and any(more.get(key) is not None for key in keys if key)
