"""The resident qmail-local processes, seen from qmail-lspawn: one for each account with work.

Jobs go out a batch at a time: their frames and, beside them, the open messages in the same order.
A resident is not trusted: it may report what it was given, once, and is killed for anything else.
"""

import contextlib
import os
import signal
import socket
import time
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from qmail.edge.offspring import ChildMain, Who, close_all, fork_child
from qmail.edge.station import Station
from qmail.protocol.doors import REPORT_FRAME_MAX, Report
from qmail.protocol.local_exits import CRASHED
from qmail.protocol.netstring import FrameError, FrameReader

BATCH_MAX: Final = 200
"""Descriptors in one message (the kernel's limit is 253), and jobs a resident has at a time."""
RESIDENTS_MAX: Final = 200
IDLE_S_MAX: Final = 5.0
RECEIVE_BYTES: Final = 65536
SEND_BUFFER_BYTES: Final = 2 * 1024 * 1024


Errand = tuple[int, bytes, bytes]
"""One job for a resident: serial, frame, and where the message is, opened when the job leaves."""


@dataclass(slots=True, eq=False)
class _Resident:
    who: Who
    waiting: deque[Errand] = field(default_factory=deque)
    running: set[int] = field(default_factory=set)
    sock: socket.socket | None = None
    pid: int = 0
    unsent: bytes = b""
    unsent_fds: list[int] = field(default_factory=list)
    reader: FrameReader = field(default_factory=lambda: FrameReader(REPORT_FRAME_MAX))
    idle_since: float = 0.0

    @property
    def is_idle(self) -> bool:
        """True when it has nothing to do."""
        return not self.running and not self.waiting


