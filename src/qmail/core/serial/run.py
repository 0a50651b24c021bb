"""Sending the messages of a maildir by a client: which to offer, and what follows each report.

The client is started again as long as files remain that it has not told of; three rounds without
any report end it. Source: spec/companion.md 3.1.
"""

import os
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from qmail.core.bounce.rules import TOO_LONG
from qmail.core.fs import Fs
from qmail.core.local.maildir_reading import messages
from qmail.core.local.maildir_sweep import remove_stale
from qmail.protocol.exits import Exit
from qmail.protocol.serial_reports import Report
from qmail.protocol.stored_top import TOP_BYTES_MAX, read_recipient

ROUNDS_MAX: Final = 3
"""So often the client may end without a report about any file."""
_PRINTABLE: Final = bytes(byte if 32 <= byte < 127 else ord("?") for byte in range(256))


class Job(NamedTuple):
    """What is to be sent, and what becomes of messages that are refused."""

    prefix: bytes
    """Of the recipients' addresses; b"" means all messages."""
    bounces: bool = False
    """What is refused for good goes back to its sender."""
    lifetime_s: int | None = None
    """An older message that is refused for now is refused for good."""


class Returned(NamedTuple):
    """What became of a bounce: with `is_over` the message can go."""

    line: str
    is_over: bool


class Outside(NamedTuple):
    """What the run works with, handed in by the program."""

    maildir: Fs
    now: Callable[[], float]
    say: Callable[[str], None]
    """Takes a line for the log, without the program's name."""
    carry: Callable[[list[str]], Iterator[Report]]
    """Starts the client, gives it the names and yields its reports until it has ended."""
    send_back: Callable[[str, bytes], Returned]
    """Bounces a file with a report; raises OSError where that is not possible now."""


def send_all(job: Job, outside: Outside) -> int:
    """Offer the client all messages. Returns the exit code: 0 where none is left.

    Raises: OSError: the maildir can't be read; whatever `carry` raises.
    """
    run = _Run(job, outside)
    rounds = ROUNDS_MAX
    while names := run.usable():
        rounds = ROUNDS_MAX if run.round(names) else rounds - 1
        if not rounds:
            outside.say("fatal: making no progress, giving up")
            return Exit.TEMPORARY
    return Exit.TEMPORARY if run.has_left else Exit.OK


class _Run:
    def __init__(self, job: Job, outside: Outside) -> None:
        self._job = job
        self._outside = outside
        self._dead: set[str] = set()
        """Files that stay and were told of: not offered again."""

    @property
    def has_left(self) -> bool:
        """True where something stays."""
        return bool(self._dead)

    def usable(self) -> list[str]:
        """Return the files to offer, the oldest first.

        Raises: OSError: it is no maildir.
        """
        maildir = self._outside.maildir
        remove_stale(maildir, self._outside.now())
        found = [message.path for message in messages(maildir)]
        return [path for path in found if path not in self._dead and self._has_prefix(path)]

    def _has_prefix(self, path: str) -> bool:
        if not self._job.prefix:
            return True
        try:
            start = beginning(self._outside.maildir, path)
        except FileNotFoundError:
            # A reader moved it, and the next round finds it again.
            return False
        except OSError as trouble:
            self._warn(f"unable to read {path}: {reason(trouble)}")
            return False
        recipient = read_recipient(start)
        return recipient is not None and recipient.startswith(self._job.prefix)

    def round(self, names: list[str]) -> bool:
        """Offer these files once. Returns whether the client told of any."""
        waiting = {os.fsencode(name): name for name in names}
        has_told = False
        for report in self._outside.carry(names):
            path = waiting.pop(report.name, None)
            if path is None:
                # A client must not name what it was not given: the file would be removed.
                self._warn(f"the client tells of {printable(report.name)}, which it was not given")
                continue
            has_told = True
            self._settle(path, report)
        return has_told

    def _settle(self, path: str, report: Report) -> None:
        if report.letter == b"K":
            self._info(path, "succeeded", report)
            self._remove(path, "message will be delivered twice!")
            return
        is_late = self._is_late(path, report)
        is_final = report.letter == b"D" or is_late
        if is_final and self._job.bounces:
            self._info(path, "bounced", report)
            self._bounce(path, report.text + b"\n" + (TOO_LONG if is_late else b""))
            return
        self._info(path, "failed" if is_final else "failed temporarily", report)
        self._dead.add(path)

    def _is_late(self, path: str, report: Report) -> bool:
        lifetime_s = self._job.lifetime_s
        if lifetime_s is None or report.letter == b"D":
            return False
        info = self._outside.maildir.info(path)
        return info is not None and self._outside.now() > info.mtime + lifetime_s

    def _bounce(self, path: str, text: bytes) -> None:
        try:
            returned = self._outside.send_back(path, text)
        except OSError as trouble:
            self._warn(f"unable to bounce {path}: {reason(trouble)}")
            self._dead.add(path)
            return
        self._outside.say(returned.line)
        if returned.is_over:
            self._remove(path, "message has been bounced but not removed!")
        else:
            self._dead.add(path)

    def _remove(self, path: str, danger: str) -> None:
        try:
            self._outside.maildir.unlink(path)
        except FileNotFoundError:
            # Somebody else has removed it: what we wanted.
            return
        except OSError as trouble:
            self._warn(f"{danger} unable to unlink {path}: {reason(trouble)}")
            self._dead.add(path)

    def _info(self, path: str, what: str, report: Report) -> None:
        self._outside.say(f"info: {path} {what}: {printable(report.text)}")

    def _warn(self, what: str) -> None:
        self._outside.say(f"warning: {what}")


def beginning(maildir: Fs, path: str) -> bytes:
    """Return the first bytes of a message, its two top lines among them.

    Raises: OSError: it can't be read.
    """
    return next(maildir.parts(path), b"")[:TOP_BYTES_MAX]


def reason(trouble: OSError) -> str:
    """Return what the system says about an error."""
    return (trouble.strerror or str(trouble)).lower()


def printable(text: bytes) -> str:
    """Return a text for a line of the log."""
    return text.translate(_PRINTABLE).decode()
