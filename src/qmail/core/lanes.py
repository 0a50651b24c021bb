"""Slots: which delivery is started next, and how many run (spec/delivery.md 14).

The jobs that are ready on a channel take turns, a recipient each, so that a message to many holds
up nobody.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from qmail.core.dispatch_values import Job, Outputs
from qmail.core.routing import verp_sender
from qmail.core.send_run import Run
from qmail.mail import Channel
from qmail.protocol import doors
from qmail.protocol.logtext import SAFE

KIND_TODO: Final = ord("T")
KIND_DONE: Final = ord("D")


@dataclass(slots=True)
class Lane:
    """One channel: its limit, what is running, what is ready. `passes` of those were scheduled."""

    limit: int
    connected: bool = False
    used: int = 0
    passes: int = 0
    ready: deque[Job] = field(default_factory=deque)
    running: dict[int, tuple[Job, int, bytes]] = field(default_factory=dict)

    @property
    def has_room(self) -> bool:
        """True when one more delivery can be started."""
        return self.connected and self.used < self.limit


class Lanes:
    """Both channels. `outputs` gathers the orders for the spawners."""

    def __init__(self, run: Run) -> None:
        self.outputs = Outputs()
        self._run = run
        self._lanes = {channel: Lane(run.policy.limits[channel]) for channel in Channel}
        self._delivery = 0

    def __getitem__(self, channel: Channel) -> Lane:
        """Return the lane of a channel."""
        return self._lanes[channel]

    @property
    def is_quiet(self) -> bool:
        """True when nothing is running."""
        return not any(lane.used for lane in self._lanes.values())

    def log_status(self) -> None:
        """Log how many deliveries run (spec/logging.md 2)."""
        local, remote = self._lanes[Channel.LOCAL], self._lanes[Channel.REMOTE]
        tail = b" exitasap" if self._run.is_exiting else b""
        self._run.journal.add(
            b"status: local %d/%d remote %d/%d%b"
            % (local.used, local.limit, remote.used, remote.limit, tail)
        )

    def advance(self, lane: Lane) -> Job | None:
        """Start one delivery of the first job that is ready; the jobs take turns.

        Returns: that job, if all its recipients were looked at and nothing of it runs.
        """
        job = lane.ready.popleft()
        records, start = job.records, job.position
        size = len(records)
        while start < size and records[start] == KIND_DONE:
            start = records.index(b"\0", start) + 1
        if start < size:
            end = records.index(b"\0", start)
            job.position = end + 1
            if records[start] == KIND_TODO:
                self._start(lane, job, start, records[start + 1 : end])
            else:
                self._run.journal.warn(
                    f"unknown record type in the recipients of message {job.message.number}!"
                )
                job.left += 1
                job.position = size
        else:
            job.position = size
        if job.position < size:
            lane.ready.append(job)
            return None
        lane.passes -= job.is_pass
        return None if job.outstanding else job

    def _start(self, lane: Lane, job: Job, offset: int, address: bytes) -> None:
        self._delivery += 1
        delivery, message = self._delivery, job.message
        job.outstanding += 1
        lane.used += 1
        lane.running[delivery] = (job, offset, address)
        self._run.journal.add(
            b"starting delivery %d: msg %d to %b %b"
            % (
                delivery,
                message.number,
                b"remote" if job.channel else b"local",
                address.translate(SAFE),
            )
        )
        self.log_status()
        self.outputs.jobs[job.channel].append(
            doors.Job(
                delivery,
                self._run.engine.body(message.number),
                verp_sender(message.sender, address),
                address,
            ).pack()
        )

    def take(self, channel: Channel, delivery: int) -> tuple[Job, int, bytes] | None:
        """Free the slot of a delivery that ended: its job, the recipient's record and address."""
        lane = self._lanes[channel]
        running = lane.running.pop(delivery, None)
        if running is not None:
            lane.used -= 1
            running[0].outstanding -= 1
        return running
