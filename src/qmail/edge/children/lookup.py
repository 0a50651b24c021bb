"""A helper under qmailp that looks local parts up, since that may block or crash.

qmail-lspawn and qmail-verify have one each. Several threads of it answer, in any order: one name
that takes long, as with a directory service, does not hold the others up.
"""

import socket
import time
from collections.abc import Callable
from typing import Final

from qmail.edge.children.offspring import Who
from qmail.edge.children.post import ChildPost, Post
from qmail.edge.children.threads import serve_answers
from qmail.edge.doors.station import Door, Station
from qmail.protocol.local_door import LOCAL_FRAME_MAX, Answer
from qmail.protocol.netstring import FrameError, pack

ANSWER_S_MAX: Final = 60.0
"""A helper that is silent for so long while asked is killed; the mail is put off."""
THREADS: Final = 8

Find = Callable[[bytes], Answer]


def serve_lookups(sock: socket.socket, find: Find) -> int:
    """Answer until the parent hangs up: the whole life of the helper.

    `find` is called by several threads; whoever of them fails ends the process.
    """
    return serve_answers(sock, LOCAL_FRAME_MAX, lambda name: find(name).pack(), threads=THREADS)


class Lookup:
    """Asks the helper, and starts it when there is none; questions wait for one that follows."""

    def __init__(
        self,
        station: Station,
        account: Who,
        find: Find,
        on_answer: Callable[[bytes, Answer | None], None],
    ) -> None:
        self._child = ChildPost(
            station,
            Post("qmail-getpw", account, lambda sock: serve_lookups(sock, find), LOCAL_FRAME_MAX),
        )
        self._on_answer = on_answer
        self._door: Door | None = None
        self._asked: dict[bytes, float] = {}
        self._unsent: list[bytes] = []

    def ask(self, local: bytes) -> None:
        """Ask who controls `local`; the answer comes to `on_answer`, None where the helper died."""
        if local in self._asked:
            return
        now = self._asked[local] = time.monotonic()
        self._unsent.append(local)
        self._send(now)

    def _send(self, now: float) -> None:
        """Pass on what was asked, to a new helper where there is none and one may be started."""
        if self._door is None and self._child.may_start(now):
            self._door = self._child.start(now, self._on_frames, self._on_close)
            if self._door is None:
                self._lose()
        if self._door is not None:
            for local in self._unsent:
                self._door.send(pack(local))
            self._unsent.clear()

    def flush(self) -> None:
        """Send what was asked in this turn."""
        if self._door is not None:
            self._door.flush()

    def tick(self, now: float) -> None:
        """Start a helper that questions wait for, kill one that is silent; `now` is monotonic."""
        if self._unsent:
            self._send(now)
            self.flush()
        # Dictionaries keep their order: the first is the oldest.
        for asked_at in self._asked.values():
            if now > asked_at + ANSWER_S_MAX:
                self._kill()
            return

    @property
    def is_waiting(self) -> bool:
        """True while an answer is due."""
        return bool(self._asked)

    def reaped(self, pid: int) -> bool:
        """Note that the child `pid` has ended. Returns whether it was the helper."""
        return self._child.reaped(pid)

    def close(self) -> None:
        """Let the helper end."""
        if self._door is not None:
            self._door.close()

    def _on_frames(self, _door: Door, payloads: list[bytes]) -> None:
        for payload in payloads:
            answer = Answer.unpack(payload)
            if self._asked.pop(answer.local, None) is None:
                raise FrameError("an answer that nobody asked for")
            self._on_answer(answer.local, answer)

    def _on_close(self, _door: Door) -> None:
        self._door = None
        self._lose()

    def _lose(self) -> None:
        """Answer everybody that there is no answer."""
        self._unsent.clear()
        asked, self._asked = self._asked, {}
        for local in asked:
            self._on_answer(local, None)

    def _kill(self) -> None:
        self._child.kill()
        if self._door is not None:
            self._door.close()
