"""The two lines on top of a message in a maildir, which tell who sent it and who gets it.

qmail-local writes `Return-Path: <SENDER>`, quoted as a header has it, and, not quoted,
`Delivered-To: RECIPIENT`. Source: spec/delivery.md 7, spec/companion.md 3.
"""

from typing import Final, NamedTuple

TOP_BYTES_MAX: Final = 16384
"""So much of a file is looked at: addresses are much shorter, quoted ones too."""
_RETURN_PATH: Final = b"Return-Path: <"
_DELIVERED_TO: Final = b"Delivered-To: "


class Top(NamedTuple):
    """What the two lines say, and how many bytes they have."""

    sender: bytes
    recipient: bytes
    size: int


def read_top(start: bytes) -> Top | None:
    """Read the two lines at the start of a message; None: it does not begin with them."""
    first, recipient = _two_lines(start)
    if recipient is None or not first.startswith(_RETURN_PATH) or not first.endswith(b">\n"):
        return None
    size = len(first) + len(_DELIVERED_TO) + len(recipient) + 1
    return Top(_unquoted(first[len(_RETURN_PATH) : -2]), recipient, size)


def read_recipient(start: bytes) -> bytes | None:
    """Return the recipient that the second line names, whatever the first one is; None: none."""
    return _two_lines(start)[1]


def _two_lines(start: bytes) -> tuple[bytes, bytes | None]:
    end = start.find(b"\n") + 1
    if not end or not start.startswith(_DELIVERED_TO, end):
        return start[:end], None
    recipient, lf, _ = start[end + len(_DELIVERED_TO) :].partition(b"\n")
    return start[:end], recipient if lf else None


def _unquoted(address: bytes) -> bytes:
    """Return an address as envelopes have it: a local part in quotes loses them."""
    if not address.startswith(b'"'):
        return address
    local: list[bytes] = []
    at = 1
    while at < len(address):
        byte = address[at : at + 1]
        at += 1
        if byte == b'"':
            return b"".join(local) + address[at:]
        if byte == b"\\":
            byte = address[at : at + 1]
            at += 1
        local.append(byte)
    return address
