"""qmail-queue's desk: frames from submitters become drafts, commits become receipts and notices.

No sockets here: the program hands payloads in and carries frames out, so that tests can drive the
desk on a simulated disk.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from qmail.core.clock import Clock
from qmail.core.queue_write import Draft, DraftState, QueueError, QueueWriter
from qmail.protocol.doors import NOTICE_ENVELOPE_MAX, Notice, Receipt, Submission
from qmail.protocol.exits import QueueExit
from qmail.protocol.netstring import FrameError

OPEN_MAX: Final = 4096
"""Unfinished messages of one caller; more are refused."""
DEATH_S: Final = 86400
"""A message that takes longer to arrive is given up (spec/queue.md 12)."""

Who = Callable[[int], bytes]
"""Says what the Received line tells of a user id."""


@dataclass(eq=False, slots=True)
class Caller:
    """One connection: who the kernel says it is, its open messages, and the frames to send it."""

    uid: int
    pid: int
    messages: int = 0
    open: dict[int, Draft] = field(default_factory=dict)
    answers: list[bytes] = field(default_factory=list)


class Desk:
    """Turns submissions into queued messages."""

    def __init__(self, writer: QueueWriter, clock: Clock, who: Who, first_qp: int) -> None:
        self._writer = writer
        self._clock = clock
        self._who = who
        self._qp = first_qp

    def take(self, caller: Caller, payload: bytes) -> None:
        """Handle one frame.

        Raises: FrameError: the caller breaks the rules; close its connection.
        """
        frame = Submission.unpack(payload)
        try:
            self._handle(caller, frame)
        except QueueError as refused:
            caller.open.pop(frame.tag, None)
            self._answer(caller, frame.tag, refused.code, str(refused))

    def _handle(self, caller: Caller, frame: Submission) -> None:
        if frame.kind in (b"M", b"O"):
            if frame.tag in caller.open:
                raise FrameError("tag in use")
            if len(caller.open) >= OPEN_MAX:
                raise QueueError(QueueExit.DEFERRED, "too many messages at once")
            draft = self._begin(caller)
            draft.owner = caller
            if frame.kind == b"O":
                caller.open[frame.tag] = draft
                return
            self._writer.write(draft, frame.data)
            self._finish(caller, frame, draft)
            return
        known = caller.open.get(frame.tag)
        if known is None:
            # Already refused: the rest of it was under way when the refusal left.
            return
        if frame.kind == b"C":
            self._writer.write(known, frame.data)
            return
        del caller.open[frame.tag]
        if frame.kind == b"E":
            self._finish(caller, frame, known)
        else:
            self._writer.give_up(known)

    def _begin(self, caller: Caller) -> Draft:
        # The command qmail-queue sends one message, and its callers know it by its pid. Whoever
        # sends more through one connection gets numbers.
        qp = caller.pid
        caller.messages += 1
        if caller.messages > 1:
            self._qp += 1
            qp = self._qp
        return self._writer.begin(caller.uid, qp, self._who(caller.uid))

    def _finish(self, caller: Caller, frame: Submission, draft: Draft) -> None:
        self._writer.finish(draft, frame.envelope)
        draft.owner = (caller, frame.tag)

    def leave(self, caller: Caller) -> None:
        """Forget a caller that is gone: what it did not finish is not queued."""
        for draft in caller.open.values():
            self._writer.give_up(draft)
        caller.open.clear()

    def expire(self, callers: Iterator[Caller]) -> None:
        """Give up what has been arriving for more than a day."""
        oldest = self._clock.now() - DEATH_S
        for caller in callers:
            for tag, draft in list(caller.open.items()):
                if draft.birth < oldest:
                    del caller.open[tag]
                    self._writer.give_up(draft)
                    self._answer(caller, tag, QueueExit.TIMEOUT, "a day and not at its end")

    @property
    def has_work(self) -> bool:
        """True while a message waits for a commit."""
        return self._writer.has_work

    def commit(self) -> list[Notice]:
        """Do one commit; put receipts into the callers' answers.

        Returns: what qmail-send is to be told.
        """
        outcome = self._writer.commit()
        notices = []
        for draft in outcome.accepted:
            self._receipt(draft, QueueExit.QUEUED, "")
            envelope = draft.envelope if len(draft.envelope) <= NOTICE_ENVELOPE_MAX else b""
            notices.append(
                Notice(draft.number, draft.size, draft.uid, draft.qp, draft.birth, envelope)
            )
        for draft in outcome.failed:
            self._receipt(draft, draft.code, draft.trouble)
        return notices

    def _receipt(self, draft: Draft, code: QueueExit, text: str) -> None:
        assert draft.state is DraftState.ENDED
        if isinstance(draft.owner, tuple):
            caller, tag = draft.owner
            caller.answers.append(Receipt(tag, code, draft.qp, text.encode()).pack())

    def _answer(self, caller: Caller, tag: int, code: QueueExit, text: str) -> None:
        caller.answers.append(Receipt(tag, code, 0, text.encode(errors="replace")).pack())
