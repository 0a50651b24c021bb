"""qmail-clean: unlink the queue files that qmail-send names. Runs as qmailq.

Resident at run/clean: a frame is one order (spec/queue.md 10), answered by one byte in a frame of
its own or together with others, in order. As a command: orders end in NUL on descriptor 0, one byte
each on descriptor 1, as in the original.
"""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Sequence
from typing import Final

from qmail.core.clock import booted
from qmail.core.fs import RealFs
from qmail.core.queue.clean import ORDER_BYTES_MAX, clean, clean_pid
from qmail.core.queue.layout import PARKED, find_layout
from qmail.edge.doors.station import Door, Listener, Station, inherited_door
from qmail.edge.log.lines import complain
from qmail.edge.machine.accounts import Accounts, MissingAccountError, accounts_of, home_folder
from qmail.protocol.exits import Exit
from qmail.protocol.netstring import pack

HELLO: Final = pack(b"")
"""Says to a new caller that no order of an earlier one will be carried out any more."""
PID_EVERY_S: Final = 3600.0
SYNC_DELAY_S: Final = 0.5
"""Removals are on disk this long after they were made, at the latest: what the power cut brings
back is delivered twice."""


class CleanService:
    """The resident qmail-clean."""

    def __init__(self, home: str, accounts: Accounts) -> None:
        self._fs = RealFs(f"{home}/queue")
        self._layout = find_layout(self._fs)
        # A queue of an earlier version lacks it; what else is wrong shows when it is needed.
        with contextlib.suppress(OSError):
            os.mkdir(f"{home}/queue/{PARKED}", 0o750)
        self._station = Station()
        self._booted = booted()
        self._send_uid = accounts["qmails"].uid
        self._send: Door | None = None
        self._sync_at = 0.0
        self._pid_at = 0.0
        self._ending = False
        Listener(self._station, inherited_door(home, "clean"), self._on_call)
        self._station.on_signal(signal.SIGTERM, self._on_term)

    def _on_term(self) -> None:
        self._ending = True

    def _on_call(self, sock: socket.socket) -> None:
        door = Door(
            self._station, sock, ORDER_BYTES_MAX, on_frames=self._on_orders, on_close=self._on_close
        )
        if door.peer_uid != self._send_uid:
            door.close()
            return
        if self._send is not None:
            # What an earlier qmail-send asked for and did not get, this one decides anew.
            self._send.close()
        self._send = door
        door.send(HELLO)
        door.flush()

    def _on_orders(self, door: Door, orders: list[bytes]) -> None:
        answers = [clean(self._fs, self._layout, order, self._booted) for order in orders]
        door.send(pack(b"".join(answers)))
        door.flush()
        if not self._sync_at:
            self._sync_at = time.monotonic() + SYNC_DELAY_S

    def _on_close(self, door: Door) -> None:
        if door is self._send:
            self._send = None

    def run(self) -> int:
        """Serve until TERM."""
        while not self._ending:
            now = time.monotonic()
            if now >= self._pid_at:
                self._pid_at = now + PID_EVERY_S
                clean_pid(self._fs, time.time())
            self._station.turn(max(0.0, self._sync_at - now) if self._sync_at else 60.0)
            self._sync_when_due()
        return Exit.OK

    def _sync_when_due(self) -> None:
        if self._sync_at and time.monotonic() >= self._sync_at:
            self._sync_at = 0.0
            try:
                self._fs.sync()
            except OSError as trouble:
                complain("qmail-clean", f"warning: trouble syncing the queue: {trouble}")


def run_command(home: str) -> int:
    """Take NUL-terminated orders from descriptor 0 until its end."""
    fs = RealFs(f"{home}/queue")
    layout, since = find_layout(fs), booted()
    clean_pid(fs, time.time())
    rest = b""
    while data := os.read(0, 4096):
        *orders, rest = (rest + data).split(b"\0")
        answers = [clean(fs, layout, order, since) for order in orders]
        # An order without end stays too long to be one, and takes no memory.
        rest = rest[: ORDER_BYTES_MAX + 1]
        try:
            os.write(1, b"".join(answers))
        except OSError:
            return Exit.PERMANENT
    return Exit.OK


def main(argv: Sequence[str]) -> int:
    """Run as the service (qmail-start left a door) or as the classic command."""
    if argv:
        complain("qmail-clean", "usage: qmail-clean (it takes no arguments)")
        return Exit.PERMANENT
    home = home_folder()
    try:
        if "QMAIL_DOOR" not in os.environ:
            return run_command(home)
        return CleanService(home, accounts_of(home)).run()
    except (OSError, ValueError, MissingAccountError) as trouble:
        complain("qmail-clean", f"fatal: {home}: {trouble}")
        return Exit.TEMPORARY
