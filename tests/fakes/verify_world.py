"""The resident SMTP server with its line to qmail-verify; the test is at the other end of both."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.fakes.serve_world import CONTROLS, FakeTransport, World

from qmail.core.smtp.guessing import Guesses
from qmail.edge.doors.verify_line import VerifyLine
from qmail.edge.smtp.connection import SmtpConnection
from qmail.protocol.doors import Report
from qmail.protocol.netstring import FrameReader
from qmail.protocol.verify_door import QUESTION_FRAME_MAX, Question

NO: bytes = b"DThere is no mailbox of this name here. (#5.1.1)\n"
OK = "250 2.1.5"
UNKNOWN = "550 5.1.1"
LATER = "451 4.3.0"
OUTSIDE = "192.0.2.1"
INSIDE = "198.51.100.7"


class VerifyWorld(World):
    """A server that verifies, with the other end of its line to qmail-verify."""

    def __init__(self, **controls: bytes) -> None:
        super().__init__(CONTROLS | controls)
        clock = lambda: self.time_s
        self.verify = VerifyLine("/nowhere", frozenset(), self.server.has_work, clock)
        self.server.verifier = self.verify
        self.server.guesses = Guesses(clock)
        self.held: list[tuple[float, Callable[[], None]]] = []
        self.server.call_later = lambda delay_s, call, *arguments: self.held.append(
            (delay_s, lambda: call(*arguments))
        )
        self.verify_door = FakeTransport()
        self._reader = FrameReader(QUESTION_FRAME_MAX)

    def verify_up(self) -> None:
        """Connect the line."""
        self.verify.connection_made(self.verify_door)

    def questions(self) -> list[Question]:
        """Return what was asked since the last time."""
        self.verify.flush()
        written, self.verify_door.written = self.verify_door.written, b""
        return [Question.unpack(payload) for payload in self._reader.feed(written)]

    def answer(self, report: bytes) -> list[bytes]:
        """Answer all that was asked; return whom it was about."""
        asked = self.questions()
        self.verify.data_received(b"".join(Report(one.tag, report).pack() for one in asked))
        return [one.recipient for one in asked]

    def client(self, ip: str = OUTSIDE) -> "Client":
        """Connect a client that has said MAIL."""
        client = Client(*self.connect(ip))
        client.say("EHLO x", "MAIL FROM:<a@b>")
        client.heard()
        return client


class Client:
    """One client of the server."""

    def __init__(self, connection: SmtpConnection, transport: FakeTransport) -> None:
        self.connection = connection
        self.transport = transport

    def say(self, *commands: str) -> None:
        """Send commands, all at once."""
        self.connection.data_received("".join(f"{one}\r\n" for one in commands).encode())

    def heard(self) -> list[str]:
        """Return the starts of the replies since the last time."""
        written, self.transport.written = self.transport.written, b""
        return [line[:9] for line in written.decode().split("\r\n")[:-1] if line[3] == " "]


def run_in_loop(test: Callable[[VerifyWorld], Awaitable[None]], **controls: bytes) -> None:
    """Run a test in a world with these control files."""

    async def main() -> None:
        world = VerifyWorld(**controls)
        try:
            world.verify_up()
            await test(world)
        finally:
            world.close()

    asyncio.run(main())


def rcpt(name: str) -> str:
    """Return the command for a recipient here."""
    return f"RCPT TO:<{name}@ours.example>"
