"""How a remote delivery ended: qmail-remote's reports, and the one report made from them.

qmail-remote says, each ended by NUL: for each recipient `r` (taken), `h` or `s` (refused for good,
refused for now) and a text; then one of K, Z, D and a text for the message (spec/smtp.md B.1).
qmail-rspawn makes one report of them for the one recipient it asked for (spec/delivery.md 10).
"""

from dataclasses import dataclass
from enum import IntEnum

from qmail.mail import Letter, Result, deferred


class Ending(IntEnum):
    """What an attempt at one host means for the message."""

    FINAL = 0
    NEXT_HOST = 1
    """Nothing was said about the message: another host of the domain may take it."""
    SAME_HOST = 2
    """A connection kept from an earlier message had gone dead: a new one to the same host."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt at one host."""

    recipients: tuple[bytes, ...]
    """For each recipient that was answered, in order: r, h or s, and a text."""
    result: Result
    ending: Ending = Ending.FINAL

    def reports(self) -> bytes:
        """Return what qmail-remote writes to descriptor 1."""
        return b"".join([report + b"\0" for report in (*self.recipients, self.result.pack())])

    def spawn_report(self) -> bytes:
        """Return what qmail-rspawn tells qmail-send: a letter, and a text."""
        if self.recipients in ((b"r",), ()):
            return self.result.pack()
        return combine(self.reports())


NO_CONNECTION = Outcome(
    (), deferred(b"Unable to open an SMTP connection to any host. (#4.4.1)\n"), Ending.NEXT_HOST
)

NO_DESCRIPTOR = Outcome(
    (), deferred(b"This machine has too many files open to send more mail now. (#4.3.2)\n")
)

_RANKS = {ord("K"): 1, ord("Z"): 0, ord("D"): -1}
_LETTERS = {1: Letter.DELIVERED, 0: Letter.DEFERRED, -1: Letter.FAILED}


def combine(output: bytes) -> bytes:
    """Make one report of all that a qmail-remote for one recipient wrote.

    A recipient refused for now defers, whatever is said of the message; nothing said is a failure.
    Source: spec/delivery.md 10, "rspawn".
    """
    if not output:
        return deferred(b"qmail-remote said nothing. (#4.3.0)\n").pack()
    reports = output.split(b"\0")[:-1]
    ranks = [_RANKS[report[0]] for report in reports if report[:1] in (b"K", b"Z", b"D")]
    result = ranks[0] if ranks else -1
    worst = {ord("s"): 0, ord("h"): -1}.get(output[0], result)
    text = reports[0][1:] if reports else b""
    if result <= worst and len(reports) > 1 and reports[1][:1] in (b"K", b"Z", b"D"):
        text += reports[1][1:]
    return Result(_LETTERS[worst], text).pack()
