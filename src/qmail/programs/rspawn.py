"""qmail-rspawn: make the remote deliveries that qmail-send orders. Runs as qmailr.

Resident at run/rspawn: frames with jobs come in, a report for each goes out, in any order; all
deliveries are coroutines of one event loop and share their connections. HUP re-reads the control
files; TERM lets what is under way end. QMAILREMOTE names a program to run for each job instead.
"""

import asyncio
import gc
import os
import random
import re
import resource
import signal
import socket
import stat
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, cast

from qmail.core.controls import ControlError, control_reader, load
from qmail.core.remote_delivery import Deliverer
from qmail.core.settings import RemoteControls
from qmail.edge.accounts import MissingAccountError, accounts_of, home_folder
from qmail.edge.body import Body
from qmail.edge.connect import CANNOT_READ, Message
from qmail.edge.local_addresses import FreshLocalAddresses
from qmail.edge.log import complain
from qmail.edge.remote_program import RemoteProgram
from qmail.edge.resolver import DnsResolver
from qmail.edge.smtp_pool import TOTAL_S_MAX, Limits, Pool
from qmail.edge.station import inherited_door, peer_of
from qmail.mail import Result, deferred, failed
from qmail.protocol.doors import JOB_FRAME_MAX, Job, Report
from qmail.protocol.exits import Exit
from qmail.protocol.netstring import FrameError, FrameReader
from qmail.protocol.smtp_client import is_sendable

NAME: Final = "qmail-rspawn"
JOBS_MAX: Final = 10000
"""With so many jobs under way no more are read from qmail-send."""
LAST_DELIVERIES_S_MAX: Final = 10.0
DESCRIPTORS_WANTED: Final = 65536
GARBAGE_THRESHOLD: Final = 20000
BODY_BYTES_MAX: Final = 100
_BODY: Final = re.compile(rb"[0-9]+/[0-9]+")

INTERNAL: Final = deferred(b"Unexpected trouble in qmail-rspawn. (#4.3.0)\n")
BAD_BODY: Final = failed(b"Internal error: that is not the name of a message. (#5.3.5)\n")
SLOT_IN_USE: Final = deferred(b"Internal error: that delivery is under way. (#4.3.5)\n")
NO_HOST: Final = failed(b"The recipient's address has no host. (#5.1.3)\n")
BAD_ADDRESS: Final = failed(b"The address can't be written in SMTP. (#5.1.3)\n")
SUSPICIOUS: Final = deferred(b"The message file is not what it should be. (#4.3.5)\n")


