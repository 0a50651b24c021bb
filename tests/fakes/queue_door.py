"""A qmail-queue in a thread of the test: takes, keeps and answers submissions at a home's door."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qmail.edge.station import listen_door
from qmail.mail import Envelope
from qmail.protocol.doors import FRAME_BYTES_MAX, Receipt, Submission
from qmail.protocol.netstring import FrameReader

WAIT_S_MAX = 60.0


@dataclass
class Message:
    """One submission: which frames it came in, and what they held."""

    kinds: bytes
    envelope: Envelope | None
    data: bytes


class QueueDoor:
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
        self._caller: socket.socket | None = None
        self._changed = threading.Condition()
        self._listener = listen_door(str(home), "queue")
        (home / "run/queue").chmod(0o777)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "QueueDoor":
        self._thread.start()
        return self

    def __exit__(self, *_trouble: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
        self._thread.join(WAIT_S_MAX)

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                self.calls += 1
                self._caller = caller
                self._open.clear()
                self._changed.notify_all()
            with contextlib.suppress(OSError), caller:
                self._talk(caller)

    def _talk(self, caller: socket.socket) -> None:
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
        if self._caller is not None:
            with contextlib.suppress(OSError):
                self._caller.shutdown(socket.SHUT_RDWR)

    def wait(self, until: Callable[["QueueDoor"], object]) -> None:
        """Wait for something to become true."""
        with self._changed:
            assert self._changed.wait_for(lambda: until(self), WAIT_S_MAX)


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for something that only asking can tell."""
    end = time.monotonic() + WAIT_S_MAX
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)
