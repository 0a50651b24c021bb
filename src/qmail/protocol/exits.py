"""Exit codes of the programs, and what each one means to the caller (spec/programs.md 0)."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from qmail.mail import Result, deferred, failed


class Exit(IntEnum):
    """How the delivery tools and most other programs end."""

    OK = 0
    STOP = 99
    PERMANENT = 100
    TEMPORARY = 111


class QueueExit(IntEnum):
    """How qmail-queue ends. 11..40 is permanent, everything else but 0 temporary."""

    QUEUED = 0
    ADDRESS_TOO_LONG = 11
    REFUSED = 31
    NO_MEMORY = 51
    TIMEOUT = 52
    WRITE_ERROR = 53
    READ_ERROR = 54
    BAD_CONFIGURATION = 55
    NETWORK = 56
    NO_HOME = 61
    NO_QUEUE = 62
    NO_PID = 63
    NO_MESS = 64
    NO_INTD = 65
    NO_TODO = 66
    DEFERRED = 71
    CONNECT_TIMED_OUT = 72
    CONNECT_REFUSED = 73
    COMMUNICATION = 74
    BUG = 81
    CUSTOM = 82
    BAD_ENVELOPE = 91
    NO_ACCOUNT = 111
    CANNOT_EXEC = 120


_QUEUE_RESULTS: Final[Mapping[int, Result]] = {
    11: failed(b"envelope address too long for qq (#5.1.3)"),
    115: failed(b"envelope address too long for qq (#5.1.3)"),
    31: failed(b"mail server permanently rejected message (#5.3.0)"),
    51: deferred(b"qq out of memory (#4.3.0)"),
    52: deferred(b"qq timeout (#4.3.0)"),
    53: deferred(b"qq write error or disk full (#4.3.0)"),
    54: deferred(b"qq read error (#4.3.0)"),
    55: deferred(b"qq unable to read configuration (#4.3.0)"),
    56: deferred(b"qq trouble making network connection (#4.3.0)"),
    61: deferred(b"qq trouble in home directory (#4.3.0)"),
    62: deferred(b"qq trouble in queue directory (#4.3.0)"),
    63: deferred(b"qq trouble creating files in queue (#4.3.0)"),
    64: deferred(b"qq trouble creating files in queue (#4.3.0)"),
    65: deferred(b"qq trouble creating files in queue (#4.3.0)"),
    66: deferred(b"qq trouble creating files in queue (#4.3.0)"),
    71: deferred(b"mail server temporarily rejected message (#4.3.0)"),
    72: deferred(b"connection to mail server timed out (#4.4.1)"),
    73: deferred(b"connection to mail server rejected (#4.4.1)"),
    74: deferred(b"communication with mail server failed (#4.4.2)"),
    81: deferred(b"qq internal bug (#4.3.0)"),
    91: deferred(b"qq internal bug (#4.3.0)"),
    111: deferred(b"qq account missing (#4.3.0)"),
    120: deferred(b"unable to exec qq (#4.3.0)"),
}


def queue_result(code: int, custom_text: bytes = b"") -> Result | None:
    """Say what a caller of qmail-queue reports for exit `code`. Returns None for success.

    `custom_text` is what the program wrote to descriptor 6 (used with exit 82 only).
    Source: spec/programs.md 0, "Queue submission (caller side)".
    """
    if code == QueueExit.QUEUED:
        return None
    if code == QueueExit.CUSTOM and len(custom_text) > 2:
        custom = Result.unpack(custom_text)
        if custom is not None and custom_text[:1] in (b"D", b"Z"):
            return custom
    if code in _QUEUE_RESULTS:
        return _QUEUE_RESULTS[code]
    if 11 <= code <= 40:
        return failed(b"mail server permanently rejected message (#5.3.0)")
    return deferred(b"qq temporary problem (#4.3.0)")
