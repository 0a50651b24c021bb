"""The conversation of ofmipd: events to rules, messages to the queue."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple, NoReturn

from qmail.core.cdb import Cdb, CdbError
from qmail.core.dates import mail_date
from qmail.core.inject.ofmip_names import Person, look_up
from qmail.core.inject.outgoing import Outgoing, Own
from qmail.core.settings.host_rules import Rewriting
from qmail.edge.log.lines import complain
from qmail.edge.submit.queue import Outcome
from qmail.edge.wires.timed_wire import TimedWire, WireError, WireTimeoutError
from qmail.envelope import BadEnvelopeError, Envelope
from qmail.mail import Letter
from qmail.protocol import ofmip
from qmail.protocol.date_field import When, when_of
from qmail.protocol.header import Field, HeaderReader, HeaderTooLongError
from qmail.protocol.ofmip import (
    ADDRESS_BYTES_MAX,
    Body,
    DataBegins,
    Event,
    MailFrom,
    MessageEnds,
    RcptTo,
    Session,
)
from qmail.protocol.reply import Reply
from qmail.protocol.smtp_server import OUT_BYTES_MAX

COMMAND_S_MAX: Final = 1200
"""A command has come whole after so long."""
DATA_S_MIN: Final = 600.0
DATA_BYTES_PER_S_MIN: Final = 1024
"""A message may take DATA_S_MIN, and a second for each so many bytes."""
LINGER_S: Final = 5.0
HEADER_BYTES_MAX: Final = 256 * 1024
"""It is held in memory, and takes seconds of work where it is made to."""
_TAME: Final = bytes(
    byte if 33 <= byte <= 126 and byte not in b"()@\\" else ord("?") for byte in range(256)
)

Submit = Callable[[Iterator[bytes], Envelope], Outcome]


class Policy(NamedTuple):
    """What is the same for the whole conversation."""

    rewriting: Rewriting
    table: Cdb | None
    """Of names and addresses."""
    received: bytes
    """The Received field up to its date."""
    bytes_max: int
    """Largest message; 0 is no limit."""
    unique: bytes
    """What no other process has, for a Message-ID."""


class DroppedError(Exception):
    """The message won't be taken; the reply says why."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.line.decode())
        self.reply = reply


