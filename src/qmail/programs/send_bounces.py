"""How qmail-send queues its bounces: small ones through run/queue, others by a child process."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from qmail.core.dispatch_values import Bounce, Message
from qmail.edge.caller import Caller, Line
from qmail.edge.doorway import forget_folders
from qmail.edge.station import Station
from qmail.edge.submit import submit
from qmail.protocol.doors import MESSAGE_INLINE_MAX, Receipt, Submission
from qmail.protocol.exits import QueueExit

CHILDREN_MAX: Final = 4
PART_BYTES: Final = 65536
_FD_END: Final = 1 << 20

Bounced = Callable[[Message, int | None, bytes], None]
"""Takes the message that bounces, and qp and id of the bounce; None: it is not queued."""


class BounceDesk:
    """Submits bounces and says what became of each."""

    def __init__(self, station: Station, home: str, queue_uid: int, bounced: Bounced) -> None:
        self._station = station
        self._home = home
        self._bounced = bounced
        self._tag = 0
        self._asked: dict[int, Bounce] = {}
        self._large: deque[Bounce] = deque()
        self._children: dict[int, tuple[int, Bounce]] = {}
        line = Line("queue", frozenset((queue_uid, 0)), 4096, self._on_receipts, self._on_change)
        self._queue = Caller(station, home, line)

    @property
    def is_busy(self) -> bool:
        """True while the fate of a bounce is open."""
        return bool(self._asked or self._large or self._children)

    def submit(self, bounce: Bounce) -> None:
        """Queue one bounce; `bounced` is called later."""
        text = self._small_text(bounce)
        if text is None or "QMAILQUEUE" in os.environ:
            self._large.append(bounce)
            self._start_children()
            return
        self._queue.call()
        if not self._queue.is_up:
            self._bounced(bounce.message, None, b"")
            return
        self._tag += 1
        self._asked[self._tag] = bounce
        self._queue.send([Submission(b"M", self._tag, bounce.envelope.pack(), text).pack()])

    def _small_text(self, bounce: Bounce) -> bytes | None:
        try:
            with open(self._open(bounce), "rb", buffering=0) as file:
                rest = file.read(MESSAGE_INLINE_MAX) or b""
                is_whole = os.fstat(file.fileno()).st_size == len(rest)
        except OSError:
            return None
        text = bounce.head + rest
        return ended(text) if is_whole and len(text) < MESSAGE_INLINE_MAX else None

    def _open(self, bounce: Bounce) -> int:
        path = f"{self._home}/queue/mess/{bounce.body.decode()}"
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def _on_receipts(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            receipt = Receipt.unpack(payload)
            bounce = self._asked.pop(receipt.tag, None)
            if bounce is not None:
                is_queued = receipt.code == QueueExit.QUEUED
                qp = receipt.qp if is_queued else None
                self._bounced(bounce.message, qp, receipt.trace_id)

    def _on_change(self, is_up: bool) -> None:
        if not is_up:
            asked, self._asked = self._asked, {}
            for bounce in asked.values():
                self._bounced(bounce.message, None, b"")

    # --- by a child: long messages are streamed, QMAILQUEUE is obeyed ----------------------------

    def _start_children(self) -> None:
        while self._large and len(self._children) < CHILDREN_MAX:
            bounce = self._large.popleft()
            reader, writer = os.pipe()
            pid = os.fork()
            if pid == 0:
                self._child(bounce, writer)
            os.close(writer)
            os.set_blocking(reader, False)
            self._children[reader] = (pid, bounce)
            self._station.watch(reader, partial(self._on_child, reader))

    def _child(self, bounce: Bounce, writer: int) -> None:
        try:
            # Nothing of qmail-send's: its lock and its doors are to close when it ends.
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
                signal.signal(number, signal.SIG_DFL)
            forget_folders()
            os.closerange(3, writer)
            os.closerange(writer + 1, _FD_END)
            outcome = submit(self._home, self._parts(bounce), bounce.envelope, os.environ)
            if outcome.result is None:
                os.write(writer, b"%d %b" % (outcome.qp, outcome.trace_id))
        finally:
            os._exit(0)

    def _parts(self, bounce: Bounce) -> Iterator[bytes]:
        yield bounce.head
        fd = self._open(bounce)
        last = b"\n"
        while part := os.read(fd, PART_BYTES):
            yield part
            last = part
        os.close(fd)
        if not last.endswith(b"\n"):
            yield b"\n"

    def _on_child(self, reader: int) -> None:
        try:
            answer = os.read(reader, 64)
        except BlockingIOError:
            return
        pid, bounce = self._children.pop(reader)
        self._station.forget(reader)
        os.close(reader)
        os.waitpid(pid, 0)
        qp, _, trace_id = answer.partition(b" ")
        self._bounced(bounce.message, int(qp) if qp.isdigit() else None, trace_id)
        self._start_children()


def ended(text: bytes) -> bytes:
    """Return `text` with a final line feed: without one it could not be sent by SMTP."""
    return text if text.endswith(b"\n") else text + b"\n"
