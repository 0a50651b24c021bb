"""What happened to a message, in words: one line for each event of the trace."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from qmail.protocol.log_record import Record
from qmail.protocol.trace_link import Entry


def _refused(record: Record) -> str:
    whom = f" for <{record['recipient']}>" if "recipient" in record else ""
    sender = f" from <{record['sender']}>" if "sender" in record else ""
    return f"{record.get('ip')}{sender}{whom}: {record.get('reply')}"


def _accepted(record: Record) -> str:
    helo = f" ({record['helo']})" if "helo" in record else ""
    return f"from {record.get('ip')}{helo}, qp {record.get('qp')}, {record.get('bytes')} bytes"


def _queued(record: Record) -> str:
    known = f"message {record.get('msg')}, qp {record.get('qp')}, uid {record.get('uid')}"
    return f"{known}, {record['message_id']}" if "message_id" in record else known


def _info(record: Record) -> str:
    return f"from <{record.get('sender', '')}>, {record.get('bytes')} bytes"


def _started(record: Record) -> str:
    return f"{record.get('delivery')}: {record.get('channel')}, to {record.get('recipient')}"


def _ended(record: Record) -> str:
    # Blanks of the report are underscores in the log; here nobody splits at them.
    report = str(record.get("reply", "")).replace("_", " ")
    return f"{record.get('delivery')}: {report}"


WORDS: Final[dict[str, Callable[[Record], str]]] = {
    "connect": lambda record: str(record.get("ip")),
    "close": lambda record: str(record.get("ip")),
    "accept": _accepted,
    "refuse": _refused,
    "queued": _queued,
    "new": lambda record: f"message {record.get('msg')}",
    "info": _info,
    "start": _started,
    "delivery": _ended,
    "bounce": lambda record: f"to the sender, qp {record.get('qp')}",
    "child": lambda record: f"about message {record.get('parent')}",
    "discard": lambda _record: "nobody is told of the failures",
    "operator": lambda record: f"{record.get('result')}: {record.get('recipient')}",
    "end": lambda record: f"message {record.get('msg')}",
}
"""How each event of a message is told; others by their text."""


def told(record: Record) -> tuple[str, str]:
    """Return the word for an event, and what is said of it. Both can be shown anywhere."""
    event = str(record.get("event", "?"))
    word = str(record.get("result", event)) if event == "delivery" else event
    words = WORDS.get(event)
    text = words(record) if words is not None else str(record.get("text", ""))
    return shown(word), shown(text)


def shown(text: str) -> str:
    """Return `text` without what a terminal would obey."""
    return "".join(char if char.isprintable() else "?" for char in text)


def moment(at_us: int) -> str:
    """Return date and time in UTC, to the millisecond."""
    at = datetime.fromtimestamp(at_us // 1_000_000, UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at_us // 1000 % 1000:03d}"


def after(us: int) -> str:
    """Return how much later something was: +0.012 s, +7 min 20 s, +2 d 3 h."""
    seconds = us / 1e6
    if seconds < 100:
        return f"+{seconds:.3f} s"
    whole = int(seconds)
    for unit, size, below, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if whole >= size:
            return f"+{whole // size} {unit} {whole % size // part} {below}"
    return f"+{whole // 60} min {whole % 60} s"


def lines_of(trace_id: str, story: Sequence[Entry], others: Sequence[str]) -> Iterator[str]:
    """Yield the story of one message, aligned."""
    yield shown(f"{trace_id}  {moment(story[0].at_us)} UTC")
    first = story[0].at_us
    rows = [
        (after(entry.at_us - first), shown(str(entry.record.get("program"))), *told(entry.record))
        for entry in story
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for when, program, word, text in rows:
        start = f"  {when:>{widths[0]}}  {program:{widths[1]}}  {word:{widths[2]}}"
        yield f"{start}  {text}".rstrip()
    for other in others:
        yield f"  see also {shown(other)}"
