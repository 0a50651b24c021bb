"""qmail-send's door for operators, run/control: root and qmails may call, the kernel says who does.

An answer is worked at for some milliseconds in each turn of the program and stops while the caller
takes nothing, so that no question holds up a delivery.
"""

import os
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from qmail.core.send.operator import Answers, Operator
from qmail.core.send.operator_acts import PAUSE
from qmail.edge.doors.admission import Admission
from qmail.edge.doors.station import Door, Station
from qmail.protocol.control_door import QUESTION_FRAME_MAX, Answer, Question
from qmail.protocol.netstring import FrameError

USER_FRAME_MAX: Final = 1024
SLICE_S: Final = 0.005
SLICE_S_MAX: Final = 0.05
SHARE: Final = 0.25
"""So long in a turn, whatever is asked; in turns that are long themselves, this part of them."""
WAITING_BYTES_MAX: Final = 65536
"""With more than this not taken, nothing more is answered to that caller."""
CALLERS_MAX: Final = 16
USERS_MAX: Final = 32
EACH_USER_MAX: Final = 2
"""So many users are answered about their own messages at a time, and so many calls of each."""
QUESTIONS_MAX: Final = 8
"""So many questions of one caller are answered at a time."""


@dataclass(eq=False, slots=True)
class Caller:
    """One operator's connection."""

    door: Door
    works: deque[tuple[int, Answers]] = field(default_factory=deque)
    """What is being answered, by tag: in turn."""
    asked_back: dict[int, Answers] = field(default_factory=dict)
    """What waits for the operator's yes."""


class ControlDesk:
    """Takes operators' calls. `go_on` is called once a turn."""

    def __init__(
        self, station: Station, sock: socket.socket, operator: Operator, send_uid: int
    ) -> None:
        self._station = station
        self._operator = operator
        self._callers: dict[Door, Caller] = {}
        self._ended = 0.0
        admission = Admission(
            station, "qmail-send", on_close=self._on_close, callers_max=CALLERS_MAX
        )
        uids = {0, send_uid, os.geteuid()}
        admission.listen(sock, QUESTION_FRAME_MAX, uids, self._on_questions)

    def answer_users(self, sock: socket.socket) -> None:
        """Take calls of anybody at run/mailq: each may ask about own messages, once a call."""
        admission = Admission(
            self._station,
            "qmail-send",
            on_close=self._on_close,
            callers_max=USERS_MAX,
            each_max=EACH_USER_MAX,
        )
        admission.listen(sock, USER_FRAME_MAX, None, self._on_user)

    def _on_user(self, door: Door, payloads: list[bytes]) -> None:
        question = Question.unpack(payloads[0])
        if door in self._callers or len(payloads) > 1:
            raise FrameError("more than one question")
        if question.verb != "show" or not question.filter.is_empty:
            raise FrameError("not a question of an ordinary user")
        caller = self._callers[door] = Caller(door)
        caller.works.append((question.tag, self._operator.own(question, door.peer_uid)))

    def _on_close(self, door: Door) -> None:
        self._callers.pop(door, None)

    def _on_questions(self, door: Door, payloads: list[bytes]) -> None:
        caller = self._callers.get(door)
        if caller is None:
            caller = self._callers[door] = Caller(door)
        for payload in payloads:
            question = Question.unpack(payload)
            if question.verb == "yes":
                caller.works += [(question.tag, caller.asked_back.pop(question.tag, iter(())))]
                continue
            if len(caller.works) + len(caller.asked_back) >= QUESTIONS_MAX:
                raise FrameError("too many questions at a time")
            caller.works.append((question.tag, self._operator.answer(question)))

    @property
    def is_busy(self) -> bool:
        """True when `go_on` has something to do."""
        return any(self._may_go_on(caller) for caller in self._callers.values())

    @staticmethod
    def _may_go_on(caller: Caller) -> bool:
        return bool(caller.works) and caller.door.waiting_bytes < WAITING_BYTES_MAX

    def go_on(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Answer for a slice of time, each caller in turn."""
        began = clock()
        until = began + min(SLICE_S_MAX, max(SLICE_S, SHARE * (began - self._ended)))
        ready = [caller for caller in self._callers.values() if self._may_go_on(caller)]
        while ready and clock() < until:
            for caller in tuple(ready):
                if not (self._step(caller) and self._may_go_on(caller)):
                    ready.remove(caller)
        for caller in tuple(self._callers.values()):
            caller.door.flush()
        self._ended = clock()

    @staticmethod
    def _step(caller: Caller) -> bool:
        """Go on with one question. Returns: False when nothing more can be done in this turn."""
        tag, work = caller.works.popleft()
        answer = next(work, Answer(tag, "error", (b"there is no such question",)))
        if answer is not None and answer is not PAUSE:
            caller.door.send(answer.pack())
        if answer is not None and answer.kind == "found":
            caller.asked_back[tag] = work
        elif answer is None or answer.kind not in ("done", "error"):
            caller.works.append((tag, work))
        return answer is not PAUSE
