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

from qmail.core.operator import Answers, Operator
from qmail.edge.log import complain
from qmail.edge.station import Door, Listener, Station
from qmail.protocol.control_door import QUESTION_FRAME_MAX, Answer, Question
from qmail.protocol.netstring import FrameError

SLICE_S: Final = 0.005
"""So long in a turn, whatever is asked."""
WAITING_BYTES_MAX: Final = 65536
"""With more than this not taken, nothing more is answered to that caller."""
CALLERS_MAX: Final = 16
QUESTIONS_MAX: Final = 8
"""So many questions of one caller are answered at a time."""


@dataclass(eq=False, slots=True)
class Caller:
    """One operator's connection."""

    door: Door
    works: deque[tuple[int, Answers]] = field(default_factory=deque)
    """What is being answered, by tag: in turn."""


class ControlDesk:
    """Takes operators' calls. `go_on` is called once a turn."""

    def __init__(
        self, station: Station, sock: socket.socket, operator: Operator, send_uid: int
    ) -> None:
        self._station = station
        self._operator = operator
        self._uids = {0, send_uid, os.geteuid()}
        self._callers: dict[Door, Caller] = {}
        Listener(station, sock, self._on_call)

    def _on_call(self, sock: socket.socket) -> None:
        door = Door(
            self._station,
            sock,
            QUESTION_FRAME_MAX,
            on_frames=self._on_questions,
            on_close=self._on_close,
        )
        if door.peer_uid not in self._uids:
            complain("qmail-send", f"refused a call at run/control from uid {door.peer_uid}")
            door.close()
        elif len(self._callers) >= CALLERS_MAX:
            door.close()
        else:
            self._callers[door] = Caller(door)

    def _on_close(self, door: Door) -> None:
        self._callers.pop(door, None)

    def _on_questions(self, door: Door, payloads: list[bytes]) -> None:
        caller = self._callers.get(door)
        if caller is None:
            return
        for payload in payloads:
            question = Question.unpack(payload)
            if len(caller.works) >= QUESTIONS_MAX:
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
        until = clock() + SLICE_S
        ready = [caller for caller in self._callers.values() if self._may_go_on(caller)]
        while ready and clock() < until:
            for caller in tuple(ready):
                self._step(caller)
                if not self._may_go_on(caller):
                    ready.remove(caller)
        for caller in tuple(self._callers.values()):
            caller.door.flush()

    def _step(self, caller: Caller) -> None:
        tag, work = caller.works.popleft()
        answer = next(work, Answer(tag, "error", (b"no answer",)))
        if answer is not None:
            caller.door.send(answer.pack())
        if answer is None or answer.kind not in ("done", "error"):
            caller.works.append((tag, work))
