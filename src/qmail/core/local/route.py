"""What qmail-lspawn makes of a recipient, before and after its owner is known.

Source: spec/delivery.md 2 and 10.
"""

from typing import Final

from qmail.protocol.local_door import Answer, Target
from qmail.protocol.local_exits import LOOKUP_CRASHED, LocalExit, local_report

TRASH: Final = b"K"
"""The report for an address whose local part is empty: delivered, to nobody."""
NO_DOMAIN: Final = b"DThe recipient's address has no domain. (#5.1.3)\n"
BAD_ADDRESS: Final = b"ZAn address contains a NUL byte. (#4.3.5)\n"

Route = tuple[tuple[int, int], bytes] | bytes
"""Where a recipient's mail goes: account and packed target; or the report that says why not."""


def wrong_with_recipient(recipient: bytes) -> bytes | None:
    """Return the report for a recipient whose owner is not even asked for."""
    if b"@" not in recipient:
        return NO_DOMAIN
    if b"\0" in recipient:
        return BAD_ADDRESS
    if recipient.rfind(b"@") == 0:
        return TRASH
    return None


def local_route(answer: Answer | None, recipient: bytes) -> Route:
    """Return where the mail goes by what the helper said; None: it said nothing."""
    if answer is None:
        return LOOKUP_CRASHED
    if answer.owner is None:
        return local_report(answer.code, b"")
    owner = answer.owner
    if owner.uid == 0:
        return local_report(LocalExit.ROOT, b"")
    local, _, domain = recipient.rpartition(b"@")
    target = Target(owner.user, owner.home, local, owner.dash, owner.ext, domain)
    return (owner.uid, owner.gid), target.pack()
