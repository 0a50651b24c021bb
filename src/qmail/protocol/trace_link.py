"""Which message each record of the log belongs to, and under which names it can be found.

Records of today carry the id. For those of classic lines, which have none, ids are made up from
what the lines say: `new msg N` begins a message, deliveries are known by their number.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from qmail.protocol.log_record import POPUP, Record, Value
from qmail.protocol.logtext import safe

KNOWN_MAX: Final = 100_000
"""So many numbers are remembered; the oldest are forgotten."""
NAME_CHARS_MAX: Final = 320
KINDS: Final = {
    "msg": "m",
    "qp": "q",
    "message_id": "i",
    "sender": "s",
    "recipient": "r",
    "parent": "p",
    "session": "c",
}
"""Fields by which a message is found, and the letter that stands in front of the value."""


class Entry(NamedTuple):
    """One record as the index keeps it. `at_us` is microseconds since 1970."""

    at_us: int
    trace_id: str
    record: Record


def name_of(kind: str, value: Value) -> str:
    """Return the name under which the index has a value of the field `kind`."""
    text = str(value)
    if kind in ("sender", "recipient"):
        # As the log has it: who looks for an address may write what it was.
        text = safe(text.encode(errors="replace")).decode().lower()
    elif kind == "message_id":
        text = text.removeprefix("<").removesuffix(">")
    return KINDS[kind] + text[:NAME_CHARS_MAX]


def names_of(record: Record) -> Iterator[str]:
    """Yield every name of the message that a record tells."""
    for kind in KINDS:
        value = record.get(kind)
        if value is not None and value != "":
            yield name_of(kind, value)


class Linker:
    """Finds the id of each record."""

    def __init__(self) -> None:
        self._by_number: dict[str, str] = {}
        self._made = 0

    def entry(self, at_us: int, record: Record) -> Entry | None:
        """Return the record with its id; None where it is about no message and no client.

        Who reads mail has nothing to do with the way of a message.
        """
        if record.get("program") == POPUP:
            return None
        known = record.get("id") or record.get("session")
        found = str(known) if known else self._guess(at_us, record)
        if not found:
            return None
        if record["event"] in ("new", "info", "queued"):
            self._remember(name_of("msg", record.get("msg", 0)), found)
        if record["event"] == "start":
            self._remember(f"d{record['delivery']}", found)
        return Entry(at_us, found, record)

    def _guess(self, at_us: int, record: Record) -> str:
        event = record["event"]
        if event in ("new", "refuse"):
            self._made += 1
            return f"{at_us:013x}{self._made & 0xFFFFF:05x}"
        if event == "delivery":
            return self._by_number.get(f"d{record['delivery']}", "")
        if "msg" in record:
            return self._by_number.get(name_of("msg", record["msg"]), "")
        return ""

    def _remember(self, name: str, trace_id: str) -> None:
        self._by_number.pop(name, None)
        self._by_number[name] = trace_id
        if len(self._by_number) > KNOWN_MAX:
            del self._by_number[next(iter(self._by_number))]
