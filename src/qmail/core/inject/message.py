"""What qmail-inject makes of a message: a complete header, and an envelope from it.

Pure: the order says who, when and how, the fields are the header as it came.
Source: spec/inject.md 3 to 7, spec/oddities.md 8.
"""

from __future__ import annotations

from qmail.core.inject.rewriting import (
    Hosts,
    Rewriter,
    envelope_address,
    host_tokens,
    is_host,
    user_tokens,
)
from qmail.protocol.address_list import (
    AT,
    ATOM,
    COMMENT,
    QUOTED,
    Address,
    AddressSyntaxError,
    Phrase,
    Token,
    addresses,
    elements,
    plain,
    quote,
    written,
    written_element,
)
from qmail.protocol.encoded_word import encode_words
from qmail.protocol.header import Field, folded, make_field
from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Final

    from qmail.protocol.address_list import Item

RESENT_NAMES: Final = frozenset(
    b"resent-" + name
    for name in (b"sender", b"from", b"reply-to", b"to", b"cc", b"bcc", b"date", b"message-id")
)
"""Any of these makes the message a resent one (RFC 5322 3.6.6)."""
FIELD_SHOWN_MAX: Final = 200
NO_RECIPIENTS: Final = "no recipients: none among the arguments, none in the header"


class InjectError(Exception):
    """A message that is not taken, for good; the text says why."""


class NoRecipientsError(InjectError):
    """Nobody to send to, and no address that could not be understood."""


class Person(Record):
    """Who sends, from the environment (spec/inject.md 2)."""

    user: bytes
    host: bytes | None
    name: bytes | None
    sender_user: bytes
    sender_host: bytes | None


class Moment(Record):
    """What is different every time."""

    date: bytes
    """As the Date field has it."""
    unique: bytes
    """Left part of the Message-ID."""
    stamp: bytes
    """Seconds and process id, for the sender of each message (QMAILINJECT letter m)."""


class Request(Record):
    """What the caller asks for on the command line."""

    mode: str = "A"
    """Where recipients come from: a arguments, h header, H both, A arguments or else header."""
    sender: bytes | None = None
    is_shown: bool = False
    """Print the result and do not queue it."""
    arguments: tuple[bytes, ...] = ()


class Order(Record):
    """All that the header and the envelope are made from, besides the message."""

    request: Request
    hosts: Hosts
    person: Person
    moment: Moment
    letters: bytes = b""
    """QMAILINJECT."""
    lists: frozenset[bytes] | None = None
    """Mailing lists the user is on, in lower case: QMAILMFTFILE."""


class Composed(Record):
    """The result: everything before the empty line, and the envelope."""

    header: bytes
    sender: bytes
    recipients: tuple[bytes, ...]
    warnings: tuple[str, ...]


class _Treatment(Record):
    recipients: str = ""
    """Whose recipients: plain, resent, or nobody's."""
    is_kept: bool = True
    is_public: bool = False
    """Its addresses are told to mailing-list readers: To and Cc."""


_RECIPIENT: Final = _Treatment("plain", True, True)
_HIDDEN: Final = _Treatment("plain", False)
_RESENT: Final = _Treatment("resent", True)
_OTHER: Final = _Treatment()
_TREATMENTS: Final[Mapping[bytes, _Treatment]] = {
    b"to": _RECIPIENT,
    b"cc": _RECIPIENT,
    b"bcc": _HIDDEN,
    b"apparently-to": _HIDDEN,
    b"resent-to": _RESENT,
    b"resent-cc": _RESENT,
    b"resent-bcc": _Treatment("resent", False),
    b"sender": _OTHER,
    b"from": _OTHER,
    b"reply-to": _OTHER,
    b"return-receipt-to": _OTHER,
    b"errors-to": _OTHER,
    b"resent-sender": _OTHER,
    b"resent-from": _OTHER,
    b"resent-reply-to": _OTHER,
}
"""The fields that hold addresses to rewrite (spec/inject.md 4)."""


