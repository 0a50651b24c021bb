"""What operators have said of recipients: held until released, or set aside until it is final.

A note names the records of one message that it is about; passes leave those out (`mask`). Notes are
kept in memory and in a store that only grows: entries with a checksum each, the last one about a
message and an operation counts. What a power cut leaves of an entry is not believed, and it was not
confirmed to anybody. A note knows the birth of its message: numbers come back.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple, Protocol

from qmail.mail import Channel
from qmail.protocol.netstring import FrameError, FrameReader, pack, pack_fields, unpack_fields
from qmail.protocol.queue_door import number as parsed

ENTRY_BYTES_MAX: Final = 1 << 24
SPENT_MIN: Final = 1000
"""So many entries at least are out of date before the store is written anew."""

Offsets = tuple[int, ...]
Places = tuple[Offsets, Offsets]
"""Where the records are, by channel."""
NOWHERE: Final[Places] = ((), ())


class Kind(Enum):
    """What is to be with a recipient; the value is the letter in the store."""

    HELD = b"H"
    DELETED = b"D"
    BOUNCED = b"B"


class Store(Protocol):
    """Where entries are kept: on disk after a commit. Every method may raise EngineError."""

    def read(self) -> bytes | None:
        """Return all of it, None where there is none."""
        ...

    def append(self, entries: bytes) -> None:
        """Add to its end."""
        ...

    def replace(self, entries: bytes) -> None:
        """Put these in place of all, in one step; none: have no store."""
        ...


@dataclass(eq=False, slots=True)
class Operation:
    """One thing that an operator did. `final_at`: from then on it can't be undone; 0: it can."""

    id: int
    kind: Kind
    made_at: int
    final_at: int = 0
    text: bytes = b""
    is_final: bool = False
    messages: set[int] = field(default_factory=set)


class Note(NamedTuple):
    """What one operation says of one message."""

    operation: Operation
    birth: int
    places: Places


class Notes:
    """All notes. Changes reach the store with `flush`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_message: dict[int, tuple[Note, ...]] = {}
        self._pending: list[bytes] = []
        self._entries = 0
        self._is_sound = True
        self._last_id = 0
        self.operations: dict[int, Operation] = {}

    # --- asking ---------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Return about how many messages there are notes."""
        return len(self._by_message)

    def numbers(self) -> Iterator[int]:
        """Yield the messages."""
        yield from self._by_message

    def of(self, message: int) -> tuple[Note, ...]:
        """Return the notes about one message."""
        return self._by_message.get(message, ())

    def kinds(self, message: int) -> dict[tuple[Channel, int], Kind]:
        """Return what is to be with each recipient of a message that there is a note about."""
        found: dict[tuple[Channel, int], Kind] = {}
        for note in self.of(message):
            for channel in Channel:
                for offset in note.places[channel]:
                    kind = note.operation.kind
                    if kind is not Kind.HELD or (channel, offset) not in found:
                        found[channel, offset] = kind
        return found

    def mask(self, message: int, channel: Channel, records: bytes) -> tuple[bytes, int]:
        """Return the records with those that notes are about as if they were done; and how many."""
        offsets = {offset for note in self.of(message) for offset in note.places[channel]}
        return masked(records, offsets) if offsets else (records, 0)

    # --- changing -------------------------------------------------------------------------------

    def begin(self, kind: Kind, now: int, final_at: int = 0, text: bytes = b"") -> Operation:
        """Return a new operation; it is kept as soon as there is a note of it."""
        self._last_id += 1
        return Operation(self._last_id, kind, now, final_at, text)

    def put(self, message: int, note: Note) -> None:
        """Add a note, in place of one of the same operation; one about nobody is removed."""
        operation = note.operation
        rest = tuple(each for each in self.of(message) if each.operation is not operation)
        if note.places == NOWHERE:
            self._keep(message, rest)
            operation.messages.discard(message)
            self._pending.append(_removal(operation, message))
            if not operation.messages:
                self.operations.pop(operation.id, None)
            return
        if operation.id not in self.operations:
            self.operations[operation.id] = operation
            self._pending.append(_operation_entry(operation))
        operation.messages.add(message)
        self._keep(message, (*rest, note))
        self._pending.append(_note_entry(message, note))

    def _keep(self, message: int, notes: tuple[Note, ...]) -> None:
        if notes:
            self._by_message[message] = notes
        else:
            self._by_message.pop(message, None)

    def remove(self, message: int, operation: Operation) -> bool:
        """Remove what an operation says of a message. Returns: whether there was something."""
        found = [note for note in self.of(message) if note.operation is operation]
        for note in found:
            self.put(message, note._replace(places=NOWHERE))
        return bool(found)

    def forget(self, message: int) -> None:
        """A message ends: its number will mean another one. Raises: EngineError."""
        if message in self._by_message:
            for note in self.of(message):
                self.remove(message, note.operation)
            self.flush()

    def flush(self) -> None:
        """Hand changes to the store. Raises: EngineError: `spoilt` was called."""
        pending, self._pending = self._pending, []
        self._entries += len(pending)
        try:
            is_long = self._entries > SPENT_MIN + 2 * len(self._by_message)
            if is_long or not (self._is_sound and self._by_message):
                self._rewrite()
            elif pending:
                self._store.append(b"".join(pending))
        except Exception:
            self.spoilt()
            raise

    def spoilt(self) -> None:
        """Writing or syncing failed: the next `flush` writes all anew."""
        self._pending.clear()
        self._is_sound = False

    def _rewrite(self) -> None:
        entries = [_operation_entry(each) for each in self.operations.values()]
        entries += [
            _note_entry(message, note)
            for message, notes in self._by_message.items()
            for note in notes
        ]
        self._store.replace(b"".join(entries))
        self._entries = len(entries)
        self._is_sound = True

    # --- start ----------------------------------------------------------------------------------

    def load(self, birth_of: Callable[[int], int | None]) -> None:
        """Read the store. `birth_of` says when a message was born, None: there is none.

        What a cut left at its end would hide what is added: the next `flush` writes all anew.
        Raises: EngineError: it can't be read.
        """
        raw = self._store.read()
        if raw is None:
            return
        for body in bodies(raw):
            self._take(body)
        for message in list(self._by_message):
            birth = birth_of(message)
            for note in self.of(message):
                if note.birth != birth:
                    self.remove(message, note.operation)
        self.operations = {id_: each for id_, each in self.operations.items() if each.messages}
        self.spoilt()

    def _take(self, body: bytes) -> None:
        try:
            if body[:1] == b"O":
                operation = _operation(body)
                self.operations[operation.id] = operation
                self._last_id = max(self._last_id, operation.id)
            else:
                message, note = self._note(body)
                self.put(message, note)
        except (FrameError, ValueError, KeyError):
            # Another version wrote it: what is not understood holds nobody up.
            return

    def _note(self, body: bytes) -> tuple[int, Note]:
        if body[:1] == b"R":
            id_, message = unpack_fields(body[1:], 2)
            return parsed(message), Note(self.operations[parsed(id_)], 0, NOWHERE)
        id_, message, birth, local, remote = unpack_fields(body[1:], 5)
        places = (_offsets(local), _offsets(remote))
        return parsed(message), Note(self.operations[parsed(id_)], parsed(birth), places)


