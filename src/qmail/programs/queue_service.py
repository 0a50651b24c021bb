"""The resident qmail-queue: frames in at run/queue, one commit a turn, notices out at run/send."""

import contextlib
import signal
import socket
import time
from typing import Final

from qmail.core.clock import REAL_CLOCK, booted
from qmail.core.fs import RealFs
from qmail.core.queue.desk import Caller, Desk, Manners
from qmail.core.queue.layout import find_layout
from qmail.core.queue.spares import Spares
from qmail.core.queue.write import QueueWriter
from qmail.edge.doors.station import Door, Listener, Station, call_door, inherited_door
from qmail.edge.log.lines import Log, complain, wants_records
from qmail.edge.machine.accounts import Accounts
from qmail.protocol.doors import FRAME_BYTES_MAX, Notice
from qmail.protocol.exits import Exit
from qmail.protocol.netstring import FrameError, pack

HELLO: Final = pack(b"H")
CALL_AGAIN_S: Final = 1.0
EXPIRE_EVERY_S: Final = 600.0
IDLE_S: Final = 10.0
"""After this long without a message the spares are emptied: they hold what came last."""


def who_is(accounts: Accounts, uid: int) -> bytes:
    """Say who called, for the Received line (spec/queue.md 4)."""
    if accounts.separate:
        names = (("alias", b"by alias"), ("qmaild", b"from network"), ("qmails", b"for bounce"))
        for name, words in names:
            if accounts[name].uid == uid:
                return words
    return b"by uid %d" % uid


def namers(accounts: Accounts) -> frozenset[int]:
    """Return the user ids whose messages may come with an id: qmail-smtpd's, and the suite's."""
    return frozenset({0, *(accounts[name].uid for name in ("qmaild", "qmailq", "qmails"))})


class QueueService:
    """The resident qmail-queue: doors in, one commit a turn, notices out."""

    def __init__(self, home: str, accounts: Accounts) -> None:
        fs = RealFs(f"{home}/queue")
        layout = find_layout(fs)
        self._spares = Spares(fs, REAL_CLOCK, layout)
        writer = QueueWriter(fs, REAL_CLOCK, layout, self._spares)
        for number in writer.recover(booted()):
            complain("qmail-queue", f"removed the envelope of message {number}, which is gone")
        self._home = home
        self._station = Station()
        # The first qp of a run is never one of the run before: seconds grow faster than messages
        # in the long run, and a repeated qp is harmless.
        manners = Manners(
            lambda uid: who_is(accounts, uid), namers(accounts).__contains__, wants_records()
        )
        self._desk = Desk(writer, REAL_CLOCK, manners, int(time.time()) % 10**9)
        self._log = Log(1)
        self._callers: dict[Door, Caller] = {}
        self._send: Door | None = None
        self._call_again = 0.0
        self._expire_at = 0.0
        self._idle_at = time.monotonic() + IDLE_S
        self._ending = False
        Listener(self._station, inherited_door(home, "queue"), self._on_call)
        self._station.on_signal(signal.SIGTERM, self._on_term)

    def _on_term(self) -> None:
        self._ending = True

    def _on_call(self, sock: socket.socket) -> None:
        door = Door(
            self._station, sock, FRAME_BYTES_MAX, on_frames=self._on_frames, on_close=self._on_close
        )
        self._callers[door] = Caller(door.peer_uid, door.peer_pid)

    def _on_frames(self, door: Door, payloads: list[bytes]) -> None:
        caller = self._callers[door]
        for payload in payloads:
            self._desk.take(caller, payload)

    def _on_close(self, door: Door) -> None:
        caller = self._callers.pop(door, None)
        if caller is not None:
            self._desk.leave(caller)
        if door is self._send:
            self._send = None

    def _tell(self, notices: list[Notice]) -> None:
        if self._send is None:
            self._call_send()
        # Without a connection nothing is lost: qmail-send scans todo/ whenever we call.
        if self._send is not None:
            for notice in notices:
                self._send.send(notice.pack())
            self._send.flush()

    def _call_send(self) -> None:
        now = time.monotonic()
        if now < self._call_again:
            return
        self._call_again = now + CALL_AGAIN_S
        with contextlib.suppress(OSError):
            sock = call_door(self._home, "send")
            self._send = Door(
                self._station, sock, 1024, on_frames=self._on_nonsense, on_close=self._on_close
            )
            self._send.send(HELLO)
            self._send.flush()

    def _on_nonsense(self, _door: Door, _payloads: list[bytes]) -> None:
        raise FrameError("qmail-send says nothing at this door")

    def run(self) -> int:
        """Serve until TERM, then finish what is waiting for a commit."""
        self._call_send()
        while not self._ending or self._desk.has_work:
            # With a commit outstanding only look what else is there; it joins the next commit.
            self._station.turn(0 if self._desk.has_work else self._wait_s())
            if self._desk.has_work:
                self._idle_at = time.monotonic() + IDLE_S
                notices = self._desk.commit()
                # Who waits for an answer comes first.
                self._answer_all()
                if notices:
                    self._tell(notices)
            else:
                self._rest()
                self._answer_all()
            self._write_log()
        self._log.end()
        return Exit.OK

    def _write_log(self) -> None:
        for line in self._desk.log:
            self._log.line(line)
        self._desk.log.clear()
        self._log.flush()

    def _wait_s(self) -> float:
        if self._send is None:
            return CALL_AGAIN_S
        return IDLE_S if self._idle_at else 60.0

    def _rest(self) -> None:
        if self._send is None:
            self._call_send()
        if self._idle_at and time.monotonic() >= self._idle_at:
            self._idle_at = 0.0
            try:
                self._spares.blank()
            except OSError as trouble:
                complain("qmail-queue", f"warning: unable to empty spare files: {trouble}")

    def _answer_all(self) -> None:
        for door, caller in list(self._callers.items()):
            if caller.answers:
                for answer in caller.answers:
                    door.send(answer)
                caller.answers.clear()
                door.flush()
        now = time.monotonic()
        if now >= self._expire_at:
            self._expire_at = now + EXPIRE_EVERY_S
            self._desk.expire(iter(self._callers.values()))
