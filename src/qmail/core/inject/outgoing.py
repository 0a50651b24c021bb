"""The header of an outgoing message as new-inject and ofmipd write it: complete, in one order.

Address lists are read loosely and written cleanly, several fields of one name become one, trace
fields stand on top, and what is missing is added. Source: spec/inject.md 9, spec/companion.md 7.
"""

from __future__ import annotations

from qmail.protocol.date_field import read_date
from qmail.protocol.loose_addresses import Entry, read_list, write_address, write_field
from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Final

    from qmail.core.settings.host_rules import Rules
    from qmail.protocol.date_field import When
    from qmail.protocol.header import Field

TRACE: Final = frozenset((
    b"received", b"delivered-to", b"errors-to", b"return-receipt-to",
    b"resent-sender", b"resent-from", b"resent-reply-to", b"resent-to", b"resent-cc",
    b"resent-bcc", b"resent-date", b"resent-message-id",
))  # fmt: skip
"""Kept as they are, on top."""
AFTER_FROM: Final = (
    b"Sender", b"Reply-To", b"Mail-Reply-To", b"Mail-Followup-To"
)  # fmt: skip
RECIPIENTS: Final = (b"To", b"Cc", b"Notice-Requested-Upon-Delivery-To")
WRITTEN: Final = (b"From", *AFTER_FROM, *RECIPIENTS)
"""Lists that are in the output, by their labels."""
DROPPED: Final = frozenset((b"bcc", b"return-path", b"content-length"))
_SAME: Final = {b"apparently-to": b"bcc"}
"""Another name of the same thing."""
NOT_SHOWN: Final = b"Cc: recipient list not shown: ;\n"


class Own(Record):
    """What is put in where the message lacks it."""

    now: When
    message_id: Callable[[bytes], bytes]
    """Takes the digits of date and time, and returns what stands between < and >."""
    from_: bytes
    """The address, rewritten."""
    name: bytes | None


class Outgoing:
    """One header: takes fields, then writes itself."""

    def __init__(self, rules: Rules, more_lists: Iterable[bytes] = ()) -> None:
        """Take the rules for hosts; `more_lists`: other fields that are read and not written."""
        self._rules = rules
        self._top: list[bytes] = []
        self._rest: list[bytes] = []
        self._ids: list[bytes] = []
        self._date: When | None = None
        names = [label.lower() for label in WRITTEN]
        self._lists: dict[bytes, list[Entry]] = {name: [] for name in (*names, *more_lists)}
        self.present: set[bytes] = set()
        """The names of the fields that came, in lower case."""

    def take(self, field: Field) -> None:
        """Take the next field."""
        name = _SAME.get(field.name, field.name)
        self.present.add(name)
        if name in TRACE:
            self._top.append(field.raw)
        elif name in self._lists:
            self._lists[name] += self._read(field.value)
        elif name == b"date":
            self._date = read_date(field.value) or self._date
        elif name == b"message-id":
            self._ids.append(field.raw)
        elif name not in DROPPED:
            self._rest.append(field.raw)

    def _read(self, value: bytes) -> list[Entry]:
        rules = self._rules
        return [
            entry if entry.address is None else Entry(entry.name, rules.address(entry.address))
            for entry in read_list(value)
        ]

    def addresses(self, name: bytes) -> list[bytes]:
        """Return the addresses in a list, rewritten, in reading order; <> is b""."""
        return [entry.address for entry in self._lists[name] if entry.address is not None]

    def entries(self, name: bytes) -> list[Entry]:
        """Return everything in a list."""
        return self._lists[name]

    def replace(self, name: bytes, entries: Sequence[Entry]) -> None:
        """Put other entries into a list, or none."""
        self._lists[name] = list(entries)

    def drop_ids(self) -> None:
        """Forget the Message-ID that came."""
        self._ids.clear()

    def written(self, own: Own) -> bytes:
        """Return the header, without the empty line after it."""
        when = self._date or own.now
        unique = b"Message-ID: <%b>\n" % own.message_id(when.digits()) if not self._ids else b""
        sender = self._field(b"From")
        if not sender:
            sender = b"From: " + write_address(own.from_, own.name) + b"\n"
        unseen = b"" if self._lists[b"to"] or self._lists[b"cc"] else NOT_SHOWN
        return b"".join((
            *self._top,
            b"Date: " + when.field() + b"\n",
            *self._ids,
            unique,
            sender,
            *map(self._field, AFTER_FROM),
            unseen,
            *map(self._field, RECIPIENTS),
            *self._rest,
        ))  # fmt: skip

    def _field(self, label: bytes) -> bytes:
        entries = self._lists[label.lower()]
        return write_field(label, entries) if entries else b""