def masked(records: bytes, offsets: set[int]) -> tuple[bytes, int]:
    """Return the records with those at `offsets` that are not done as if they were; how many."""
    changed = bytearray(records)
    count = 0
    for offset in offsets:
        if offset < len(changed) and changed[offset] == ord("T"):
            changed[offset] = ord("D")
            count += 1
    return bytes(changed), count


def bodies(raw: bytes) -> Iterator[bytes]:
    """Yield the entries of a store up to the first that is not whole."""
    start = 0
    while start < len(raw):
        colon = raw.find(b":", start, start + 10)
        digits = raw[start:colon]
        end = colon + 1 + int(digits) if colon > 0 and digits.isdigit() else len(raw)
        try:
            (payload,) = FrameReader(ENTRY_BYTES_MAX).feed(raw[start : end + 1])
        except (FrameError, ValueError):
            return
        crc, body = payload[:8], payload[8:]
        if crc != b"%08x" % zlib.crc32(body):
            return
        yield body
        start = end + 1


def entry(letter: bytes, *fields: bytes) -> bytes:
    """Return one entry of a store."""
    body = letter + pack_fields(*fields)
    return pack(b"%08x" % zlib.crc32(body) + body)


def unpacked(body: bytes, count: int) -> list[bytes]:
    """Return the `count` fields of an entry. Raises: FrameError."""
    return list(unpack_fields(body[1:], count))


def _operation_entry(made: Operation) -> bytes:
    times = (b"%d" % made.made_at, b"%d" % made.final_at)
    return entry(b"O", b"%d" % made.id, made.kind.value, *times, made.text)


def _operation(body: bytes) -> Operation:
    id_, kind, made_at, final_at, text = unpack_fields(body[1:], 5)
    return Operation(parsed(id_), Kind(kind), parsed(made_at), parsed(final_at), text)


def _note_entry(message: int, note: Note) -> bytes:
    local, remote = (b" ".join([b"%d" % each for each in places]) for places in note.places)
    operation = b"%d" % note.operation.id
    return entry(b"N", operation, b"%d" % message, b"%d" % note.birth, local, remote)


def _removal(operation: Operation, message: int) -> bytes:
    return entry(b"R", b"%d" % operation.id, b"%d" % message)


def _offsets(field: bytes) -> Offsets:
    return tuple(parsed(word) for word in field.split(b" ")) if field else ()