class MessageStore:
    """The folder queue/mess: opens messages for reading, and nothing else."""

    def __init__(self, home: str, owner_uid: int) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        self._folder = os.open(f"{home}/queue/mess", flags)
        self._owner_uid = owner_uid

    def open(self, name: bytes) -> tuple[int, int] | Result:
        """Return descriptor and size of a message, or why it is not sent (spec/delivery.md 10)."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = os.open(name, flags, dir_fd=self._folder)
        except OSError:
            return CANNOT_READ
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != self._owner_uid:
            os.close(fd)
            return SUSPICIOUS
        return fd, found.st_size

    def load(self, name: bytes) -> Body | Result:
        """Return a message in the form to send it, or why it is not sent."""
        opened = self.open(name)
        if isinstance(opened, Result):
            return opened
        try:
            return Body.of_file(*opened)
        except OSError:
            return CANNOT_READ


class Engine:
    """Delivers by SMTP, with one reading of the control files."""

    def __init__(self, controls: RemoteControls, store: MessageStore) -> None:
        assert controls.helohost is not None
        limits = Limits(controls.timeoutconnect or 1, controls.timeoutremote or 1)
        self._pool = Pool(controls.helohost, limits)
        self._deliverer: Deliverer[Message] = Deliverer(
            controls.smtproutes,
            DnsResolver(),
            self._pool,
            local=FreshLocalAddresses(),
            random=random.SystemRandom(),
        )
        self._load = store.load
        self._now = asyncio.get_running_loop().time

    async def run(self, job: Job, host: bytes) -> bytes:
        """Make one delivery; return its report."""
        deadline = self._now() + TOTAL_S_MAX
        message = Message(job.sender, (job.recipient,), lambda: self._load(job.body), deadline)
        outcome = await self._deliverer.deliver(host, message)
        return outcome.spawn_report()

    async def close(self) -> None:
        """Say QUIT where nothing is under way."""
        await self._pool.close()


class ProgramEngine:
    """Delivers by QMAILREMOTE."""

    def __init__(self, program: str, store: MessageStore) -> None:
        self._program = RemoteProgram(program)
        self._store = store

    async def run(self, job: Job, host: bytes) -> bytes:
        """Make one delivery; return its report."""
        opened = self._store.open(job.body)
        if isinstance(opened, Result):
            return opened.pack()
        try:
            return await self._program.run(host, job.sender, job.recipient, opened[0])
        finally:
            os.close(opened[0])

    async def close(self) -> None:
        """Nothing stays behind."""


Take = Callable[[Job], Awaitable[bytes] | Result]


class SendDoor(asyncio.Protocol):
    """The connection with qmail-send: jobs in, reports out, all of one loop turn in one write."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._reader = FrameReader(JOB_FRAME_MAX)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._under_way: set[int] = set()
        self._tasks: set[asyncio.Future[None]] = set()
        self._out: list[bytes] = []
        self._is_paused = False
        self._must_wait = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to listen."""
        # The transports of uvloop are not in asyncio's class tree.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Start the deliveries that are ordered."""
        try:
            for payload in self._reader.feed(data):
                self._start(Job.unpack(payload))
        except FrameError as wrong:
            complain(NAME, f"alert: qmail-send broke the rules of the door: {wrong}")
            if self._transport is not None:
                self._transport.abort()
        self._throttle()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let deliveries under way end; nobody hears of them."""
        del exc
        self._transport = None

    def pause_writing(self) -> None:
        """qmail-send does not read its reports: read no more jobs."""
        self._must_wait = True
        self._throttle()

    def resume_writing(self) -> None:
        """Go on."""
        self._must_wait = False
        self._throttle()

    @property
    def is_needed(self) -> bool:
        """True while somebody listens here, or deliveries are under way."""
        return self._transport is not None or bool(self._tasks)

    async def drain(self, seconds_max: float) -> None:
        """Wait for the deliveries under way, read no more jobs, and write the last reports."""
        self._must_wait = True
        self._throttle()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds_max)
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def _start(self, job: Job) -> None:
        if job.delivery in self._under_way:
            self._report(job.delivery, SLOT_IN_USE.pack())
            return
        taken = self._take(job)
        if isinstance(taken, Result):
            self._report(job.delivery, taken.pack())
            return
        self._under_way.add(job.delivery)
        task = self._loop.create_task(self._finish(job.delivery, taken))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(self, delivery: int, running: Awaitable[bytes]) -> None:
        try:
            report = await running
        except Exception as trouble:
            complain(NAME, f"warning: unexpected trouble in a delivery: {trouble!r}")
            report = INTERNAL.pack()
        self._under_way.discard(delivery)
        self._report(delivery, report)
        if self._is_paused:
            self._throttle()

    def _report(self, delivery: int, text: bytes) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(Report(delivery, text).pack())

    def _flush(self) -> None:
        if self._out and self._transport is not None:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def _throttle(self) -> None:
        must_pause = self._must_wait or len(self._under_way) >= JOBS_MAX
        if self._transport is None or must_pause == self._is_paused:
            return
        self._is_paused = must_pause
        if must_pause:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()


class Service:
    """The resident qmail-rspawn."""

    def __init__(self, home: str, controls: RemoteControls) -> None:
        accounts = accounts_of(home)
        self._home = home
        self._send_uid = accounts["qmails"].uid
        self._store = MessageStore(home, accounts["qmailq"].uid)
        self._engine: Engine | ProgramEngine
        program = os.environ.get("QMAILREMOTE")
        if program:
            self._engine = ProgramEngine(program, self._store)
        else:
            self._engine = Engine(controls, self._store)
        self._doors: set[SendDoor] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._end = asyncio.Event()

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
        door = SendDoor(self._take)
        self._doors = {each for each in self._doors if each.is_needed}
        self._doors.add(door)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: door, caller)

    def _take(self, job: Job) -> Awaitable[bytes] | Result:
        """Check a job (spec/delivery.md 10) and start on it."""
        if len(job.body) > BODY_BYTES_MAX or not _BODY.fullmatch(job.body):
            return BAD_BODY
        _, at, host = job.recipient.rpartition(b"@")
        if not at:
            return NO_HOST
        if not (is_sendable(job.recipient) and is_sendable(job.sender)):
            return BAD_ADDRESS
        return self._engine.run(job, host)

    def _on_hup(self) -> None:
        if isinstance(self._engine, ProgramEngine):
            return
        try:
            controls = read_controls(self._home)
        except (ControlError, OSError) as wrong:
            complain(NAME, f"alert: unable to reread controls, going on with the old ones: {wrong}")
            return
        # What is under way ends with the old settings; old connections close when they are idle.
        self._engine = Engine(controls, self._store)


def read_controls(home: str) -> RemoteControls:
    """Read the control files.

    Raises: ControlError: one is not usable, or there is no name to say in EHLO. OSError: as read.
    """
    controls = load(RemoteControls, control_reader(home))
    if controls.helohost is None:
        raise ControlError("me", 1, "there is no such file, and no control/helohost either")
    return controls


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return the fastest event loop there is."""
    try:
        import uvloop  # noqa: PLC0415  may be missing where it can't be built
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def raise_descriptor_limit() -> None:
    """Allow as many connections and look-ups at once as the system lets us have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else hard
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, DESCRIPTORS_WANTED), hard))


async def serve(home: str, controls: RemoteControls) -> int:
    """Make the service in the running loop, and run it."""
    return await Service(home, controls).run()


def main(argv: Sequence[str]) -> int:
    """Run as the service at run/rspawn."""
    if argv:
        complain(NAME, "usage: qmail-rspawn (it takes no arguments)")
        return Exit.PERMANENT
    home = home_folder()
    gc.set_threshold(GARBAGE_THRESHOLD)
    try:
        os.chdir(home)
        controls = read_controls(home)
        raise_descriptor_limit()
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(serve(home, controls))
    except (OSError, ValueError, MissingAccountError) as trouble:
        complain(NAME, f"fatal: {home}: {trouble}")
        return Exit.TEMPORARY
