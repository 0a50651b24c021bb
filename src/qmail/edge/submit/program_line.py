"""The resident server's way to a program in place of qmail-queue: one process for each message.

Nothing blocks: the pipes are written as the program reads, its end comes through a pidfd.
Source: spec/programs.md 0, "Queue submission (caller side)".
"""

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable
from typing import Final

from qmail.edge.doors.courier import Owner
from qmail.edge.machine.descriptors import WANTED, room
from qmail.edge.submit.queue_program import CRASHED, ERROR_BYTES_MAX, ERROR_FD, high_pipe
from qmail.mail import Envelope
from qmail.protocol.exits import QueueExit, queue_result

KEPT_BYTES_MAX: Final = 65536
"""A message is kept up to this size before its program is started: slow clients hold none."""
PROGRAMS_MAX: Final = 100
"""So many may run at once; beyond that a message is refused for now."""
DESCRIPTORS_EACH: Final = 4
"""One end of three pipes, and what tells of the program's end."""


class ProgramCourier:
    """Starts `program` for each message, in a process that may have so many `descriptors`."""

    def __init__(self, program: str, descriptors: int = WANTED) -> None:
        self.program = program
        self._programs_max = min(PROGRAMS_MAX, room(descriptors // 2, DESCRIPTORS_EACH))
        self.running = 0

    @property
    def has_room(self) -> bool:
        """True while one more program may be started."""
        return self.running < self._programs_max

    def begin(self, owner: Owner) -> "ProgramParcel | None":
        """Begin a message; None while too many programs run."""
        return ProgramParcel(self, owner) if self.has_room else None


class ProgramParcel:
    """One message and the process that takes it."""

    __slots__ = (
        "_courier",
        "_ending",
        "_is_finished",
        "_kept",
        "_owner",
        "_parts",
        "_process",
        "size",
    )

    def __init__(self, courier: ProgramCourier, owner: Owner) -> None:
        self._courier = courier
        self._owner: Owner | None = owner
        self._parts: list[bytes] = []
        self._kept = 0
        self._process: _Process | None = None
        self._is_finished = False
        self._ending: tuple[int, bytes, int] | None = None
        """How the program ended, where that was before the end of the message."""
        self.size = 0

    @property
    def is_full(self) -> bool:
        """True while the program has not read what it was given."""
        return self._process is not None and self._process.message.bytes_left > KEPT_BYTES_MAX

    def add(self, part: bytes) -> None:
        """Add the next part of the message."""
        self.size += len(part)
        self._parts.append(part)
        self._kept += len(part)
        if self._kept > KEPT_BYTES_MAX:
            self._pass_on()

    def _pass_on(self) -> None:
        if self._process is None and self._ending is None:
            self._start()
        if self._process is not None:
            self._process.message.write(b"".join(self._parts))
        self._parts.clear()
        self._kept = 0

    def _start(self) -> None:
        """Start the program; others that were begun with this message may have taken the room."""
        owner_id = b"" if self._owner is None else self._owner.trace_id
        if self._courier.has_room:
            with contextlib.suppress(OSError):
                self._process = _Process(self._courier, self._on_room, self._on_end, owner_id)
                return
        self._ending = QueueExit.DEFERRED, b"", 0

    def finish(self, envelope: Envelope) -> None:
        """Hand the message over; the owner is told the outcome when the program has ended."""
        self._is_finished = True
        self._pass_on()
        if self._ending is not None:
            asyncio.get_running_loop().call_soon(self._on_end, *self._ending)
        elif self._process is not None:
            self._process.finish(envelope.pack())

    def give_up(self) -> None:
        """Forget the message: the program sees its envelope end too early."""
        self._owner = None
        self._parts.clear()
        if self._process is not None:
            self._process.give_up(kill=self._is_finished)

    def _on_room(self) -> None:
        if self._owner is not None:
            self._owner.on_room()

    def _on_end(self, code: int, text: bytes, pid: int) -> None:
        owner = self._owner
        if owner is None:
            return
        if not self._is_finished:
            self._ending = code, text, pid
            owner.on_room()
            return
        owner.on_queued(queue_result(code, text), pid)


class _Pipe:
    """The writing end of a pipe: takes everything at once, writes it as it is read."""

    def __init__(self, fd: int, on_room: Callable[[], None]) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._on_room = on_room
        self._left: deque[bytes] = deque()
        self._closes = False
        self._is_watched = False
        self.bytes_left = 0
        self.is_broken = False
        self.is_open = True

    def write(self, data: bytes) -> None:
        """Add `data`; without a reader it is thrown away."""
        if data and self.is_open and not self.is_broken:
            self._left.append(data)
            self.bytes_left += len(data)
            if not self._is_watched:
                self._go_on()

    def close_when_written(self) -> None:
        """Close as soon as nothing is left."""
        self._closes = True
        if not self._left:
            self.close()

    def close(self) -> None:
        """Close now; what is left is thrown away."""
        if self.is_open:
            self.is_open = False
            self.is_broken = self.is_broken or bool(self._left)
            self._left.clear()
            self.bytes_left = 0
            self._watch(False)
            os.close(self._fd)

    def _go_on(self) -> None:
        was_left = self.bytes_left
        try:
            while self._left:
                data = self._left.popleft()
                sent = os.write(self._fd, data)
                self.bytes_left -= sent
                if sent < len(data):
                    self._left.appendleft(data[sent:])
        except BlockingIOError:
            self._left.appendleft(data)
        except OSError:
            self.is_broken = True
            self._left.clear()
            self.bytes_left = 0
        self._watch(bool(self._left))
        if not self._left and self._closes:
            self.close()
        if self._is_watched or was_left > KEPT_BYTES_MAX >= self.bytes_left:
            asyncio.get_running_loop().call_soon(self._on_room)

    def _watch(self, wanted: bool) -> None:
        if wanted != self._is_watched:
            self._is_watched = wanted
            loop = asyncio.get_running_loop()
            if wanted:
                loop.add_writer(self._fd, self._go_on)
            else:
                loop.remove_writer(self._fd)


class _Process:
    """One run of the program."""

    def __init__(
        self,
        courier: ProgramCourier,
        on_room: Callable[[], None],
        on_end: Callable[[int, bytes, int], None],
        trace_id: bytes,
    ) -> None:
        message, envelope, errors = _three_pipes()
        self.message = _Pipe(message[1], on_room)
        self._envelope = _Pipe(envelope[1], lambda: None)
        self._errors = errors[0]
        self._courier = courier
        self._on_end = on_end
        self._is_complete = False
        self._watch = -1
        courier.running += 1
        try:
            ends = message[0], envelope[0], errors[1]
            self._pid = _spawn(courier.program, ends, trace_id)
            self._watch = os.pidfd_open(self._pid)
            asyncio.get_running_loop().add_reader(self._watch, self._ended)
        except OSError:
            self._pid = 0
            asyncio.get_running_loop().call_soon(self._end, QueueExit.CANNOT_EXEC, b"")
        finally:
            for fd in (message[0], envelope[0], errors[1]):
                os.close(fd)

    def finish(self, envelope: bytes) -> None:
        """End the message, then give the envelope. The pipes are apart: no need to wait between."""
        self._is_complete = True
        self.message.close_when_written()
        self._envelope.write(envelope)
        self._envelope.close_when_written()

    def give_up(self, *, kill: bool) -> None:
        """End both pipes early; one that was given everything can only be killed."""
        self._is_complete = False
        self.message.close()
        self._envelope.close()
        if kill and self._pid and self._watch >= 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def _ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._watch)
        os.close(self._watch)
        self._watch = -1
        _, status = os.waitpid(self._pid, 0)
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else CRASHED
        os.set_blocking(self._errors, False)
        text = b""
        with contextlib.suppress(OSError):
            text = os.read(self._errors, ERROR_BYTES_MAX)
        self._end(code, text)

    def _end(self, code: int, text: bytes) -> None:
        self.message.close()
        self._envelope.close()
        os.close(self._errors)
        self._courier.running -= 1
        is_whole = self._is_complete and not (self.message.is_broken or self._envelope.is_broken)
        if code == QueueExit.QUEUED and not is_whole:
            code = QueueExit.READ_ERROR
        self._on_end(code, text, self._pid)


def _three_pipes() -> list[tuple[int, int]]:
    """Make all three or none. Raises: OSError: there is no room for them."""
    pipes: list[tuple[int, int]] = []
    try:
        while len(pipes) < 3:
            pipes.append(high_pipe())
    except OSError:
        for fd in (end for pipe in pipes for end in pipe):
            os.close(fd)
        raise
    return pipes


def _spawn(program: str, ends: tuple[int, int, int], trace_id: bytes) -> int:
    """Start `program` in the working folder, which is the home. Returns its process id."""
    message, envelope, errors = ends
    return os.posix_spawn(
        program,
        [program],
        # The qmail-queue that it will start gives the message this id.
        dict(os.environb) | {b"QMAIL_ID": trace_id},
        file_actions=[
            (os.POSIX_SPAWN_DUP2, message, 0),
            (os.POSIX_SPAWN_DUP2, envelope, 1),
            (os.POSIX_SPAWN_DUP2, errors, ERROR_FD),
        ],
        setsigdef=[signal.SIGPIPE],
    )
