"""The two ways in which qmail-rspawn makes a delivery: by SMTP itself, or by QMAILREMOTE."""

import asyncio
import os
import random
import stat
from collections.abc import Awaitable, Callable
from typing import Final

from qmail.core.remote.delivery import Deliverer, all_together
from qmail.core.settings.programs import RemoteControls
from qmail.edge.children.private_copy import private_copy
from qmail.edge.dns.resolver import DnsResolver
from qmail.edge.log.lines import complain
from qmail.edge.machine.descriptors import NO_ROOM
from qmail.edge.machine.local_addresses import FreshLocalAddresses
from qmail.edge.smtp.back_off import BackOff
from qmail.edge.smtp.body import Body
from qmail.edge.smtp.connect import CANNOT_READ, Message
from qmail.edge.smtp.pool import TOTAL_S_MAX, Limits, Pool
from qmail.edge.submit.remote_program import RemoteProgram
from qmail.mail import Result, deferred
from qmail.protocol.doors import Job
from qmail.protocol.remote_reports import NO_DESCRIPTOR, Ending, Outcome

SUSPICIOUS: Final = deferred(b"The message file is not what it should be. (#4.3.5)\n")
UNFORESEEN: Final = deferred(b"Unexpected trouble in qmail-rspawn. (#4.3.0)\n")
_MESSAGE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

LOOKS_MAX: Final = 5000
"""So many hosts are looked up ahead at a time; others are looked up when their mail comes."""

OnReport = Callable[[int, bytes], None]
"""Takes the number of a delivery, and its report: K, Z or D, and a text."""


class MessageStore:
    """The folder queue/mess: opens messages for reading, and nothing else."""

    def __init__(self, home: str, owner_uid: int) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        self._folder = os.open(f"{home}/queue/mess", flags)
        self._owner_uid = owner_uid

    def open(self, name: bytes) -> tuple[int, int] | Result:
        """Return descriptor and size of a message, or why it is not sent (spec/delivery.md 10)."""
        try:
            fd = os.open(name, _MESSAGE_FLAGS, dir_fd=self._folder)
        except OSError as trouble:
            return NO_DESCRIPTOR.result if trouble.errno in NO_ROOM else CANNOT_READ
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


class Tasks:
    """Coroutines that run beside the rest; what goes wrong in one is a deferral."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, making: Awaitable[bytes], delivery: int, on_report: OnReport) -> None:
        """Run `making`, and hand its report on."""
        task = asyncio.ensure_future(self._run(making, delivery, on_report))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _run(making: Awaitable[bytes], delivery: int, on_report: OnReport) -> None:
        try:
            report = await making
        except Exception as trouble:
            complain("qmail-rspawn", f"warning: unexpected trouble in a delivery: {trouble!r}")
            report = UNFORESEEN.pack()
        on_report(delivery, report)


class JobMessage:
    """The message of one job, on its way to one server."""

    __slots__ = ("_job", "_on_report", "_store", "deadline", "recipients", "sender")

    def __init__(self, job: Job, store: MessageStore, deadline: float, on_report: OnReport) -> None:
        self.sender = job.sender
        self.recipients = (job.recipient,)
        self.deadline = deadline
        self._job = job
        self._store = store
        self._on_report = on_report

    def load(self) -> Body | Result:
        """Open the message for one attempt."""
        return self._store.load(self._job.body)

    def done(self, outcome: Outcome) -> None:
        """Report what the only server there is for it said."""
        if outcome.ending is not Ending.FINAL:
            outcome = all_together((outcome,))
        self._on_report(self._job.delivery, outcome.spawn_report())


class SmtpEngine:
    """Delivers by SMTP, with one reading of the control files."""

    def __init__(
        self,
        controls: RemoteControls,
        store: MessageStore,
        back_off: BackOff,
        *,
        sockets_max: int,
    ) -> None:
        assert controls.helohost is not None
        limits = Limits(
            controls.timeoutconnect or 1,
            controls.timeoutremote or 1,
            connections_max=controls.concurrencyhost,
            sockets_max=sockets_max,
        )
        self._pool = Pool(controls.helohost, limits, back_off)
        self._deliverer: Deliverer[Message] = Deliverer(
            controls.smtproutes,
            DnsResolver(),
            self._pool,
            local=FreshLocalAddresses(),
            random=random.SystemRandom(),
        )
        self._store = store
        self._tasks = Tasks()
        self._looking: set[asyncio.Future[None]] = set()
        self._now = asyncio.get_running_loop().time

    def start(self, job: Job, host: bytes, on_report: OnReport) -> None:
        """Start one delivery; `on_report` is called in every case."""
        message = JobMessage(job, self._store, self._now() + TOTAL_S_MAX, on_report)
        target = self._deliverer.fixed_target(host)
        if target is None:
            self._tasks.start(self._deliver(host, message), job.delivery, on_report)
        else:
            # No look-up and no choice of hosts: this way costs no task.
            self._pool.submit(target.address, target.port, message)

    def look_ahead(self, host: bytes) -> None:
        """Ask the name servers about a host that mail is about to come for."""
        if len(self._looking) < LOOKS_MAX and self._deliverer.fixed_target(host) is None:
            looking = asyncio.ensure_future(self._deliverer.look_up(host))
            self._looking.add(looking)
            looking.add_done_callback(self._looking.discard)

    async def _deliver(self, host: bytes, message: Message) -> bytes:
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
        self._tasks = Tasks()

    def start(self, job: Job, host: bytes, on_report: OnReport) -> None:
        """Start one delivery; `on_report` is called in every case."""
        self._tasks.start(self._run(job, host), job.delivery, on_report)

    def look_ahead(self, host: bytes) -> None:
        """Nothing: the program looks up what it needs."""

    async def _run(self, job: Job, host: bytes) -> bytes:
        opened = self._store.open(job.body)
        if isinstance(opened, Result):
            return opened.pack()
        own = opened[0]
        try:
            given = private_copy(own)
            try:
                return await self._program.run(host, job.sender, job.recipient, given)
            finally:
                if given != own:
                    os.close(given)
        finally:
            os.close(own)

    async def close(self) -> None:
        """Nothing stays behind."""


Engine = SmtpEngine | ProgramEngine
