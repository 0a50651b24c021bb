"""A queue full of deferred messages, made fast: `python -m bench.deferred HOME COUNT`.

They are what qmail-send leaves of a message to one remote recipient that was tried and has to wait
(S5: mess, info, remote). No program of the suite may run in that home meanwhile.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from qmail.core.fs import RealFs
from qmail.core.queue.layout import Layout, find_layout
from qmail.edge.machine.accounts import Accounts, accounts_of

TEXT: Final = b"""\
Received: (qmail 1 invoked by uid 1); 1 Jan 2026 00:00:00 -0000
From: sender@bench.example
To: recipient@bench.example
Subject: deferred

This one waits.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferred:
    """What the messages are like: age, when they are due (spread over a span), how many domains."""

    count: int
    age_s: int = 3600
    due_in_s: int = 3600
    span_s: int = 3600
    domains: int = 1000


class Maker:
    """Writes messages into the queue of a home."""

    def __init__(self, home: str) -> None:
        self._root = f"{home}/queue"
        fs = RealFs(self._root)
        self._layout: Layout = find_layout(fs)
        fs.release()
        self._accounts: Accounts = accounts_of(home)
        self._is_root = os.geteuid() == 0

    def make(self, wanted: Deferred) -> None:
        """Write them all, and sync once."""
        now = time.time()
        for index in range(wanted.count):
            due = now + wanted.due_in_s + index * wanted.span_s / max(1, wanted.count)
            recipient = b"user%d@host%d.example" % (index, index % max(1, wanted.domains))
            self._one(recipient, now - wanted.age_s, due)
        os.sync()

    def _one(self, recipient: bytes, birth: float, due: float) -> None:
        layout = self._layout
        passing = f"{self._root}/pid/deferred"
        self._write(passing, TEXT, "qmailq")
        number = os.stat(passing).st_ino
        os.rename(passing, f"{self._root}/{layout.mess(number)}")
        info = f"{self._root}/{layout.info(number)}"
        remote = f"{self._root}/{layout.channel('remote', number)}"
        self._write(info, b"Fsender@bench.example\0", "qmails")
        os.utime(info, (birth, birth))
        self._write(remote, b"T%b\0" % recipient, "qmails")
        os.utime(remote, (due, due))

    def _write(self, path: str, data: bytes, account: str) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if account == "qmailq":
                os.fchmod(fd, 0o644)
            if self._is_root:
                owner = self._accounts[account]
                os.fchown(fd, owner.uid, owner.gid)
            os.write(fd, data)
        finally:
            os.close(fd)


def main(argv: Sequence[str]) -> int:
    """Make the messages that the command line asks for."""
    parser = argparse.ArgumentParser(prog="bench.deferred", description=__doc__)
    parser.add_argument("home")
    parser.add_argument("count", type=int)
    parser.add_argument("--age", type=int, default=3600, help="seconds since they were queued")
    parser.add_argument("--due-in", type=int, default=3600, help="seconds until the first is due")
    parser.add_argument("--span", type=int, default=3600, help="seconds from the first to the last")
    parser.add_argument("--domains", type=int, default=1000)
    given = parser.parse_args(argv)
    wanted = Deferred(
        count=given.count,
        age_s=given.age,
        due_in_s=given.due_in,
        span_s=given.span,
        domains=given.domains,
    )
    started = time.monotonic()
    Maker(os.path.realpath(given.home)).make(wanted)
    print(f"{given.count} messages in {time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
