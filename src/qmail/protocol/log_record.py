"""From a log line to a structured record: the table of every event. docs/logging.md is made of it.

A record is a flat dict: `event` and `program`, then the fields of the classic text, then those of
the tail (protocol/log_tail.py). Source: spec/logging.md 2 to 4 for the lines of qmail-send.
"""

import re
from dataclasses import dataclass
from json import JSONEncoder
from typing import Final

from qmail.protocol.log_tail import split_line

Value = str | int | bool
Record = dict[str, Value]

TEXT_CHARS_MAX: Final = 16384
"""Longest value of a field; the rest is cut off."""
_DIGITS_MAX: Final = 18


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of line: its name, who writes it, and its classic form; `form` None: it has none."""

    name: str
    program: str
    form: re.Pattern[bytes] | None
    doc: str
    tail: tuple[str, ...] = ()
    """Fields that the tail of the line adds, where they are known."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of all fields, in order, without event and program."""
        named = tuple(self.form.groupindex) if self.form is not None else ()
        return tuple(dict.fromkeys((*self.tail, *named)))


def _event(name: str, program: str, form: bytes | None, *texts: str) -> Event:
    doc, tail = (*texts, "")[:2]
    pattern = re.compile(form) if form is not None else None
    return Event(name, program, pattern, doc, tuple(tail.split()))


SMTPD: Final = "qmail-smtpd"
SEND: Final = "qmail-send"
QUEUE: Final = "qmail-queue"
POPUP: Final = "qmail-popup"
ANY: Final = "any"

EVENTS: Final = (
    _event("connect", SMTPD, rb"smtpd: connect (?P<ip>\S+)", "A client has connected.", "session"),
    _event("close", SMTPD, rb"smtpd: close (?P<ip>\S+)", "The connection has ended.", "session"),
    _event(
        "accept",
        SMTPD,
        rb"smtpd: accept (?P<ip>\S+) qp (?P<qp>\d+) bytes (?P<bytes>\d+)",
        "A message was queued for a client; recipients is their number.",
        "id session helo sender recipients",
    ),
    _event(
        "refuse",
        SMTPD,
        rb"smtpd: refuse (?P<ip>\S+?)(?: <(?P<sender>\S*)>)?(?: <(?P<recipient>\S*)>)?"
        rb": (?P<reply>\d.*)",
        "A client, a sender, a recipient or a message was refused.",
        "id session code helo",
    ),
    _event(
        "login",
        POPUP,
        rb"popup: login (?P<ip>\S+) <(?P<login>\S*)> (?P<service>\S+) (?P<mechanism>\S+)"
        rb" (?P<tls>\S+)",
        "Somebody has logged in.",
        "session",
    ),
    _event(
        "logout",
        POPUP,
        rb"popup: logout (?P<ip>\S+) <(?P<login>\S*)> seconds (?P<seconds>\d+)",
        "The session of who has logged in is over.",
        "session",
    ),
    _event(
        "denied",
        POPUP,
        rb"popup: denied (?P<ip>\S+) <(?P<login>\S*)> (?P<service>\S+) (?P<mechanism>\S+):"
        rb" (?P<reply>-ERR.*)",
        "A login was refused, or no session could be had for it.",
        "session",
    ),
    _event(
        "refuse",
        POPUP,
        rb"popup: refuse (?P<ip>\S+): (?P<reply>-ERR.*)",
        "A POP3 client was sent away without a login.",
        "session",
    ),
    _event(
        "tls",
        POPUP,
        rb"popup: tls (?P<ip>\S+): (?P<text>.*)",
        "TLS with a client did not come about, or broke.",
        "session",
    ),
    _event(
        "queued",
        QUEUE,
        None,
        "A message is in the queue, on disk.",
        "id msg qp uid bytes message_id",
    ),
    _event("new", SEND, rb"new msg (?P<msg>\d+)", "qmail-send has taken the message up.", "id"),
    _event(
        "info",
        SEND,
        rb"info msg (?P<msg>\d+): bytes (?P<bytes>\d+) from <(?P<sender>\S*)>"
        rb" qp (?P<qp>\d+) uid (?P<uid>\d+)",
        "What is known of it: bytes as stored.",
        "id",
    ),
    _event(
        "start",
        SEND,
        rb"starting delivery (?P<delivery>\d+): msg (?P<msg>\d+)"
        rb" to (?P<channel>local|remote) (?P<recipient>\S*)",
        "A delivery has been started.",
        "id",
    ),
    _event(
        "delivery",
        SEND,
        rb"delivery (?P<delivery>\d+): (?P<result>success|failure|deferral): (?P<reply>.*)",
        "A delivery has ended.",
        "id msg channel recipient",
    ),
    _event(
        "delivery",
        SEND,
        rb"delivery (?P<delivery>\d+): report (?P<result>mangled), will defer",
        "A delivery has ended with a report that makes no sense.",
        "id msg channel recipient",
    ),
    _event(
        "bounce",
        SEND,
        rb"bounce msg (?P<msg>\d+) qp (?P<qp>\d+)",
        "The sender is told of failures: by the new message with this qp.",
        "id",
    ),
    _event("child", SEND, None, "The new message id is about the message parent.", "id parent"),
    _event(
        "discard",
        SEND,
        rb"triple bounce: discarding bounce/(?P<msg>\d+)",
        "Failures of a double bounce: nobody is told.",
        "id",
    ),
    _event(
        "discard",
        SEND,
        rb"double bounce: discarding bounce/(?P<msg>\d+)",
        "Failures of a bounce, where nobody is to be told or nobody can be.",
        "id",
    ),
    _event(
        "operator",
        SEND,
        rb"operator: msg (?P<msg>\d+) (?P<result>bounced|deleted)"
        rb" to (?P<channel>local|remote) (?P<recipient>\S*)",
        "qmail queue ended the tries for a recipient.",
        "id",
    ),
    _event(
        "pause",
        SEND,
        rb"send: (?P<domain>\S+) wants less mail: none for (?P<seconds>\d+) s,"
        rb" then (?P<at_once>\d+) at once",
        "A domain has asked for less.",
    ),
    _event("end", SEND, rb"end msg (?P<msg>\d+)", "The message leaves the queue.", "id"),
    _event(
        "status",
        SEND,
        rb"status: local (?P<local>\d+)/(?P<local_max>\d+)"
        rb" remote (?P<remote>\d+)/(?P<remote_max>\d+)(?P<exitasap> exitasap)?",
        "How many deliveries run, and how many may.",
    ),
    _event("exiting", SEND, rb"status: exiting", "qmail-send ends."),
    _event(
        "warning", SEND, rb"warning: (?P<text>.*)", "Something is wrong and will be tried again."
    ),
    _event("alert", SEND, rb"alert: (?P<text>.*)", "Somebody has to look."),
    _event("note", ANY, rb"(?P<program>[a-z0-9-]+): (?P<text>.*)", "Anything else a program says."),
    _event("line", ANY, rb"(?P<text>.*)", "A line of no known form."),
)
"""Every event; of several forms that match the first counts."""