def compose(order: Order, fields: Iterable[Field]) -> Composed:
    """Rewrite the header and collect the envelope.

    Raises: InjectError: an address that can't be understood, or nobody to send to.
    """
    _check_hosts(order)
    draft = _Draft(order)
    for field in fields:
        draft.take(field)
    return draft.result()


class _Draft:
    """The message so far."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._rewriter = Rewriter(order.hosts)
        self._saved = bytearray()
        self._present: set[bytes] = set()
        self._is_resent = False
        self._recipients: dict[str, list[bytes]] = {"plain": [], "resent": []}
        self._public: list[list[bytes]] = []
        self._returned: bytes | None = None
        self._has_return_path = False
        self._warnings: list[str] = []
        self._deleted = {b"content-length"}
        self._deleted |= {b"from"} if b"f" in order.letters else set()
        self._deleted |= {b"message-id"} if b"i" in order.letters else set()

    # --- the fields that came ---

    def take(self, field: Field) -> None:
        name = field.name
        self._is_resent = self._is_resent or name in RESENT_NAMES
        treatment = _TREATMENTS.get(name)
        if name == b"return-path":
            self._take_return_path(field)
        elif treatment is not None and treatment.recipients:
            self._take_recipients(field, treatment)
        elif name not in self._deleted:
            self._present.add(name)
            self._saved += field.raw if treatment is None else self._understood(field)

    def _take_return_path(self, field: Field) -> None:
        if b"s" in self._order.letters:
            return
        last: Address | None = None
        try:
            for items in elements(field.value):
                last = addresses(items)[-1] if addresses(items) else last
            if last is not None and not self._has_return_path:
                self._returned = envelope_address(self._rewriter.rewrite(last))
        except AddressSyntaxError as wrong:
            raise _field_error(field, wrong) from wrong
        self._has_return_path = self._has_return_path or last is not None

    def _take_recipients(self, field: Field, treatment: _Treatment) -> None:
        self._present.add(field.name)
        found: list[bytes] = []
        try:
            rewritten = self._rewritten(field, found)
        except AddressSyntaxError as wrong:
            self._warnings.append(str(_field_error(field, wrong)))
            self._saved += field.raw if treatment.is_kept else b""
            return
        found = [address for address in found if address]
        # Right to left, as the field was parsed.
        self._recipients[treatment.recipients] += reversed(found)
        if treatment.is_public:
            self._public.append(found)
        if treatment.is_kept:
            self._saved += rewritten

    def _understood(self, field: Field) -> bytes:
        try:
            return self._rewritten(field, None)
        except AddressSyntaxError as wrong:
            raise _field_error(field, wrong) from wrong

    def _rewritten(self, field: Field, found: list[bytes] | None) -> bytes:
        """Return the field with its addresses made whole; `found` gets them for the envelope."""
        pieces = []
        for items in elements(field.value):
            for at, item in enumerate(items):
                if isinstance(item, Address):
                    items[at] = address = self._rewriter.rewrite(item)
                    if found is not None:
                        found.append(envelope_address(address))
            pieces.append(written_element(items))
        return folded(field.label, pieces)

    # --- the envelope ---

    def result(self) -> Composed:
        sender = self._sender()
        recipients = self._all_recipients()
        if not recipients and not self._order.request.is_shown:
            if self._warnings:
                raise InjectError("; ".join(self._warnings))
            raise NoRecipientsError(NO_RECIPIENTS)
        new = [field.raw for field in self._added(sender)]
        return Composed(
            b"".join((*new, self._saved)), sender, tuple(recipients), tuple(self._warnings)
        )

    def _sender(self) -> bytes:
        order = self._order
        if order.request.sender is not None:
            return self._argument(order.request.sender)
        each_recipient = b"r" in order.letters
        if self._returned is not None:
            verp = each_recipient and self._returned
            return self._returned + b"-@[]" if verp else self._returned
        person = order.person
        user = person.sender_user
        if b"m" in order.letters:
            user += b"-" + order.moment.stamp
        if each_recipient:
            user += b"-"
        address = self._own_address((Token(QUOTED, user),), person.sender_host)
        sender = plain(address.tokens)
        return sender + b"-@[]" if each_recipient else sender

    def _own_address(self, user: tuple[Token, ...], host: bytes | None) -> Address:
        rest = () if host is None else (AT, *host_tokens(host))
        return self._rewriter.rewrite(Address(user + rest))

    def _argument(self, text: bytes) -> bytes:
        try:
            return self._rewriter.argument(text)
        except AddressSyntaxError as wrong:
            raise InjectError(f"unable to parse this address: {_shown(text)}: {wrong}") from wrong

    def _all_recipients(self) -> list[bytes]:
        request = self._order.request
        found = []
        use_arguments = request.mode in ("a", "H") or (request.mode == "A" and request.arguments)
        if use_arguments:
            found += [self._argument(text) for text in request.arguments]
            if b"" in found:
                raise InjectError("an empty address among the arguments")
        if request.mode in ("h", "H") or (request.mode == "A" and not use_arguments):
            found += self._recipients["resent" if self._is_resent else "plain"]
        return found

    # --- the fields that are added ---

    def _added(self, sender: bytes) -> Iterable[Field]:
        prefix = b"Resent-" if self._is_resent else b""
        moment = self._order.moment
        if self._order.request.is_shown:
            yield make_field(b"Return-Path", b"<" + quote(sender) + b">")
        if self._lacks(prefix, b"Date"):
            yield make_field(prefix + b"Date", moment.date)
        if self._lacks(prefix, b"Message-ID"):
            unique = b"<%b@%b>" % (moment.unique, self._order.hosts.idhost)
            yield make_field(prefix + b"Message-ID", unique)
        if self._lacks(prefix, b"From"):
            label = prefix + b"From"
            yield Field(label.lower(), folded(label, written(self._own_from())))
        if self._lacks(prefix, b"To") and self._lacks(prefix, b"Cc"):
            yield make_field(prefix + b"Cc", b"recipient list not shown: ;")
        if not self._is_resent and self._lacks(b"", b"Mail-Followup-To") and self._is_on_list():
            public = b",\n  ".join(
                quote(address) for found in reversed(self._public) for address in found
            )
            yield make_field(b"Mail-Followup-To", public)

    def _lacks(self, prefix: bytes, label: bytes) -> bool:
        return (prefix + label).lower() not in self._present

    def _is_on_list(self) -> bool:
        lists = self._order.lists
        if not lists:
            return False
        return any(address.lower() in lists for found in self._public for address in found)

    def _own_from(self) -> list[Item]:
        person = self._order.person
        address = self._own_address(user_tokens(person.user), person.host)
        if person.name is None:
            return [address]
        if b"c" in self._order.letters:
            name = person.name if person.name.isascii() else encode_words(person.name)
            return [address, Token(COMMENT, name)]
        kind, name = QUOTED, person.name
        if not name.isascii():
            kind, name = ATOM, encode_words(name)
        return [Phrase((Token(kind, name),)), Token("<", b"<"), address, Token(">", b">")]


def _check_hosts(order: Order) -> None:
    hosts, person = order.hosts, order.person
    for name, host in (
        ("defaulthost (or QMAILDEFAULTHOST)", hosts.defaulthost),
        ("defaultdomain (or QMAILDEFAULTDOMAIN)", hosts.defaultdomain),
        ("plusdomain (or QMAILPLUSDOMAIN)", hosts.plusdomain),
        ("QMAILHOST (or MAILHOST)", person.host),
        ("QMAILSHOST (or QMAILHOST, MAILHOST)", person.sender_host),
    ):
        if host is not None and not is_host(host):
            raise InjectError(f"{name}: {_shown(host)} is not a host name")


def _field_error(field: Field, wrong: AddressSyntaxError) -> InjectError:
    line = field.label + b":" + field.value
    return InjectError(f"unable to parse this line: {_shown(line.rstrip())}: {wrong}")


def _shown(text: bytes) -> str:
    """Return the start of `text`, without what a terminal would obey."""
    known = text[:FIELD_SHOWN_MAX].decode("utf-8", "replace")
    shown = "".join(character if character.isprintable() else "?" for character in known)
    return shown if len(text) <= FIELD_SHOWN_MAX else shown + "..."
