"""A maildir to be sent elsewhere, and the commands that do it."""

import os
from pathlib import Path

from tests.programs.injection import Ended, Injection


class Serial(Injection):
    """One maildir whose messages are for `far-SOMEBODY`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.maildir = folder / "box"
        for name in ("tmp", "new", "cur"):
            (self.maildir / name).mkdir(parents=True)
        self.environ["PATH"] = f"{self.home}/bin:/usr/bin:/bin"

    def deliver(
        self, number: int, body: bytes = b"Subject: x\n\ntext\n", *, top: bytes | None = None
    ) -> Path:
        """Put a message into new/, the older the smaller its number."""
        if top is None:
            top = b"Return-Path: <joe@a.ex>\nDelivered-To: far-ann%d@b.ex\n" % number
        path = self.maildir / "new" / f"{number}.x"
        path.write_bytes(top + body)
        os.utime(path, (1_600_000_000 + number, 1_600_000_000 + number))
        return path

    @property
    def left(self) -> list[str]:
        """The messages that are there."""
        return sorted(path.name for path in self.maildir.glob("[nc]*/*"))

    def serial(self, *words: str, options: tuple[str, ...] = (), prefix: str = "far-") -> Ended:
        """Run maildirserial with a client."""
        return self.run(["maildirserial", *options, "--", str(self.maildir), prefix, *words])

    def smtp(self, port: int, *options: str) -> Ended:
        """Send the maildir by SMTP to a port of 127.0.0.1."""
        client = ("tcpclient", "-RHl0", "--", "127.0.0.1", str(port), "serialsmtp", "far-", "me.ex")
        return self.serial(*client, options=options)

    def qmtp(self, port: int, *options: str) -> Ended:
        """Send the maildir by QMTP to a port of 127.0.0.1."""
        client = ("tcpclient", "-RHl0", "--", "127.0.0.1", str(port), "serialqmtp", "far-")
        return self.serial(*client, options=options)

    def client(self, script: str) -> str:
        """Make a client of its own, a shell script; return its path."""
        self.add("client", "#!/bin/sh\n" + script)
        return str(self.home / "bin/client")
