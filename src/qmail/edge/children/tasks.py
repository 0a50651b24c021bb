"""A resident qmail-local, seen from inside: takes batches of tasks, reports, forks for slow ones.

It ends when its parent hangs up, after what it has is done. Runs under the recipient's uid.
"""

import array
import contextlib
import os
import signal
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NoReturn, Protocol

from qmail.edge.children.offspring import close_all, ended_statuses, keep_inherited_objects
from qmail.edge.children.private_copy import private_copy
from qmail.edge.doors.station import Station
from qmail.protocol.doors import Report
from qmail.protocol.local_door import LOCAL_FRAME_MAX, Look, Task
from qmail.protocol.local_exits import CRASHED, OUTPUT_BYTES_MAX, local_report
from qmail.protocol.netstring import FrameReader

RECEIVE_BYTES: Final = 65536
RIGHTS_BYTES: Final = socket.CMSG_SPACE(253 * array.array("i").itemsize)
SLOW_MAX: Final = 50
"""So many deliveries of one account run as processes of their own at a time."""
DRAIN_BYTES: Final = 65536
DRAINS_AT_END: Final = 32
_RECEIVE_FLAGS: Final = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
_FD_END: Final = 1 << 20

Reports = list[tuple[int, bytes]]


class Quick(Protocol):
    """What can be done without a process of its own, many at a time."""

    @property
    def is_idle(self) -> bool:
        """True when nothing waits for `step`."""
        ...

    def begin(self, tasks: Iterable[tuple[Task, int]]) -> tuple[Reports, list[tuple[Task, int]]]:
        """Begin tasks; return reports that are ready, and the tasks that are not for us."""
        ...

    def step(self) -> Reports:
        """Carry on; return reports that are ready."""
        ...

    def look(self, target: bytes) -> bytes:
        """Report whether there is a mailbox for a packed target; nothing is delivered."""
        ...


Slow = Callable[[Task], int]
"""Makes one delivery: message on 0, report to 1 and 2; returns the exit code."""


@dataclass(slots=True)
class _Running:
    """A delivery in a process of its own. What it prints beyond the limit is thrown away."""

    serial: int
    output_fd: int
    output: bytearray = field(default_factory=bytearray)
    is_open: bool = True


class TaskServer:
    """Serves the channel `sock` until the other side hangs up."""

    def __init__(self, sock: socket.socket, quick: Quick, slow: Slow) -> None:
        self._sock = sock
        self._quick = quick
        self._slow = slow
        self._station = Station()
        self._reader = FrameReader(LOCAL_FRAME_MAX)
        self._fds: deque[int] = deque()
        self._tasks: list[tuple[Task, int]] = []
        self._queued: deque[tuple[Task, int]] = deque()
        self._running: dict[int, _Running] = {}
        self._reports: Reports = []
        self._hung_up = False

    def run(self) -> int:
        """Serve. Returns: the exit code of the process."""
        self._station.watch(self._sock.fileno(), self._receive)
        self._station.on_signal(signal.SIGCHLD, self._reap)
        while not (self._hung_up and self._quick.is_idle and not self._running):
            # No limit on an idle wait: the parent ends it by hanging up, or by dying.
            self._station.turn(None if self._quick.is_idle else 0)
            self._work()
            self._answer()
        return 0

    def _receive(self) -> None:
        data, ancillary, flags, _ = self._sock.recvmsg(RECEIVE_BYTES, RIGHTS_BYTES, _RECEIVE_FLAGS)
        for level, kind, rights in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self._fds.extend(struct.unpack(f"{len(rights) // 4}i", rights))
        if flags & socket.MSG_CTRUNC:
            raise OSError("descriptors were lost on the way")
        if not data:
            self._hung_up = True
            self._station.forget(self._sock.fileno())
            return
        for payload in self._reader.feed(data):
            if payload[:1] == b"V":
                look = Look.unpack(payload)
                self._reports.append((look.serial, self._quick.look(look.target)))
            else:
                self._tasks.append((Task.unpack(payload), self._fds.popleft()))

    def _work(self) -> None:
        if self._tasks:
            tasks, self._tasks = self._tasks, []
            reports, slow = self._quick.begin(tasks)
            self._reports += reports
            self._queued.extend(slow)
            kept = {fd for _, fd in slow}
            close_all([fd for _, fd in tasks if fd not in kept])
        if not self._quick.is_idle:
            self._reports += self._quick.step()
        while self._queued and len(self._running) < SLOW_MAX:
            task, message = self._queued.popleft()
            try:
                self._start(task, message)
            except OSError:
                # No process or no pipe to be had now.
                self._reports.append((task.serial, CRASHED))
            finally:
                os.close(message)

    def _answer(self) -> None:
        if self._reports:
            frames = [Report(serial, text).pack() for serial, text in self._reports]
            self._reports.clear()
            # The parent always reads; where it is gone, nobody wants to know.
            with contextlib.suppress(OSError):
                self._sock.sendall(b"".join(frames))

    def _start(self, task: Task, message: int) -> None:
        """Fork a process for one task.

        Raises: OSError: not possible now.
        """
        output, theirs = os.pipe()
        try:
            pid = os.fork()
            if pid == 0:
                self._deliver(task, message, theirs)
        except OSError:
            os.close(output)
            raise
        finally:
            os.close(theirs)
        os.set_blocking(output, False)
        running = self._running[pid] = _Running(task.serial, output)
        self._station.watch(output, lambda: self._hear(running))

    def _deliver(self, task: Task, message: int, output: int) -> NoReturn:
        code = 111
        try:
            keep_inherited_objects()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(private_copy(message), 0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.closerange(3, _FD_END)
            code = self._slow(task)
        except BaseException as crash:
            os.write(1, b"qmail-local failed: " + repr(crash).encode(errors="replace") + b"\n")
        finally:
            os._exit(code)

    def _hear(self, running: _Running) -> None:
        self._drain(running)

    def _drain(self, running: _Running) -> bool:
        """Read what the process printed. Returns False where there is no more now."""
        if not running.is_open:
            return False
        try:
            data = os.read(running.output_fd, DRAIN_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._close(running)
            return False
        room = OUTPUT_BYTES_MAX + 1 - len(running.output)
        running.output += data[:room]
        return True

    def _close(self, running: _Running) -> None:
        if running.is_open:
            running.is_open = False
            self._station.forget(running.output_fd)
            os.close(running.output_fd)

    def _reap(self) -> None:
        for pid, status in ended_statuses():
            running = self._running.pop(pid, None)
            if running is None:
                continue
            # Something left in the background may hold the pipe open and go on writing.
            for _ in range(DRAINS_AT_END):
                if not self._drain(running):
                    break
            self._close(running)
            code = os.waitstatus_to_exitcode(status)
            self._reports.append((running.serial, local_report(code, bytes(running.output))))
