"""A small event loop over epoll for the programs that talk through inner doors only.

It exists beside asyncio because these programs do blocking disk work in turns: read all frames that
are there, do the work, commit once, answer. It also costs a root process no import of asyncio.
"""

import contextlib
import errno
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable
from typing import Final

from qmail.edge.doors.doorway import door_path, short_path
from qmail.protocol.netstring import FrameError, FrameReader

RECEIVE_BYTES: Final = 65536
"""For more than 128 KB glibc maps pages, and unmaps them: 12 to 30 microseconds each time."""
RECEIVES_MAX: Final = 4
"""So many times a door is read in one turn, as long as there is more."""
READ_EVENTS: Final = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR | select.EPOLLRDHUP
OUT_BYTES_MAX: Final = 8 * 1024 * 1024
"""With more than this waiting to be written, a door reads nothing more: back-pressure."""

NO_ROOM_PAUSE_S: Final = 0.02
_NO_ROOM: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Callback = Callable[[], None]


class Station:
    """Waits on descriptors and calls back. `turn` is one round; the program owns the loop."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._on_read: dict[int, Callback] = {}
        self._on_write: dict[int, Callback] = {}
        self._masks: dict[int, int] = {}
        self._forgotten: set[int] = set()
        self._on_signal: dict[int, Callback] = {}
        self._wakeup: socket.socket | None = None

    def watch(self, fd: int, on_read: Callback, on_write: Callback | None = None) -> None:
        """Call `on_read` when `fd` is readable or at its end; `on_write` only while wanted."""
        self._on_read[fd] = on_read
        if on_write is not None:
            self._on_write[fd] = on_write
        self._masks[fd] = READ_EVENTS
        self._epoll.register(fd, READ_EVENTS)

    def want(self, fd: int, *, read: bool, write: bool) -> None:
        """Say what `fd` waits for from now on."""
        mask = (READ_EVENTS if read else 0) | (select.EPOLLOUT if write else 0)
        if self._masks[fd] != mask:
            self._masks[fd] = mask
            self._epoll.modify(fd, mask)

    def forget(self, fd: int) -> None:
        """Stop watching `fd`; call it before closing."""
        if self._masks.pop(fd, None) is not None:
            self._epoll.unregister(fd)
            self._forgotten.add(fd)
        self._on_read.pop(fd, None)
        self._on_write.pop(fd, None)

    def on_signal(self, number: int, callback: Callback) -> None:
        """Call `callback` in the next turn after signal `number` came."""
        if self._wakeup is None:
            self._wakeup, sender = socket.socketpair()
            self._wakeup.setblocking(False)
            sender.setblocking(False)
            signal.set_wakeup_fd(sender.detach(), warn_on_full_buffer=False)
            self.watch(self._wakeup.fileno(), self._take_signals)
        self._on_signal[number] = callback
        signal.signal(number, lambda _number, _frame: None)

    def _take_signals(self) -> None:
        if self._wakeup is None:
            return
        for number in set(self._wakeup.recv(4096)):
            callback = self._on_signal.get(number)
            if callback is not None:
                callback()

    def turn(self, timeout_s: float | None) -> bool:
        """Wait for at most `timeout_s` seconds (None: for ever), then call back what is ready.

        Returns: whether anything was ready.
        """
        ready = self._epoll.poll(-1 if timeout_s is None else timeout_s)
        self._forgotten.clear()
        for fd, events in ready:
            if fd in self._forgotten:
                # The event is of what was closed; its number may mean something new by now.
                continue
            if events & READ_EVENTS and fd in self._on_read:
                self._on_read[fd]()
            if events & select.EPOLLOUT and fd in self._on_write:
                self._on_write[fd]()
        return bool(ready)

    def close(self) -> None:
        """Release the epoll descriptor (after a fork, in the child)."""
        self._epoll.close()


class Door:
    """One connection through an inner door: frames in, frames out, nothing blocks."""

    __slots__ = ("_on_close", "_on_frames", "_out", "_reader", "_sock", "_station",
                 "fd", "is_open", "peer_pid", "peer_uid")  # fmt: skip

    def __init__(
        self,
        station: Station,
        sock: socket.socket,
        frame_bytes_max: int,
        *,
        on_frames: Callable[["Door", list[bytes]], None],
        on_close: Callable[["Door"], None],
    ) -> None:
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * 1024 * 1024)
        self._station = station
        self._sock = sock
        self._reader = FrameReader(frame_bytes_max)
        self._on_frames = on_frames
        self._on_close = on_close
        self._out: list[bytes] = []
        self.is_open = True
        self.fd = sock.fileno()
        self.peer_pid, self.peer_uid = peer_of(sock)
        station.watch(self.fd, self._readable, self.flush)

    @property
    def waiting_bytes(self) -> int:
        """How much the other side has not taken yet."""
        return sum(map(len, self._out))

    def send(self, frame: bytes) -> None:
        """Add a frame to what the next `flush` writes."""
        self._out.append(frame)

    def flush(self) -> None:
        """Write what is waiting, as far as the other side takes it now."""
        if not self.is_open or not self._out:
            return
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        rest = data[sent:]
        self._out = [rest] if rest else []
        self._station.want(self.fd, read=len(rest) < OUT_BYTES_MAX, write=bool(rest))

    def _readable(self) -> None:
        try:
            data = self.receive()
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        try:
            payloads = self._reader.feed(data)
            if payloads:
                self._on_frames(self, payloads)
        except FrameError:
            # A peer that breaks the framing is not believed any more.
            self.close()

    def receive(self) -> bytes:
        """Return what has come, b"" at the end. Raises: OSError: as recv."""
        data = self._sock.recv(RECEIVE_BYTES)
        if len(data) < RECEIVE_BYTES:
            return data
        parts = [data]
        # Whatever ends it now, the next turn meets it again.
        with contextlib.suppress(OSError):
            while len(parts[-1]) == RECEIVE_BYTES and len(parts) < RECEIVES_MAX:
                parts.append(self._sock.recv(RECEIVE_BYTES))
        return b"".join(parts)

    def close(self) -> None:
        """Close the connection and tell the owner, once."""
        if self.is_open:
            self.is_open = False
            self._station.forget(self.fd)
            self._sock.close()
            self._on_close(self)


class Listener:
    """A listening inner door; gives each caller's socket to `on_call`."""

    def __init__(
        self, station: Station, sock: socket.socket, on_call: Callable[[socket.socket], None]
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._on_call = on_call
        station.watch(sock.fileno(), self._readable)

    def _readable(self) -> None:
        for _ in range(64):
            try:
                caller, _ = self._sock.accept()
            except OSError as trouble:
                if trouble.errno in _NO_ROOM:
                    # The caller stays in line; without a pause this would be asked for ever.
                    time.sleep(NO_ROOM_PAUSE_S)
                return
            self._on_call(caller)


def peer_of(sock: socket.socket) -> tuple[int, int]:
    """Return pid and uid of the process at the other end, as the kernel knows them."""
    if sock.family != socket.AF_UNIX:
        return 0, -1
    found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _gid = struct.unpack("3i", found)
    return pid, uid


def call_door(home: str, name: str, *, may_wait: bool = False) -> socket.socket:
    """Connect to the inner door `name`; with `may_wait`, wait where too many stand in line.

    Raises: OSError: nobody listens there, this account may not, or many stand in line.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(may_wait)
        sock.connect(short_path(door_path(home, name)))
    except OSError:
        sock.close()
        raise
    return sock


def listen_door(home: str, name: str) -> socket.socket:
    """Bind and listen at the inner door `name`, in place of a stale one.

    Raises: OSError: the folder is missing or not ours.
    """
    path = short_path(door_path(home, name))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(path)
    sock.listen(1024)
    return sock


def inherited_door(home: str, name: str) -> socket.socket:
    """Return the listening socket that qmail-start left us in QMAIL_DOOR, or bind our own.

    QMAIL_DOOR holds the descriptors of all our doors; the one that is taken is removed from it.
    Raises: OSError: as `listen_door`, or what QMAIL_DOOR names is no socket.
    """
    fds = os.environ.pop("QMAIL_DOOR", "").split()
    taken: socket.socket | None = None
    for fd in filter(str.isdigit, tuple(fds)):
        sock = socket.socket(fileno=int(fd))
        if os.path.basename(sock.getsockname()) == name:
            fds.remove(fd)
            taken = sock
            break
        sock.detach()
    if fds:
        os.environ["QMAIL_DOOR"] = " ".join(fds)
    return taken or listen_door(home, name)
