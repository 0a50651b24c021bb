"""How qmail-send queues its bounces: small ones through run/queue, others by a child process."""

import os
import signal
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Final, Protocol

from qmail.core.bounce.form import bounce_parts
from qmail.core.bounce.rules import Material
from qmail.core.send.values import Bounce, Message
from qmail.edge.doors.caller import Caller, Line
from qmail.edge.doors.doorway import forget_folders
from qmail.edge.doors.station import Station
from qmail.edge.submit.queue import submit
from qmail.mail import Letter, Result
from qmail.protocol.doors import MESSAGE_INLINE_MAX, Receipt, Submission
from qmail.protocol.exits import queue_result

CHILDREN_MAX: Final = 4
REFUSED: Final = b"D"
ANSWER_BYTES_MAX: Final = 4096
PART_BYTES: Final = 65536
_FD_END: Final = 1 << 20


class Bounced(Protocol):
    """Who is told what became of each bounce."""

    def __call__(
        self, message: Message, qp: int | None, trace_id: bytes = b"", *, refusal: bytes = b""
    ) -> None:
        """Take the message that bounces, and qp and id of the bounce; qp None: it is not queued.

        `refusal` says why it never will be; without one it may be at another time.
        """
        ...


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
            self._bounced(bounce.message, None)
            return
        self._tag += 1
        self._asked[self._tag] = bounce
        self._queue.send([Submission(b"M", self._tag, bounce.envelope.pack(), text).pack()])

    def _small_text(self, bounce: Bounce) -> bytes | None:
        """Return all of a bounce that is short; one that is not takes a child to read it."""
        text, size = [], 0
        try:
            material = material_of(self._home, bounce)
            if bounce.notice.controls.bytes_max >= material.size > MESSAGE_INLINE_MAX:
                return None
            for part in bounce_parts(bounce.notice, material, new_token()):
                text.append(part)
                size += len(part)
                if size >= MESSAGE_INLINE_MAX:
                    return None
        except OSError:
            return None
        return b"".join(text)

    def _on_receipts(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            receipt = Receipt.unpack(payload)
            bounce = self._asked.pop(receipt.tag, None)
            if bounce is not None:
                result = queue_result(receipt.code, receipt.text)
                qp = receipt.qp if result is None else None
                refusal = refusal_of(result)
                self._bounced(bounce.message, qp, receipt.trace_id, refusal=refusal)

    def _on_change(self, is_up: bool) -> None:
        if not is_up:
            asked, self._asked = self._asked, {}
            for bounce in asked.values():
                self._bounced(bounce.message, None)

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
            parts = bounce_parts(bounce.notice, material_of(self._home, bounce), new_token())
            outcome = submit(self._home, parts, bounce.envelope, os.environ)
            if outcome.result is None:
                os.write(writer, b"%d %b" % (outcome.qp, outcome.trace_id))
            else:
                os.write(writer, REFUSED + refusal_of(outcome.result))
        finally:
            os._exit(0)

    def _on_child(self, reader: int) -> None:
        try:
            answer = os.read(reader, ANSWER_BYTES_MAX)
        except BlockingIOError:
            return
        pid, bounce = self._children.pop(reader)
        self._station.forget(reader)
        os.close(reader)
        os.waitpid(pid, 0)
        qp, _, trace_id = answer.partition(b" ")
        if qp.isdigit():
            self._bounced(bounce.message, int(qp), trace_id)
        else:
            # Nothing at all where the child could not read the message.
            self._bounced(bounce.message, None, refusal=answer[len(REFUSED) :])
        self._start_children()


def material_of(home: str, bounce: Bounce) -> Material:
    """Return what there is in the queue for a bounce. Raises: OSError: it can't be read."""
    reports = f"{home}/queue/{bounce.reports.decode()}"
    path = f"{home}/queue/mess/{bounce.body.decode()}"
    # The message's file is written when it arrives, and never again.
    found = os.lstat(path)
    return Material(
        found.st_size, int(found.st_mtime), partial(_parts_of, reports), partial(_parts_of, path)
    )


def _parts_of(path: str) -> Iterator[bytes]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        while part := os.read(fd, PART_BYTES):
            yield part
    finally:
        os.close(fd)


def new_token() -> bytes:
    """Return what no other message has: nobody can put it into a message beforehand."""
    return os.urandom(12).hex().encode()


def refusal_of(result: Result | None) -> bytes:
    """Return why a bounce will never be taken; b"" where it was, or may be at another time."""
    if result is None or result.letter is not Letter.FAILED:
        return b""
    return result.text or b"no reason given"
