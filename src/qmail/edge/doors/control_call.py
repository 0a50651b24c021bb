"""How a tool asks the resident qmail-send: one call at run/control, every wait limited."""

import errno
from collections.abc import Iterator
from typing import Final

from qmail.edge.doors.doorway import knock
from qmail.edge.tools.progress import Progress
from qmail.protocol.control_door import ANSWER_FRAME_MAX, Answer, Question
from qmail.protocol.netstring import FrameError, FrameReader

WAIT_S_MAX: Final = 120
RECEIVE_BYTES: Final = 65536


class CallError(Exception):
    """There is no answer; the text says why, and what to do."""


class ControlCall:
    """One connection. Questions are asked one after the other."""

    def __init__(self, home: str, door: str = "control") -> None:
        """Call at that door. Raises: CallError: nobody answers there, or not to us."""
        self._progress = Progress()
        try:
            self._sock = knock(home, door, WAIT_S_MAX)
        except OSError as trouble:
            raise CallError(_why(home, trouble)) from None
        self._reader = FrameReader(ANSWER_FRAME_MAX)
        self._answers: list[Answer] = []

    def send(self, question: Question) -> None:
        """Ask. Raises: CallError."""
        try:
            self._sock.sendall(question.pack())
        except OSError as trouble:
            raise CallError(f"qmail-send does not listen: {trouble.strerror}") from None

    def receive(self) -> Answer:
        """Return the next answer. Raises: CallError: there is none, or it is an error.

        How far qmail-send is shows on the terminal meanwhile.
        """
        try:
            while (answer := self._next()).kind == "progress":
                if len(answer.fields) == 2 and all(field.isdigit() for field in answer.fields):
                    done, total = map(int, answer.fields)
                    self._progress.show(done, total, "messages")
        finally:
            self._progress.clear()
        if answer.kind == "error":
            raise CallError((answer.fields or (b"",))[0].decode(errors="replace"))
        return answer

    def _next(self) -> Answer:
        while not self._answers:
            try:
                data = self._sock.recv(RECEIVE_BYTES)
                self._answers = [Answer.unpack(each) for each in self._reader.feed(data)]
            except BlockingIOError:
                raise CallError(f"no answer from qmail-send for {WAIT_S_MAX} seconds") from None
            except OSError as trouble:
                raise CallError(f"no answer from qmail-send: {trouble.strerror}") from None
            except FrameError as wrong:
                raise CallError(f"nonsense from qmail-send: {wrong}") from None
            if not data:
                raise CallError(
                    "qmail-send hung up: it ended, or only root and qmails may ask it; see its log"
                )
        return self._answers.pop(0)

    def ask(self, question: Question) -> Iterator[Answer]:
        """Yield the answers to a question; `done` is the last. Raises: CallError."""
        self.send(question)
        while True:
            answer = self.receive()
            yield answer
            if answer.kind == "done":
                return

    def close(self) -> None:
        """Hang up."""
        self._sock.close()


def _why(home: str, trouble: OSError) -> str:
    if trouble.errno in (errno.ENOENT, errno.ECONNREFUSED):
        return f"no qmail-send runs in {home} (QMAIL_HOME names the home): start qmail-start"
    if trouble.errno in (errno.EACCES, errno.EPERM):
        return f"only root and qmails may ask qmail-send in {home}"
    return f"unable to call {home}/run/control: {trouble.strerror}"
