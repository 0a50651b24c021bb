"""What qmail-local tells delivery programs and writes above a message (spec/delivery.md 6, 7)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from time import gmtime
from typing import Final

from qmail.core.dates import MONTHS
from qmail.protocol.local_door import Target
from qmail.protocol.path import quote

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_BLANKS: Final = bytes.maketrans(b" \t\n", b"---")
OURS: Final = (
    b"SENDER", b"NEWSENDER", b"RECIPIENT", b"LOCAL", b"HOST", b"HOST2", b"HOST3", b"HOST4",
    b"EXT", b"EXT2", b"EXT3", b"EXT4", b"DEFAULT", b"USER", b"HOME", b"DTLINE", b"RPLINE",
    b"UFLINE",
)  # fmt: skip
"""The variables that are set for every delivery, or taken out: none is inherited."""
SENDERS_KEPT: Final = (b"", b"#@[]")
"""Bounces and double bounces: no list's owner takes their place."""


def delivered_to(target: Target) -> bytes:
    """Return the Delivered-To line, unquoted: what stops a loop is that it is found again."""
    address = target.local + b"@" + target.domain
    return b"Delivered-To: " + address.replace(b"\n", b"_") + b"\n"


@lru_cache(maxsize=256)
def return_path(sender: bytes) -> bytes:
    """Return the Return-Path line."""
    return b"Return-Path: <" + quote(sender).replace(b"\n", b"_") + b">\n"


def from_line(sender: bytes, now_s: int) -> bytes:
    """Return the line that begins a message in an mbox file."""
    at = gmtime(now_s)
    date = (
        f"{_DAYS[at.tm_wday]} {MONTHS[at.tm_mon - 1]} {at.tm_mday:02} "
        f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} {at.tm_year}"
    )
    name = sender.translate(_BLANKS) or b"MAILER-DAEMON"
    return b"From " + name + b" " + date.encode() + b"\n"


def new_sender(sender: bytes, target: Target, *, has_owner: bool, has_verp: bool) -> bytes:
    """Return the sender of forwarded mail: the list's owner where there is one.

    `has_owner`, `has_verp`: whether the files of `dotqmail.owner_files` exist.
    """
    if sender in SENDERS_KEPT or not has_owner:
        return sender
    if has_verp:
        return target.local + b"-owner-@" + target.domain + b"-@[]"
    return target.local + b"-owner@" + target.domain


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the environment of a delivery program is made from."""

    target: Target
    sender: bytes
    forward_sender: bytes
    default: bytes | None
    now_s: int


def environment(facts: Facts, inherited: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the environment of a delivery program."""
    target, sender = facts.target, facts.sender
    found = {name: value for name, value in inherited.items() if name not in OURS}
    found |= {
        b"SENDER": sender,
        b"NEWSENDER": facts.forward_sender,
        b"RECIPIENT": target.local + b"@" + target.domain,
        b"USER": target.user,
        b"HOME": target.home,
        b"LOCAL": target.local,
        b"HOST": target.domain,
        b"EXT": target.ext,
        b"DTLINE": delivered_to(target),
        b"RPLINE": return_path(sender),
        b"UFLINE": from_line(sender, facts.now_s),
    }
    ext, host = target.ext, target.domain
    for number in (b"2", b"3", b"4"):
        ext = ext.partition(b"-")[2]
        # Without a further dot the host repeats (spec/delivery.md 7).
        host = host.rpartition(b".")[0] if b"." in host else host
        found[b"EXT" + number] = ext
        found[b"HOST" + number] = host
    if facts.default is not None:
        found[b"DEFAULT"] = facts.default
    return found
