"""Would mail for this be taken? The steps of a delivery before `.qmail` files decide.

Nothing here knows a rule of its own: routing, look-up and the search for a `.qmail` file are those
of the delivery. Source: spec/oddities.md 2 (CVE-2020-3811).
"""

from qmail.core.addresses.routing import Routes, route
from qmail.core.local.route import local_route, wrong_with_recipient
from qmail.mail import Channel
from qmail.protocol.local_door import Answer
from qmail.protocol.verify_door import KNOWN_REPORT


def by_route(recipient: bytes, routes: Routes) -> tuple[bytes, bytes | None]:
    """Return `recipient` as it is delivered, and the report; None: its owner decides."""
    channel, address = route(recipient, routes)
    if channel is Channel.REMOTE:
        return address, KNOWN_REPORT
    return address, wrong_with_recipient(address)


def by_owner(address: bytes, answer: Answer | None) -> bytes | None:
    """Return the report on a routed address; None: the owner's `.qmail` files decide.

    `answer`: what the look-up of its local part found, None where that failed.
    """
    found = local_route(answer, address)
    if isinstance(found, bytes):
        return found
    has_dash = answer is not None and answer.owner is not None and bool(answer.owner.dash)
    # A user's own address has a mailbox with or without a `.qmail` file.
    return None if has_dash else KNOWN_REPORT