class Residents:
    """Starts residents, feeds them, hears them, ends them."""

    def __init__(
        self,
        station: Station,
        main: ChildMain,
        open_message: Callable[[int, bytes], int | None],
        on_report: Callable[[int, bytes], None],
    ) -> None:
        self._station = station
        self._main = main
        self._open_message = open_message
        self._on_report = on_report
        self._by_who: dict[Who, _Resident] = {}
        self._alive: set[int] = set()
        self._dirty: set[_Resident] = set()
        self._starved = False

    @property
    def is_empty(self) -> bool:
        """True when there is nobody to end."""
        return not self._by_who

    def give(self, who: Who, errand: Errand) -> None:
        """Add a job for the resident of account `who`; it leaves at the next `flush`."""
        resident = self._by_who.get(who)
        if resident is None:
            resident = self._by_who[who] = _Resident(who)
        resident.waiting.append(errand)
        self._dirty.add(resident)

    def flush(self) -> None:
        """Send every resident what it can take now."""
        dirty, self._dirty = self._dirty, set()
        for resident in dirty:
            if resident.sock is None and not self._start(resident):
                continue
            self._feed(resident)

    def reaped(self, pid: int) -> None:
        """Note that the child `pid` has ended: there is room for one that waits."""
        self._alive.discard(pid)
        self._feed_starved()

    def _feed_starved(self) -> None:
        """Try again to start those that have work and no process."""
        if not self._starved:
            return
        self._starved = False
        self._dirty.update(
            resident
            for resident in self._by_who.values()
            if resident.sock is None and resident.waiting
        )

    def tick(self, now: float) -> None:
        """End who has been idle for long; `now` is monotonic."""
        for resident in list(self._by_who.values()):
            if resident.is_idle and now > resident.idle_since + IDLE_S_MAX:
                self._retire(resident)

    def close(self) -> None:
        """Tell everybody to finish and end."""
        for resident in list(self._by_who.values()):
            self._retire(resident)

    def _start(self, resident: _Resident) -> bool:
        """Fork the process of `resident`. Returns False where it has to wait or can't be."""
        if len(self._alive) >= RESIDENTS_MAX:
            idle = [other for other in self._by_who.values() if other.sock and other.is_idle]
            if idle:
                self._retire(min(idle, key=lambda other: other.idle_since))
            self._starved = True
            return False
        try:
            resident.pid, sock = fork_child("qmail-local", resident.who, self._main)
        except OSError:
            del self._by_who[resident.who]
            for serial, _frame, _body in resident.waiting:
                self._on_report(serial, CRASHED)
            return False
        self._alive.add(resident.pid)
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        resident.sock = sock
        self._station.watch(
            sock.fileno(), lambda: self._hear(resident), lambda: self._feed(resident)
        )
        return True

    def _feed(self, resident: _Resident) -> None:
        sock = resident.sock
        while sock is not None and (resident.unsent or resident.waiting):
            if not resident.unsent:
                self._load(resident)
                if not resident.unsent:
                    break
            if not self._send(resident, sock):
                return
        if sock is not None:
            self._station.want(sock.fileno(), read=True, write=False)
            if resident.is_idle:
                resident.idle_since = time.monotonic()

    def _load(self, resident: _Resident) -> None:
        """Open the messages of the next batch."""
        frames = []
        waiting, running = resident.waiting, resident.running
        while waiting and len(running) < BATCH_MAX:
            serial, frame, body = waiting.popleft()
            fd = self._open_message(serial, body)
            if fd is not None:
                running.add(serial)
                frames.append(frame)
                resident.unsent_fds.append(fd)
        resident.unsent = b"".join(frames)

    def _send(self, resident: _Resident, sock: socket.socket) -> bool:
        """Write what is unsent. Returns False where it has to wait, or the resident is gone."""
        fds = resident.unsent_fds
        try:
            if fds:
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))]
                sent = sock.sendmsg([resident.unsent], rights, socket.MSG_NOSIGNAL)
            else:
                sent = sock.send(resident.unsent)
        except BlockingIOError:
            self._station.want(sock.fileno(), read=True, write=True)
            return False
        except OSError:
            self._lost(resident)
            return False
        # All descriptors went with the first byte.
        close_all(fds)
        fds.clear()
        resident.unsent = resident.unsent[sent:]
        if resident.unsent:
            self._station.want(sock.fileno(), read=True, write=True)
            return False
        return True

    def _hear(self, resident: _Resident) -> None:
        if resident.sock is None:
            return
        try:
            data = resident.sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost(resident)
            return
        try:
            for payload in resident.reader.feed(data):
                self._settle(resident, Report.unpack(payload))
        except FrameError:
            os.kill(resident.pid, signal.SIGKILL)
            self._lost(resident)
            return
        if resident.waiting:
            self._dirty.add(resident)
        elif not resident.running:
            resident.idle_since = time.monotonic()
            self._feed_starved()

    def _settle(self, resident: _Resident, report: Report) -> None:
        if report.delivery not in resident.running:
            raise FrameError("a report on nothing of its own")
        if report.text[:1] not in (b"K", b"Z", b"D") or b"\0" in report.text:
            raise FrameError("not a report")
        resident.running.remove(report.delivery)
        self._on_report(report.delivery, report.text)

    def _lost(self, resident: _Resident) -> None:
        """The process is gone or not believed any more: what it had is put off."""
        self._disconnect(resident)
        running, resident.running = resident.running, set()
        for serial in running:
            self._on_report(serial, CRASHED)
        if resident.waiting:
            # These never left; another process gets them.
            resident.reader = FrameReader(REPORT_FRAME_MAX)
            self._dirty.add(resident)
        else:
            self._by_who.pop(resident.who, None)

    def _retire(self, resident: _Resident) -> None:
        """Hang up: the process finishes what it has, which is nothing, and ends."""
        self._disconnect(resident)
        self._by_who.pop(resident.who, None)

    def _disconnect(self, resident: _Resident) -> None:
        if resident.sock is not None:
            self._station.forget(resident.sock.fileno())
            resident.sock.close()
            resident.sock = None
        close_all(resident.unsent_fds)
        resident.unsent_fds.clear()
        resident.unsent = b""
