"""qmail-queue's desk: frames from submitters become drafts, commits become receipts and notices.

No sockets here: the program hands payloads in and carries frames out, so that tests can drive the
desk on a simulated disk.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from qmail.core.clock import Clock
from qmail.core.queue.write import Draft, DraftState, QueueError, QueueWriter
from qmail.protocol.doors import NOTICE_ENVELOPE_MAX, Notice, Receipt, Submission
from qmail.protocol.exits import QueueExit
from qmail.protocol.log_tail import packed_tail
from qmail.protocol.netstring import FrameError
from qmail.protocol.trace_id import TraceIds, is_trace_id

OPEN_MAX: Final = 4096
"""Unfinished messages of one caller; more are refused."""
DEATH_S: Final = 86400
"""A message that takes longer to arrive is given up (spec/queue.md 12)."""

MESSAGE_ID_BYTES_MAX: Final = 250
_MESSAGE_ID: Final = re.compile(
    rb"(?:\A|\n)message-id:[ \t]*(?:\n[ \t]+)?([^ \t\n]{1,%d})" % MESSAGE_ID_BYTES_MAX,
    re.IGNORECASE,
)


def message_id_of(head: bytes) -> bytes:
    """Find the Message-ID in the beginning of a message; b"" where there is none."""
    end = head.find(b"\n\n")
    found = _MESSAGE_ID.search(head, 0, end if end >= 0 else len(head))
    return found[1] if found else b""


@dataclass(frozen=True, slots=True)
class Manners:
    """What qmail-queue says of its callers, believes of them, and logs."""

    who: Callable[[int], bytes]
    """What the Received line tells of a user id."""
    may_name: Callable[[int], bool] = lambda _uid: False
    """Whose messages come with an id that is to be believed."""
    is_detailed: bool = False
    """Whether each message gets a structured line in the log."""


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

    def __init__(self, writer: QueueWriter, clock: Clock, manners: Manners, first_qp: int) -> None:
        self._writer = writer
        self._clock = clock
        self._manners = manners
        self._qp = first_qp
        self._ids = TraceIds(first_qp)
        self.log: list[bytes] = []

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
            draft = self._begin(caller, frame.trace_id)
            draft.owner = caller
            if frame.kind == b"O":
                caller.open[frame.tag] = draft
                return
            self._look(draft, frame.data)
            self._writer.write(draft, frame.data)
            self._finish(caller, frame, draft)
            return
        known = caller.open.get(frame.tag)
        if known is None:
            # Already refused: the rest of it was under way when the refusal left.
            return
        if frame.kind == b"C":
            if known.unwritten:
                self._look(known, frame.data)
            self._writer.write(known, frame.data)
            return
        del caller.open[frame.tag]
        if frame.kind == b"E":
            self._finish(caller, frame, known)
        else:
            self._writer.give_up(known)

    def _begin(self, caller: Caller, trace_id: bytes) -> Draft:
        # The command qmail-queue sends one message, and its callers know it by its pid. Whoever
        # sends more through one connection gets numbers.
        qp = caller.pid
        caller.messages += 1
        if caller.messages > 1:
            self._qp += 1
            qp = self._qp
        uid, manners = caller.uid, self._manners
        is_told = bool(trace_id) and manners.may_name(uid) and is_trace_id(trace_id)
        if not is_told:
            trace_id = self._ids.make(self._clock.now())
        return self._writer.begin(uid, qp, manners.who(uid), trace_id=trace_id, is_told=is_told)

    def _look(self, draft: Draft, head: bytes) -> None:
        if self._manners.is_detailed:
            draft.message_id = message_id_of(head)

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
                Notice(
                    draft.number,
                    draft.size,
                    draft.uid,
                    draft.qp,
                    draft.birth,
                    envelope,
                    draft.trace_id,
                )
            )
            if self._manners.is_detailed:
                self._log(draft)
        for draft in outcome.failed:
            self._receipt(draft, draft.code, draft.trouble)
        return notices

    def _log(self, draft: Draft) -> None:
        self.log.append(
            packed_tail(
                event=b"queued",
                id=draft.trace_id,
                msg=b"%d" % draft.number,
                qp=b"%d" % draft.qp,
                uid=b"%d" % draft.uid,
                bytes=b"%d" % draft.size,
                message_id=draft.message_id,
            )
        )

    def _receipt(self, draft: Draft, code: QueueExit, text: str) -> None:
        assert draft.state is DraftState.ENDED
        if isinstance(draft.owner, tuple):
            caller, tag = draft.owner
            caller.answers.append(
                Receipt(tag, code, draft.qp, text.encode(), draft.trace_id).pack()
            )

    def _answer(self, caller: Caller, tag: int, code: QueueExit, text: str) -> None:
        caller.answers.append(Receipt(tag, code, 0, text.encode(errors="replace")).pack())
