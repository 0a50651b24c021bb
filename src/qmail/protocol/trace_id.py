"""The id of a message: one short word in every structured log line about it, and in Received.

Whoever takes a message first makes it: qmail-smtpd for each transaction, else qmail-queue. Ids sort
by time: 13 hexadecimal digits of microseconds since 1970, then 5 that keep programs apart.
"""

import re
from typing import Final

_ID: Final = re.compile(rb"[0-9a-z]{1,20}")
_SALTS: Final = 1 << 20
_IN_QUEUE_LINE: Final = re.compile(
    rb"Received: \(qmail \d+ invoked [^\n]*?(?: \(id ([0-9a-z]{1,20})\))?\n"
)
_INVOKED: Final = re.compile(rb"Received: \(qmail \d+ invoked by uid (\d{1,10})\);")
_IN_SERVER_LINE: Final = re.compile(
    rb"Received: [^\n]*\n[ \t]+by [^\n]* with E?SMTP id ([0-9a-z]{1,20});"
)
HEAD_BYTES: Final = 2048
"""So much of a stored message holds its first two Received lines."""


class TraceIds:
    """Makes ids. Two makers with different salts do not meet, nor does one meet itself."""

    __slots__ = ("_salt",)

    def __init__(self, salt: int) -> None:
        self._salt = salt

    def make(self, now_s: float) -> bytes:
        """Return a new id for the time `now_s`, seconds since 1970."""
        self._salt += 1
        return b"%013x%05x" % (int(now_s * 1_000_000), self._salt % _SALTS)


def is_trace_id(text: bytes) -> bool:
    """Tell whether `text` has the form of an id; it may come from anybody."""
    return _ID.fullmatch(text) is not None


def received_id(trace_id: bytes) -> bytes:
    """Return what stands behind the date in qmail-queue's Received line.

    A comment there (RFC 5322 3.3) leaves everything in front of it as it was: other programs look
    for `(qmail N invoked by uid N); date`.
    """
    return b" (id %b)" % trace_id if trace_id else b""


def invoked_by(head: bytes) -> int | None:
    """Return the uid that a stored message says it was queued by; None: it came from elsewhere.

    Its first line is qmail-queue's own, whatever the message holds.
    """
    found = _INVOKED.match(head)
    return int(found[1]) if found else None


def id_of_message(head: bytes) -> bytes:
    """Find the id in the first bytes of a stored message; b"" where it has none."""
    own = _IN_QUEUE_LINE.match(head)
    if own is None or own[1]:
        return own[1] if own else b""
    server = _IN_SERVER_LINE.match(head, own.end())
    return server[1] if server else b""
