"""A qmail-queue in a thread of the test: takes, keeps and answers submissions at a home's door."""

import socket
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.door import FakeDoor

from qmail.mail import Envelope
from qmail.protocol.doors import FRAME_BYTES_MAX, Receipt, Submission
from qmail.protocol.netstring import FrameReader


@dataclass
class Message:
    """One submission: which frames it came in, and what they held."""

    kinds: bytes
    envelope: Envelope | None
    data: bytes


class QueueDoor(FakeDoor):
    """Answers each message with `code`; with `is_silent`, only when the test says so."""

    def __init__(self, home: Path, *, is_silent: bool = False) -> None:
        self.code = 0
        self.text = b""
        self.is_silent = is_silent
        self.messages: list[Message] = []
        self.given_up = 0
        self.calls = 0
        self.qp = 1000
        self._open: dict[int, list[Submission]] = {}
        self._unanswered: list[int] = []
        super().__init__(home, "queue")

    def _talk(self, caller: socket.socket) -> None:
        with self._changed:
            self.calls += 1
            self._open.clear()
            self._changed.notify_all()
        reader = FrameReader(FRAME_BYTES_MAX)
        while data := caller.recv(262144):
            for payload in reader.feed(data):
                with self._changed:
                    self._take(Submission.unpack(payload))
                    self._changed.notify_all()

    def _take(self, frame: Submission) -> None:
        frames = self._open.setdefault(frame.tag, [])
        frames.append(frame)
        if frame.kind == b"X":
            self.given_up += 1
            del self._open[frame.tag]
        elif frame.kind in (b"M", b"E"):
            del self._open[frame.tag]
            kinds = b"".join(part.kind for part in frames)
            data = b"".join(part.data for part in frames)
            self.messages.append(Message(kinds, Envelope.unpack(frame.envelope), data))
            self._unanswered.append(frame.tag)
            if not self.is_silent:
                self.answer()

    def answer(self) -> None:
        """Answer every message that waits."""
        tags, self._unanswered = self._unanswered, []
        for tag in tags:
            assert self._caller is not None
            self.qp += 1
            self._caller.sendall(Receipt(tag, self.code, self.qp, self.text).pack())

    @property
    def unanswered(self) -> int:
        """How many messages wait for their answer."""
        return len(self._unanswered)

    def hang_up(self) -> None:
        """Close the connection without answering."""
        self._unanswered.clear()
        super().hang_up()
