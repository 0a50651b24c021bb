"""What new-inject makes of a message: a clean header by rules, and an envelope (spec/inject.md 9).

The message comes and goes as with qmail-inject: core/inject/run.py.
"""

from __future__ import annotations

from qmail.core.inject.message import NO_RECIPIENTS, Composed, NoRecipientsError
from qmail.core.inject.order import make_moment, read_lists, read_person
from qmail.core.inject.outgoing import Outgoing, Own
from qmail.core.settings.host_rules import read_own_rules, read_rewriting
from qmail.core.settings.lines import control_reader
from qmail.protocol.date_field import when_of
from qmail.protocol.loose_addresses import write_address
from qmail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Final

    from qmail.core.inject.message import Moment, Person, Request
    from qmail.core.inject.run import World
    from qmail.core.settings.host_rules import Rewriting
    from qmail.protocol.header import Field

HIDDEN: Final = (b"bcc",)
ENVELOPE: Final = (b"envelope-recipients", b"envelope-sender", b"return-path")
TAI_S: Final = 10
"""A TAI64 label counts so many seconds more than the clock of Unix, leap seconds left out."""


class Order(Record):
    """All that the header and the envelope are made from, besides the message."""

    request: Request
    rewriting: Rewriting
    person: Person
    moment: Moment
    now_s: int
    pid: int
    letters: bytes
    lists: frozenset[bytes] | None


def prepare(
    request: Request, world: World, letters: bytes
) -> Callable[[Iterable[Field]], Composed]:
    """Read all but the message; return what composes that.

    Raises: ControlError: a bad control file. OSError: a file is there and can't be read.
    """
    environ = world.environ
    # In the variable they may come in either case; as options they are capitals.
    letters = (environ.get(b"QMAILINJECT", b"") + letters).lower()
    lists = read_lists(environ)
    own = read_own_rules(environ)
    world.enter_home()
    now_s = int(world.now())
    order = Order(
        request,
        read_rewriting(environ, control_reader(world.home), own),
        read_person(environ),
        make_moment(now_s, world.pid, int.from_bytes(world.random(8), "big")),
        now_s,
        world.pid,
        letters,
        lists,
    )
    return lambda fields: compose(order, fields)


def compose(order: Order, fields: Iterable[Field]) -> Composed:
    """Write the header and collect the envelope.

    Raises: NoRecipientsError: nobody to send to.
    """
    outgoing = Outgoing(order.rewriting.rules, (*HIDDEN, *ENVELOPE))
    for field in fields:
        outgoing.take(field)
    if b"f" in order.letters:
        outgoing.replace(b"from", ())
    if b"i" in order.letters:
        outgoing.drop_ids()
    sender = _sender(order, outgoing)
    recipients = _recipients(order, outgoing)
    _add_followup(order, outgoing)
    header = outgoing.written(_own(order))
    if order.request.is_shown:
        header = _envelope_fields(sender, recipients) + header
    elif not recipients:
        raise NoRecipientsError(NO_RECIPIENTS)
    return Composed(header, sender, tuple(recipients), ())


def _own(order: Order) -> Own:
    # Left part of the Message-ID: the digits of its own moment give way to those of the Date field.
    tail = order.moment.unique.partition(b".")[2]
    idhost = order.rewriting.idhost
    person = order.person
    address = order.rewriting.rules.address(person.user + b"@" + (person.host or b""))
    return Own(
        when_of(order.now_s),
        lambda digits: digits + b"." + tail + b"@" + idhost,
        address,
        person.name,
    )


def _sender(order: Order, outgoing: Outgoing) -> bytes:
    rules = order.rewriting.rules
    if order.request.sender is not None:
        return rules.address(order.request.sender)
    told = outgoing.addresses(b"envelope-sender")
    if not told and b"s" not in order.letters:
        told = outgoing.addresses(b"return-path")
    if told:
        return told[-1]
    person = order.person
    user = person.sender_user
    if b"m" in order.letters:
        user += b"-%d.%d" % ((order.now_s + TAI_S) & 0xFFFFFFFF, order.pid)
    each_recipient = b"r" in order.letters
    user += b"-" if each_recipient else b""
    sender = rules.address(user + b"@" + (person.sender_host or b""))
    return sender + b"-@[]" if each_recipient else sender


def _recipients(order: Order, outgoing: Outgoing) -> list[bytes]:
    request = order.request
    mode = request.mode
    if mode == "A":
        mode = "a" if request.arguments else "h"
    found = []
    if mode != "h":
        found += [order.rewriting.rules.address(text) for text in request.arguments]
    if mode != "a":
        named = b"envelope-recipients" in outgoing.present
        names = ENVELOPE[:1] if named else (b"to", b"cc", *HIDDEN)
        for name in names:
            found += outgoing.addresses(name)
    return [address for address in found if address]


def _add_followup(order: Order, outgoing: Outgoing) -> None:
    """Add Mail-Followup-To where a mailing list of the user is among the recipients."""
    if outgoing.entries(b"mail-followup-to") or not order.lists:
        return
    public = outgoing.entries(b"to") + outgoing.entries(b"cc")
    if any(entry.address and entry.address.lower() in order.lists for entry in public):
        outgoing.replace(b"mail-followup-to", public)


def _envelope_fields(sender: bytes, recipients: list[bytes]) -> bytes:
    lines = b"".join(b"  " + write_address(address) + b",\n" for address in recipients)
    return b"Envelope-Sender: " + write_address(sender) + b"\nEnvelope-Recipients:\n" + lines
