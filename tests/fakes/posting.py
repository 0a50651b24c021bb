"""One message through the core of qmail-inject, with nothing outside."""

from collections.abc import Iterator, Mapping

from qmail.core.inject.message import Request
from qmail.core.inject.run import World, inject
from qmail.envelope import Envelope

HOSTS = {
    b"QMAILDEFAULTHOST": b"dh.ex",
    b"QMAILDEFAULTDOMAIN": b"dd.ex",
    b"QMAILPLUSDOMAIN": b"pd.ex",
    b"QMAILIDHOST": b"id.ex",
}
NOW = 1795428672
DATE = b"Date: 23 Nov 2026 10:11:12 -0000\n"
ID = b"Message-ID: <20261123101112.12000000000000.qmail@id.ex>\n"
FROM = b"From: anonymous@dh.ex\n"
FILLER = b"Cc: recipient list not shown: ;\n"
SENDERS = ("Sender", "From", "Reply-To", "Return-Receipt-To", "Errors-To")
RESENT_SENDERS = ("Resent-Sender", "Resent-From", "Resent-Reply-To")


class Posted:
    """One run; what it shows with -n is what it would queue."""

    def __init__(
        self,
        message: bytes,
        environ: Mapping[bytes, bytes] | None = None,
        request: Request = Request("H", arguments=(b"z",)),  # noqa: B008 - frozen
        *,
        home: str = "/nonexistent",
        without: bytes = b"",
    ) -> None:
        self.said: list[str] = []
        self.sender = b""
        self.recipients: list[bytes] = []
        self.message = b""
        self._rest = message
        given = {**HOSTS, **(environ or {})}
        given.pop(without, None)
        world = World(
            name="qmail-inject",
            home=home,
            environ=given,
            read=self._read,
            show=lambda _data: None,
            say=self.said.append,
            submit=self._submit,
            enter_home=lambda: None,
            now=lambda: float(NOW),
            pid=12,
            random=bytes,
        )
        self.code = inject(request, world)

    def _read(self, size: int) -> bytes:
        part, self._rest = self._rest[:size], self._rest[size:]
        return part

    def _submit(self, parts: Iterator[bytes], envelope: Envelope) -> None:
        self.message = b"".join(parts)
        self.sender, recipients = envelope
        self.recipients = list(recipients)

    def lines(self, name: bytes) -> list[bytes]:
        """Return the fields of one name."""
        found = self.message.splitlines(keepends=True)
        return [line for line in found if line.lower().startswith(name.lower() + b":")]