class Conversation:
    """One client."""

    def __init__(
        self, wire: TimedWire, policy: Policy, submit: Submit, now: Callable[[], float]
    ) -> None:
        self._wire = wire
        self._policy = policy
        self._submit = submit
        self._now = now
        self._session = Session()
        self._person = Person(b"", None)
        self._id_count = 0

    def run(self) -> bool:
        """Talk until the end. Returns whether the client has said QUIT."""
        session = self._session
        try:
            self._talk()
        except WireTimeoutError:
            self._end(ofmip.TIMED_OUT)
        except WireError:
            return False
        except Exception as trouble:
            complain("ofmipd", f"session: {trouble!r}")
            self._end(ofmip.UNFORESEEN)
        if not session.has_quit:
            self._wire.linger(LINGER_S)
        return session.has_quit

    def _end(self, reply: Reply) -> None:
        self._session.close(reply)
        try:
            self._send()
        except WireError:
            return

    def _talk(self) -> None:
        session = self._session
        deadline = time.monotonic() + COMMAND_S_MAX
        while True:
            while (event := session.next_event()) is not None:
                self._handle(event)
            sent = self._send()
            if session.is_closed:
                return
            if sent:
                deadline = time.monotonic() + COMMAND_S_MAX
            if sent <= OUT_BYTES_MAX:
                session.feed(self._wire.read(deadline))

    def _send(self) -> int:
        out = self._session.bytes_to_send()
        self._wire.write(out)
        return len(out)

    def _handle(self, event: Event) -> None:
        session = self._session
        match event:
            case MailFrom(address):
                session.answer(self._judged_sender(address))
            case RcptTo(address):
                rewritten = self._policy.rewriting.rules.address(address)
                fits = 0 < len(rewritten) <= ADDRESS_BYTES_MAX
                session.answer(ofmip.OK if fits else ofmip.SYNTAX, rewritten)
            case DataBegins():
                session.answer(ofmip.GO_AHEAD)
                session.answer(self._taken(session.recipients))
            case _:
                raise AssertionError(f"{event} outside a message")

    def _judged_sender(self, address: bytes) -> Reply:
        rewritten = self._policy.rewriting.rules.address(address)
        if len(rewritten) > ADDRESS_BYTES_MAX:
            return ofmip.SYNTAX
        try:
            self._person = look_up(self._policy.table, rewritten)
        except (CdbError, OSError) as trouble:
            complain("ofmipd", str(trouble))
            return ofmip.NO_CDB
        return ofmip.OK

    # --- a message ------------------------------------------------------------------------------

    def _taken(self, recipients: list[bytes]) -> Reply:
        """Read one message to its end, and queue it. Returns the answer to it."""
        parts = self._message()
        try:
            outcome = self._submit(parts, Envelope(self._person.address, tuple(recipients)))
            # Refused before all of it was read: the reply has to wait for its end all the same.
            for _ in parts:
                pass
        except DroppedError as dropped:
            return dropped.reply
        except BadEnvelopeError as wrong:
            return self._after_the_end(Reply(554, b"", f"{wrong} (#5.1.3)".encode()))
        if outcome.result is None:
            return Reply(250, b"", b"ok %d qp %d" % (self._now(), outcome.qp))
        code = 554 if outcome.result.letter is Letter.FAILED else 451
        return Reply(code, b"", outcome.result.text.strip().replace(b"\n", b" ")[:400])

    def _message(self) -> Iterator[bytes]:
        """Yield the message as it is to be queued. Raises: DroppedError, WireError."""
        stored = self._stored()
        reader = HeaderReader(HEADER_BYTES_MAX)
        body: bytes | None = None
        try:
            while body is None:
                part = next(stored, b"")
                body = reader.feed(part) if part else reader.finish()
        except HeaderTooLongError:
            self._drop(stored, ofmip.HEADER_TOO_BIG)
        now_s = int(self._now())
        yield self._policy.received + mail_date(now_s) + b"\n"
        yield self._header(reader.fields, when_of(now_s))
        yield body
        yield from stored

    def _header(self, fields: list[Field], now: When) -> bytes:
        outgoing = Outgoing(self._policy.rewriting.rules)
        for field in fields:
            outgoing.take(field)
        person = self._person
        if person.name is not None:
            outgoing.replace(b"from", ())
        return outgoing.written(Own(now, self._message_id, person.address, person.name))

    def _message_id(self, digits: bytes) -> bytes:
        policy = self._policy
        self._id_count += 1
        idhost = policy.rewriting.idhost
        return b"%b.%d.%b@%b" % (digits, self._id_count, policy.unique, idhost)

    def _stored(self) -> Iterator[bytes]:
        """Yield the parts of the message as they come; none of them is empty."""
        session = self._session
        limit = time.monotonic() + DATA_S_MIN
        size = 0
        while True:
            event = session.next_event()
            if event is None:
                self._send()
                data = self._wire.read(limit)
                limit += len(data) / DATA_BYTES_PER_S_MIN
                session.feed(data)
                continue
            assert isinstance(event, Body | MessageEnds)
            size += len(event.data)
            is_too_big = 0 < self._policy.bytes_max < size
            if isinstance(event, MessageEnds):
                if event.refusal is not None or is_too_big:
                    raise DroppedError(event.refusal or ofmip.TOO_BIG)
                if event.data:
                    yield event.data
                return
            if event.data and not is_too_big:
                yield event.data

    def _drop(self, stored: Iterator[bytes], reply: Reply) -> NoReturn:
        for _ in stored:
            pass
        raise DroppedError(reply)

    def _after_the_end(self, reply: Reply) -> Reply:
        try:
            self._drop(self._stored(), reply)
        except DroppedError as dropped:
            return dropped.reply


def received_start(environ: Mapping[bytes, bytes]) -> bytes:
    """Return the beginning of the Received field: who the client is, as tcpserver says."""
    info = environ.get(b"TCPREMOTEINFO")
    ip = environ.get(b"TCPREMOTEIP", b"unknown").translate(_TAME)
    who = ip if info is None else info.translate(_TAME) + b"@" + ip
    return b"Received: (ofmipd " + who + b"); "
