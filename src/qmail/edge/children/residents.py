"""The resident qmail-local processes, seen from qmail-lspawn: one for each account with work.

Jobs go out a batch at a time: their frames and, beside them, the open messages in the same order.
A resident is not trusted: it may report what it was given, once, and is killed for anything else.

Look-ups (is there such a mailbox?) go to the same residents, ahead of what waits, and take nothing
from deliveries: they have bounds of their own, and those started for them alone are counted apart.
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

from qmail.edge.children.offspring import ChildMain, Who, close_all, fork_child
from qmail.edge.doors.station import Station
from qmail.edge.machine.descriptors import descriptor_limit
from qmail.edge.machine.memory import memory_bytes
from qmail.protocol.doors import REPORT_FRAME_MAX, Report
from qmail.protocol.local_exits import CRASHED
from qmail.protocol.netstring import FrameError, FrameReader

BATCH_MAX: Final = 200
"""Descriptors in one message (the kernel's limit is 253), and jobs a resident has at a time."""
RESIDENTS_MAX: Final = 1000
RESIDENTS_MIN: Final = 50
RESIDENT_BYTES: Final = 2_700_000
"""What one takes for itself: pages that it wrote to, page tables, stack in the kernel. Measured."""
MEMORY_SHARE: Final = 8
"""All of them together get this part of the memory: the nth. Who comes then waits for an end."""
LOOKERS_MAX: Final = 16
"""So many residents more may run that were started for a look-up and had no delivery yet."""
LOOKS_PER_RESIDENT_MAX: Final = 500
LOOK_S_MAX: Final = 10.0
"""A resident without deliveries that is silent for so long when asked is killed."""
IDLE_S_MAX: Final = 30.0
"""Long enough that a thousand accounts in turn find theirs alive on a slow disk, too."""
RECEIVE_BYTES: Final = 65536
SEND_BUFFER_BYTES: Final = 2 * 1024 * 1024


Errand = tuple[int, bytes, bytes]
"""One job for a resident: serial, frame, and where the message is, opened when the job leaves."""


@dataclass(slots=True, eq=False)
class _Resident:
    who: Who
    waiting: deque[Errand] = field(default_factory=deque)
    running: set[int] = field(default_factory=set)
    looks: deque[tuple[int, bytes]] = field(default_factory=deque)
    looking: dict[int, float] = field(default_factory=dict)
    """Look-ups that it was asked, and when; dictionaries keep their order."""
    is_looker: bool = False
    """True as long as it has been given nothing but look-ups."""
    sock: socket.socket | None = None
    pid: int = 0
    unsent: bytes = b""
    unsent_fds: list[int] = field(default_factory=list)
    reader: FrameReader = field(default_factory=lambda: FrameReader(REPORT_FRAME_MAX))
    idle_since: float = 0.0

    @property
    def is_idle(self) -> bool:
        """True when it has nothing to do."""
        return not (self.running or self.waiting or self.looking or self.looks)


def room_for_residents(memory: int, descriptors: int) -> int:
    """Return how many residents there may be with `memory` bytes and so many descriptors.

    Each takes one descriptor here; as many are left for messages on their way.
    """
    room = max(RESIDENTS_MIN, memory // MEMORY_SHARE // RESIDENT_BYTES)
    return min(RESIDENTS_MAX, room, descriptors // 2)


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
        self._lookers: set[int] = set()
        self._dirty: set[_Resident] = set()
        self._starved = False
        self._room_max = room_for_residents(memory_bytes(), descriptor_limit())
        self._room = self._room_max

    @property
    def is_empty(self) -> bool:
        """True when there is nobody to end."""
        return not self._by_who

    def give(self, who: Who, errand: Errand) -> None:
        """Add a job for the resident of account `who`; it leaves at the next `flush`."""
        resident = self._by_who.get(who)
        if resident is None:
            resident = self._by_who[who] = _Resident(who)
        if resident.is_looker:
            resident.is_looker = False
            self._lookers.discard(resident.pid)
        resident.waiting.append(errand)
        self._dirty.add(resident)

    def look(self, who: Who, serial: int, frame: bytes) -> bool:
        """Ask the resident of `who`; it is told at the next `flush`. False: it has enough to say.

        The answer comes as a report, CRASHED where the process was lost.
        """
        resident = self._by_who.get(who)
        if resident is None:
            resident = self._by_who[who] = _Resident(who, is_looker=True)
        if len(resident.looks) + len(resident.looking) >= LOOKS_PER_RESIDENT_MAX:
            return False
        resident.looks.append((serial, frame))
        self._dirty.add(resident)
        return True

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
        self._lookers.discard(pid)
        self._feed_starved()

    def _feed_starved(self) -> None:
        """Try again to start those that have work and no process."""
        if not self._starved:
            return
        self._starved = False
        self._dirty.update(
            resident
            for resident in self._by_who.values()
            if resident.sock is None and not resident.is_idle
        )

    def tick(self, now: float) -> None:
        """End who has been idle, or silent, for long; `now` is monotonic."""
        self._room = min(self._room_max, self._room + 1)
        for resident in list(self._by_who.values()):
            if resident.is_idle and now > resident.idle_since + IDLE_S_MAX:
                self._retire(resident)
            elif resident.is_looker and resident.looking:
                asked_at = next(iter(resident.looking.values()))
                if now > asked_at + LOOK_S_MAX:
                    self._kill(resident)

    def close(self) -> None:
        """Tell everybody to finish and end."""
        for resident in list(self._by_who.values()):
            self._retire(resident)

    def _start(self, resident: _Resident) -> bool:
        """Fork the process of `resident`. Returns False where it has to wait or can't be."""
        if self._is_full(resident):
            return False
        try:
            resident.pid, sock = fork_child("qmail-local", resident.who, self._main)
        except OSError:
            if self._makes_do(resident):
                return False
            del self._by_who[resident.who]
            serials = [serial for serial, _frame in resident.looks]
            for serial in [*serials, *(errand[0] for errand in resident.waiting)]:
                self._on_report(serial, CRASHED)
            return False
        self._alive.add(resident.pid)
        if resident.is_looker:
            self._lookers.add(resident.pid)
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        resident.sock = sock
        self._station.watch(
            sock.fileno(), lambda: self._hear(resident), lambda: self._feed(resident)
        )
        return True

    def _makes_do(self, resident: _Resident) -> bool:
        """Where the system allows no more processes than there are, let `resident` wait for one."""
        delivering = len(self._alive) - len(self._lookers)
        if resident.is_looker or not delivering:
            return False
        self._room = delivering
        return self._is_full(resident)

    def _is_full(self, resident: _Resident) -> bool:
        """Say whether `resident` has to wait for the end of another; one that is idle is told to.

        Residents for look-ups alone and the others wait for their own kind.
        """
        is_looker = resident.is_looker
        if is_looker and len(self._lookers) < LOOKERS_MAX:
            return False
        if not is_looker and len(self._alive) - len(self._lookers) < min(self._room, RESIDENTS_MAX):
            return False
        idle = [
            other
            for other in self._by_who.values()
            if other.sock and other.is_idle and other.is_looker is is_looker
        ]
        if idle:
            self._retire(min(idle, key=lambda other: other.idle_since))
        self._starved = True
        return True

    def _feed(self, resident: _Resident) -> None:
        sock = resident.sock
        while sock is not None and (resident.unsent or resident.looks or resident.waiting):
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
        """Open the messages of the next batch; look-ups go ahead of it."""
        frames = []
        if resident.looks:
            now = time.monotonic()
            for serial, frame in resident.looks:
                resident.looking[serial] = now
                frames.append(frame)
            resident.looks.clear()
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
            self._kill(resident)
            return
        if resident.waiting:
            self._dirty.add(resident)
        elif resident.is_idle:
            resident.idle_since = time.monotonic()
            self._feed_starved()

    def _settle(self, resident: _Resident, report: Report) -> None:
        if report.delivery not in resident.running and report.delivery not in resident.looking:
            raise FrameError("a report on nothing of its own")
        if report.text[:1] not in (b"K", b"Z", b"D") or b"\0" in report.text:
            raise FrameError("not a report")
        resident.running.discard(report.delivery)
        resident.looking.pop(report.delivery, None)
        self._on_report(report.delivery, report.text)

    def _kill(self, resident: _Resident) -> None:
        # Once it has been reaped its number may mean somebody else.
        if resident.pid in self._alive:
            os.kill(resident.pid, signal.SIGKILL)
        self._lost(resident)

    def _lost(self, resident: _Resident) -> None:
        """The process is gone or not believed any more: what it had is put off."""
        self._disconnect(resident)
        running, resident.running = resident.running, set()
        looking, resident.looking = resident.looking, {}
        for serial in (*looking, *running):
            self._on_report(serial, CRASHED)
        if resident.waiting or resident.looks:
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
