"""Local, virtual or remote: where a recipient goes, decided once (spec/delivery.md 1)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from qmail.core.settings.controls import ControlError, domain_keys, first_match
from qmail.core.settings.programs import SendControls
from qmail.mail import Channel


@dataclass(frozen=True, slots=True)
class Routes:
    """What decides: taken from SendControls, replaced whole at HUP."""

    locals: frozenset[bytes]
    virtualdomains: Mapping[bytes, bytes] = field(default_factory=dict)
    percenthack: frozenset[bytes] = frozenset()
    envnoathost: bytes = b"envnoathost"


def routes_from(controls: SendControls) -> Routes:
    """Build what routes recipients. Raises: ControlError: neither locals nor me is there."""
    if controls.locals is None:
        raise ControlError("locals", 1, "neither control/locals nor control/me exists")
    return Routes(
        controls.locals,
        controls.virtualdomains,
        controls.percenthack,
        controls.envnoathost or b"envnoathost",
    )


def route(address: bytes, routes: Routes) -> tuple[Channel, bytes]:
    """Return the channel for `address` and the address as it is delivered."""
    if b"@" not in address:
        address += b"@" + routes.envnoathost
    local, _, domain = address.rpartition(b"@")
    while domain.lower() in routes.percenthack and b"%" in local:
        # The domain is what follows the last @, of the new address as of any other.
        address = b"@".join(local.rsplit(b"%", 1))
        local, _, domain = address.rpartition(b"@")
    lowered = domain.lower()
    if lowered in routes.locals:
        return Channel.LOCAL, address
    if routes.virtualdomains:
        keys = [address.lower(), *domain_keys(lowered), b""]
        prepend = first_match(routes.virtualdomains, keys)
        if prepend:
            return Channel.LOCAL, prepend + b"-" + address
    return Channel.REMOTE, address


def without_prepend(address: bytes, routes: Routes) -> bytes:
    """Return `address` as its sender wrote it: a virtual domain's prepend is taken off.

    Addresses that are virtual on their own keep theirs (spec/bounces.md 2).
    """
    domain = address.rpartition(b"@")[2].lower()
    prepend = first_match(routes.virtualdomains, [*domain_keys(domain), b""])
    if prepend and address.startswith(prepend + b"-"):
        return address[len(prepend) + 1 :]
    return address


def verp_sender(sender: bytes, recipient: bytes) -> bytes:
    """Return the sender for one recipient: `PRE@HOST-@[]` names it (spec/delivery.md 11)."""
    if not sender.endswith(b"-@[]"):
        return sender
    prefix, at, host = sender[:-4].rpartition(b"@")
    box, recipient_at, domain = recipient.rpartition(b"@")
    if not at or not recipient_at:
        return sender
    return prefix + box + b"=" + domain + b"@" + host
