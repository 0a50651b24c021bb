"""qmail-rspawn: make the remote deliveries that qmail-send orders. Runs as qmailr.

Resident at run/rspawn: frames with jobs come in, a report for each goes out, in any order; all
deliveries live in one event loop and share their connections. HUP re-reads the control files; TERM
lets what is under way end. QMAILREMOTE names a program to run for each job instead.
"""

import asyncio
import gc
import os
import re
import signal
import socket
from collections.abc import Sequence
from typing import Final

from qmail.core.remote.delivery import read_remote_controls
from qmail.core.settings.controls import ControlError, control_reader
from qmail.core.settings.programs import RemoteControls
from qmail.edge.doors.station import inherited_door, peer_of
from qmail.edge.log.lines import complain
from qmail.edge.machine.accounts import MissingAccountError, accounts_of, home_folder
from qmail.edge.machine.descriptors import raise_descriptor_limit, remote_slots
from qmail.edge.machine.event_loop import loop_factory
from qmail.edge.smtp.back_off import BackOff
from qmail.mail import Result, failed
from qmail.programs.rspawn_door import JOBS_MAX, SendDoor
from qmail.programs.rspawn_engines import (
    Engine,
    MessageStore,
    OnReport,
    ProgramEngine,
    SmtpEngine,
)
from qmail.protocol.doors import Job
from qmail.protocol.exits import Exit
from qmail.protocol.smtp_client import is_sendable

NAME: Final = "qmail-rspawn"
LAST_DELIVERIES_S_MAX: Final = 10.0
GARBAGE_THRESHOLD: Final = 20000
BODY_BYTES_MAX: Final = 100
_BODY: Final = re.compile(rb"[0-9]+/[0-9]+")

BAD_BODY: Final = failed(b"Internal error: that is not the name of a message. (#5.3.5)\n")
NO_HOST: Final = failed(b"The recipient's address has no host. (#5.1.3)\n")
BAD_ADDRESS: Final = failed(b"The address can't be written in SMTP. (#5.1.3)\n")


class Service:
    """The resident qmail-rspawn."""

    def __init__(self, home: str, controls: RemoteControls, descriptors: int) -> None:
        accounts = accounts_of(home)
        self._home = home
        self._send_uid = accounts["qmails"].uid
        self._store = MessageStore(home, accounts["qmailq"].uid)
        self._back_off = BackOff(home)
        self._back_off.clear()
        self._engine: Engine
        program = os.environ.get("QMAILREMOTE")
        self._slots = min(JOBS_MAX, remote_slots(descriptors, by_program=bool(program)))
        if program:
            self._engine = ProgramEngine(program, self._store)
        else:
            self._engine = self._smtp_engine(controls)
        self._doors: set[SendDoor] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._end = asyncio.Event()

    def _smtp_engine(self, controls: RemoteControls) -> SmtpEngine:
        return SmtpEngine(controls, self._store, self._back_off, sockets_max=self._slots)

    async def run(self) -> int:
        """Serve until TERM."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._end.set)
        loop.add_signal_handler(signal.SIGHUP, self._on_hup)
        listener = inherited_door(self._home, "rspawn")
        listener.setblocking(False)
        loop.add_reader(listener.fileno(), self._on_call, listener)
        gc.collect()
        gc.freeze()
        await self._end.wait()
        loop.remove_reader(listener.fileno())
        listener.close()
        waits = [door.drain(LAST_DELIVERIES_S_MAX) for door in self._doors]
        await asyncio.gather(*waits)
        await self._engine.close()
        return Exit.OK

    def _on_call(self, listener: socket.socket) -> None:
        try:
            caller, _ = listener.accept()
        except OSError:
            return
        _, uid = peer_of(caller)
        if uid != self._send_uid:
            caller.close()
            return
        task = asyncio.get_running_loop().create_task(self._welcome(caller))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _welcome(self, caller: socket.socket) -> None:
        caller.setblocking(False)
        door = SendDoor(self._take, self._look_ahead, self._slots)
        self._doors = {each for each in self._doors if each.is_needed}
        self._doors.add(door)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: door, caller)

    def _take(self, job: Job, on_report: OnReport) -> Result | None:
        """Check a job (spec/delivery.md 10) and start on it."""
        if len(job.body) > BODY_BYTES_MAX or not _BODY.fullmatch(job.body):
            return BAD_BODY
        _, at, host = job.recipient.rpartition(b"@")
        if not at:
            return NO_HOST
        if not (is_sendable(job.recipient) and is_sendable(job.sender)):
            return BAD_ADDRESS
        self._engine.start(job, host, on_report)
        return None

    def _look_ahead(self, host: bytes) -> None:
        self._engine.look_ahead(host)

    def _on_hup(self) -> None:
        if isinstance(self._engine, ProgramEngine):
            return
        try:
            controls = read_remote_controls(control_reader(self._home))
        except (ControlError, OSError) as wrong:
            complain(NAME, f"alert: unable to reread controls, going on with the old ones: {wrong}")
            return
        # What is under way ends with the old settings; old connections close when they are idle.
        self._engine = self._smtp_engine(controls)


async def serve(home: str, controls: RemoteControls, descriptors: int) -> int:
    """Make the service in the running loop, and run it."""
    return await Service(home, controls, descriptors).run()


def main(argv: Sequence[str]) -> int:
    """Run as the service at run/rspawn."""
    if argv:
        complain(NAME, "usage: qmail-rspawn (it takes no arguments)")
        return Exit.PERMANENT
    home = home_folder()
    gc.set_threshold(GARBAGE_THRESHOLD)
    try:
        os.chdir(home)
        controls = read_remote_controls(control_reader(home))
        descriptors = raise_descriptor_limit()
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(serve(home, controls, descriptors))
    except (OSError, ValueError, MissingAccountError) as trouble:
        complain(NAME, f"fatal: {home}: {trouble}")
        return Exit.TEMPORARY
