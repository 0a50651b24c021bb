"""qreceipt: tell the sender that the message arrived, if the sender asked (spec/programs.md 6)."""

from __future__ import annotations

import os
import time

from qmail.core.dates import mail_date
from qmail.edge.machine.standard import say
from qmail.edge.tools.line_tool import DONE, PERMANENT, message, queue_message, run_tool, variable
from qmail.protocol.address_list import AddressSyntaxError, addresses, parse_list, plain, quote
from qmail.protocol.header import HeaderReader, HeaderTooLongError
from qmail.protocol.options import asks_for_help

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Final

    from qmail.protocol.header import Field

NAME: Final = "qreceipt"
USAGE: Final = "qreceipt: usage: qreceipt deliveryaddress"
HEADER_BYTES_MAX: Final = 1024 * 1024
NOBODY: Final = (b"", b"#@[]")
"""Senders that are told nothing: of bounces, and of bounces of bounces."""
WISH: Final = b"notice-requested-upon-delivery-to"


def main(argv: Sequence[str]) -> int:
    """Look at the message on descriptor 0, and answer it where it asks for that."""
    if len(argv) != 1 or asks_for_help(argv):
        say(USAGE)
        return PERMANENT
    return run_tool(NAME, lambda: acknowledge(os.fsencode(argv[0])))


def acknowledge(address: bytes) -> int:
    """Send the receipt, if the message asks for one from `address`. Returns the exit code."""
    sender = variable("SENDER")
    if sender in NOBODY:
        return DONE
    fields = header_of(message())
    if any(field.name == WISH and names(field.value, address) for field in fields):
        queue_message(NAME, b"", (sender,), (receipt(sender, address, fields),))
    return DONE


def header_of(parts: Iterable[bytes]) -> Sequence[Field]:
    """Return the fields of a message; none where its header does not end within the limit."""
    reader = HeaderReader(HEADER_BYTES_MAX)
    try:
        for part in parts:
            if reader.feed(part) is not None:
                return reader.fields
        reader.finish()
    except HeaderTooLongError as wrong:
        # No reason to keep the message from its recipient.
        say(f"{NAME}: warning: {wrong}")
        return ()
    return reader.fields


def names(value: bytes, address: bytes) -> bool:
    """Say whether the address list `value` has exactly `address` in it."""
    try:
        return any(plain(found.tokens) == address for found in addresses(parse_list(value)))
    except AddressSyntaxError:
        return False


def receipt(sender: bytes, address: bytes, fields: Iterable[Field]) -> bytes:
    """Write the receipt: it repeats the Message-ID of what has arrived."""
    author = quote(sender).replace(b"\n", b"_")
    lines = [
        b"Date: %b\nFrom: <%b>\nTo: <%b>\n" % (mail_date(int(time.time())), author, author),
        b"Subject: success notice\nAuto-Submitted: auto-replied\n\n",
        b"Your message was delivered to %b.\n\n" % address.replace(b"\n", b"_"),
    ]
    lines += [field.raw for field in fields if field.name == b"message-id"]
    return b"".join(lines)
