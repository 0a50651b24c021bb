"""The line of a resident server to qmail-pspawn: logins, and the descriptors of their sessions.

Descriptors go beside the frame that they belong to, which no asyncio transport can do; so this line
reads and writes its socket itself.
"""

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from qmail.edge.doors.line import CALL_AGAIN_S, CALL_S_MAX, DoorLine
from qmail.protocol.login_door import (
    LOGIN_FRAME_MAX,
    Accepted,
    Begin,
    Begun,
    Challenge,
    Ended,
    GiveUp,
    Mechanism,
    Offer,
    Proof,
    Refusal,
    Refused,
    Response,
    Start,
    unpack_answer,
)
from qmail.protocol.netstring import FrameReader

RECEIVE_BYTES: Final = 65536
FIRST_OFFER: Final = (Mechanism.PLAIN, Mechanism.USER)
"""What there always is, until qmail-pspawn has said what there is."""
OFFER_S_MAX: Final = 2.0
"""So long a server that starts waits for that, before it takes clients."""
UP_S_MAX: Final = 5.0
"""So long a login waits where qmail-pspawn is just being started again."""
_TAG_MAX: Final = 9_999_999_999


class LoginAsker(Protocol):
    """Who waits for the end of a login: one client's connection."""

    def on_challenge(self, data: bytes) -> None:
        """Pass a challenge on to the client."""
        ...

    def on_accepted(self, login: bytes, proof: Proof) -> None:
        """Learn that the login is good, or that its session will tell."""
        ...

    def on_refused(self, reason: Refusal) -> None:
        """Learn that it is not, or that no session can be had."""
        ...

    def on_begun(self) -> None:
        """Learn that the session's process has its descriptor."""
        ...

    def on_ended(self, code: int | None) -> None:
        """Learn that the session's process has ended; None: it may still run, nobody knows."""
        ...


