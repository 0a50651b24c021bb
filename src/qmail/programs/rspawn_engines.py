"""The two ways in which qmail-rspawn makes a delivery: by SMTP itself, or by QMAILREMOTE."""

import asyncio
import os
import random
import stat
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from qmail.core.remote_delivery import Deliverer, all_together
from qmail.core.settings import RemoteControls
from qmail.edge.body import Body
from qmail.edge.connect import CANNOT_READ, Message
from qmail.edge.local_addresses import FreshLocalAddresses
from qmail.edge.log import complain
from qmail.edge.private_copy import private_copy
from qmail.edge.remote_program import RemoteProgram
from qmail.edge.resolver import DnsResolver
from qmail.edge.smtp_pool import TOTAL_S_MAX, Limits, Pool
from qmail.mail import Result, deferred
from qmail.protocol.doors import Job
from qmail.protocol.remote_reports import Ending, Outcome

SUSPICIOUS: Final = deferred(b"The message file is not what it should be. (#4.3.5)\n")
UNFORESEEN: Final = deferred(b"Unexpected trouble in qmail-rspawn. (#4.3.0)\n")
_MESSAGE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

OnReport = Callable[[bytes], None]
"""Takes the report of a delivery: K, Z or D, and a text."""


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


class Tasks:
    """Coroutines that run beside the rest; what goes wrong in one is a deferral."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, making: Awaitable[bytes], on_report: OnReport) -> None:
        """Run `making`, and hand its report on."""
        task = asyncio.ensure_future(self._run(making, on_report))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _run(making: Awaitable[bytes], on_report: OnReport) -> None:
        try:
            report = await making
        except Exception as trouble:
            complain("qmail-rspawn", f"warning: unexpected trouble in a delivery: {trouble!r}")
            report = UNFORESEEN.pack()
        on_report(report)


class SmtpEngine:
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
        self._tasks = Tasks()
        self._now = asyncio.get_running_loop().time

    def start(self, job: Job, host: bytes, on_report: OnReport) -> None:
        """Start one delivery; `on_report` is called in every case."""
        message = Message(
            job.sender,
            (job.recipient,),
            partial(self._load, job.body),
            self._now() + TOTAL_S_MAX,
        )
        target = self._deliverer.fixed_target(host)
        if target is None:
            self._tasks.start(self._deliver(host, message), on_report)
        else:
            # No look-up and no choice of hosts: this way costs no task.
            on_done = partial(_report_single, on_report)
            self._pool.submit(target.address, target.port, message, on_done)

    async def _deliver(self, host: bytes, message: Message) -> bytes:
        outcome = await self._deliverer.deliver(host, message)
        return outcome.spawn_report()

    async def close(self) -> None:
        """Say QUIT where nothing is under way."""
        await self._pool.close()


def _report_single(on_report: OnReport, outcome: Outcome) -> None:
    if outcome.ending is not Ending.FINAL:
        outcome = all_together((outcome,))
    on_report(outcome.spawn_report())


class ProgramEngine:
    """Delivers by QMAILREMOTE."""

    def __init__(self, program: str, store: MessageStore) -> None:
        self._program = RemoteProgram(program)
        self._store = store
        self._tasks = Tasks()

    def start(self, job: Job, host: bytes, on_report: OnReport) -> None:
        """Start one delivery; `on_report` is called in every case."""
        self._tasks.start(self._run(job, host), on_report)

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