NUMBERS: Final = frozenset(
    {"at_once", "seconds"}
    | {"bytes", "code", "delivery", "local", "local_max", "msg", "qp", "recipients", "remote"}
    | {"remote_max", "uid"}
)
"""Fields that are numbers in JSON; all others are strings."""
_PROGRAM_WORDS: Final = {"smtpd": SMTPD, "popup": POPUP}


def _by_first_word() -> dict[bytes, list[Event]]:
    found: dict[bytes, list[Event]] = {}
    for event in EVENTS:
        if event.form is not None:
            word = re.match(rb"[a-z]+:?", event.form.pattern)
            key = word[0] if word is not None and event.program != ANY else b""
            found.setdefault(key, []).append(event)
    return found


_CANDIDATES: Final = _by_first_word()
_LAST: Final = _CANDIDATES[b""]


def record_of(line: bytes) -> Record:
    """Return the record of one line, without its time. Any bytes make one."""
    text, tail = split_line(line)
    record = _of_text(text) if text or "event" not in tail else _of_tail(tail)
    for name, value in tail.items():
        if name.isidentifier() and name.islower() and name not in record:
            record[name] = _value(name, value)
    return record


def _of_text(text: bytes) -> Record:
    first = text.partition(b" ")[0]
    for event in (*_CANDIDATES.get(first, ()), *_LAST):
        assert event.form is not None
        found = event.form.fullmatch(text)
        if found is not None:
            record: Record = {"event": event.name, "program": event.program}
            for name, value in found.groupdict().items():
                if value is not None:
                    record[name] = _value(name, value)
            word = str(record["program"])
            record["program"] = _PROGRAM_WORDS.get(word, word)
            return record
    # A line feed can't be in a line; nothing else escapes the last form.
    return {"event": "line", "program": ANY, "text": _text(text)}


def _of_tail(tail: dict[str, bytes]) -> Record:
    name = _text(tail["event"])
    programs = [event.program for event in EVENTS if event.name == name]
    return {"event": name, "program": programs[0] if programs else ANY}


def _value(name: str, value: bytes) -> Value:
    if name in NUMBERS and value.isdigit() and len(value) <= _DIGITS_MAX:
        return int(value)
    if name == "exitasap":
        return True
    return _text(value)


def _text(value: bytes) -> str:
    return value[:TEXT_CHARS_MAX].decode("utf-8", "backslashreplace")


_ENCODE: Final = JSONEncoder(separators=(",", ":")).encode


def json_line(record: Record, when: str) -> bytes:
    """Return the record as one line of JSON, its time first, without a line feed."""
    return _ENCODE({"time": when, **record}).encode()