class LoginLine(DoorLine):
    """The connection to run/login."""

    DOOR = "login"
    FRAME_BYTES_MAX = LOGIN_FRAME_MAX

    def __init__(self, home: str, peer_uids: frozenset[int], on_work: Callable[[], None]) -> None:
        super().__init__(home, peer_uids, on_work)
        self.mechanisms: tuple[Mechanism, ...] = FIRST_OFFER
        self._has_offer = asyncio.Event()
        self._sock: socket.socket | None = None
        self._queue: deque[tuple[bytes, int]] = deque()
        """Frames, and the descriptor that goes with each; -1: none."""
        self._is_waiting_to_write = False
        self._askers: dict[int, LoginAsker] = {}
        self._held: dict[int, bytes] = {}
        """Logins that wait for the line to come up."""
        self._begun: set[int] = set()
        self._last_tag = 0

    @property
    def is_up(self) -> bool:
        """True while connected."""
        return self._sock is not None

    async def wait_for_offer(self) -> None:
        """Wait until it is known what is offered, or for OFFER_S_MAX."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._has_offer.wait(), OFFER_S_MAX)

    # --- what a connection asks for -------------------------------------------------------------

    def new_tag(self) -> int:
        """Return the tag of a new login."""
        while True:
            self._last_tag = self._last_tag % _TAG_MAX + 1
            if self._last_tag not in self._askers:
                return self._last_tag

    def begin(self, call: Begin, asker: LoginAsker) -> None:
        """Begin a login; it waits a little where the line is down, and is refused then."""
        self._askers[call.tag] = asker
        if self.is_up:
            self._add(call.pack())
            return
        self._held[call.tag] = call.pack()
        asyncio.get_running_loop().call_later(UP_S_MAX, self._refuse_held, call.tag)

    def _refuse_held(self, tag: int) -> None:
        if self._held.pop(tag, None) is not None:
            self._askers.pop(tag).on_refused(Refusal.TEMPORARY)

    def pass_on(self, tag: int, asker: LoginAsker) -> None:
        """Tell `asker` from now on what there is to be told of this login."""
        if tag in self._askers:
            self._askers[tag] = asker

    def respond(self, tag: int, data: bytes) -> None:
        """Pass the client's response on. Raises: FrameError: it is too long."""
        frame = Response(tag, data).pack()
        if tag in self._askers:
            self._add(frame)

    def give_up(self, tag: int) -> None:
        """Forget a login, or end the session that it has led to."""
        if self._askers.pop(tag, None) is not None:
            self._begun.discard(tag)
            if self._held.pop(tag, None) is None and self.is_up:
                self._add(GiveUp(tag).pack())

    def start(self, tag: int, fd: int) -> None:
        """Have the session started on `fd`, which is closed here in any case."""
        if tag in self._askers and self.is_up:
            self._add(Start(tag).pack(), fd)
        else:
            os.close(fd)

    def _add(self, frame: bytes, fd: int = -1) -> None:
        self._queue.append((frame, fd))
        self._on_work()

    # --- answers --------------------------------------------------------------------------------

    def on_payload(self, payload: bytes) -> None:
        """Give an answer to who waits for it. Raises: FrameError: it is none."""
        answer = unpack_answer(payload)
        if isinstance(answer, Offer):
            self.mechanisms = answer.mechanisms
            self._has_offer.set()
            return
        asker = self._askers.get(answer.tag)
        if asker is None:
            # Given up while this was on its way.
            return
        match answer:
            case Challenge():
                asker.on_challenge(answer.data)
            case Accepted():
                asker.on_accepted(answer.login, answer.proof)
            case Refused():
                self._forget(answer.tag)
                asker.on_refused(answer.reason)
            case Begun():
                self._begun.add(answer.tag)
                asker.on_begun()
            case Ended():
                self._forget(answer.tag)
                asker.on_ended(answer.code)

    def _forget(self, tag: int) -> None:
        del self._askers[tag]
        self._begun.discard(tag)

    def on_up(self) -> None:
        """Begin what has waited for this."""
        held, self._held = self._held, {}
        for frame in held.values():
            self._add(frame)

    def on_down(self) -> None:
        """Refuse what was under way; of sessions that run nobody tells any more."""
        askers, self._askers = self._askers, {}
        begun, self._begun = self._begun, set()
        for tag, asker in askers.items():
            if tag in begun:
                asker.on_ended(None)
            else:
                asker.on_refused(Refusal.TEMPORARY)

    # --- the connection -------------------------------------------------------------------------

    async def keep_up(self) -> None:
        """Connect, and again whenever the connection is lost: at most once a second, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            self._lost = loop.create_future()
            with contextlib.suppress(OSError, TimeoutError):
                self._begin_with(await asyncio.wait_for(self._call(), CALL_S_MAX))
                await self._lost
            await asyncio.sleep(CALL_AGAIN_S)

    def _begin_with(self, sock: socket.socket) -> None:
        self._sock = sock
        self._reader = FrameReader(self.FRAME_BYTES_MAX)
        asyncio.get_running_loop().add_reader(sock.fileno(), self._on_readable)
        self.on_up()

    def _on_readable(self) -> None:
        assert self._sock is not None
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if data:
            self.data_received(data)
        else:
            self.hang_up()

    def hang_up(self) -> None:
        """Close the connection: it is lost, or its other end breaks the rules."""
        sock, self._sock = self._sock, None
        if sock is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(sock.fileno())
        if self._is_waiting_to_write:
            loop.remove_writer(sock.fileno())
            self._is_waiting_to_write = False
        sock.close()
        for _, fd in self._queue:
            if fd >= 0:
                os.close(fd)
        self._queue.clear()
        self.on_down()
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(None)

    def flush(self) -> None:
        """Write what waits, as far as the other side takes it now."""
        sock = self._sock
        if sock is None:
            return
        try:
            while self._queue:
                frame, fd = self._queue[0]
                sent = socket.send_fds(sock, [frame], [fd]) if fd >= 0 else sock.send(frame)
                self._queue.popleft()
                if fd >= 0:
                    os.close(fd)
                if sent < len(frame):
                    self._queue.appendleft((frame[sent:], -1))
        except (BlockingIOError, InterruptedError):
            self._wait_to_write(sock, is_needed=True)
        except OSError:
            self.hang_up()
        else:
            self._wait_to_write(sock, is_needed=False)

    def _wait_to_write(self, sock: socket.socket, *, is_needed: bool) -> None:
        if is_needed == self._is_waiting_to_write:
            return
        self._is_waiting_to_write = is_needed
        loop = asyncio.get_running_loop()
        if is_needed:
            loop.add_writer(sock.fileno(), self.flush)
        else:
            loop.remove_writer(sock.fileno())
