"""Slots: which delivery is started next, and how many run (spec/delivery.md 14).

What is ready on a channel takes turns, a recipient each, so that a message to many holds up nobody:
jobs, and domains that somebody waits for outside the slots (core/send/destinations.py).
"""

import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from qmail.core.addresses.routing import verp_sender
from qmail.core.queue.notes import masked
from qmail.core.send.destinations import Destination, Push, push_of
from qmail.core.send.run import Run
from qmail.core.send.values import Job, Outputs, Stage
from qmail.mail import Channel, Letter, Result
from qmail.protocol import doors
from qmail.protocol.logtext import SAFE

KIND_TODO: Final = ord("T")
KIND_DONE: Final = ord("D")
AHEAD_MAX: Final = 2000
"""So many domains of one message are looked up before their recipients have a slot."""
PARKED_JOBS_MAX: Final = 5000
"""So many messages wait in memory for a domain; what comes then goes back into the schedule."""
AHEAD_RECORDS_BYTES: Final = 131072
FORGET_S: Final = 600
WAKE_S_MIN: Final = 0.01


class Running(NamedTuple):
    """One delivery: its job, where the recipient's record is, who it is, and at what domain."""

    job: Job
    offset: int
    address: bytes
    destination: Destination | None


@dataclass(slots=True)
class Lane:
    """One channel: its limit, what is running, what is ready. `passes` of those were scheduled."""

    limit: int
    slots: int = sys.maxsize
    """What the spawner can make at once, whatever the control file says."""
    connected: bool = False
    used: int = 0
    passes: int = 0
    parked_jobs: int = 0
    ready: deque[Job | Destination] = field(default_factory=deque)
    running: dict[int, Running] = field(default_factory=dict)

    @property
    def has_room(self) -> bool:
        """True when one more delivery can be started."""
        return self.connected and self.used < self.limit


class Lanes:
    """Both channels. `outputs` gathers the orders for the spawners."""

    def __init__(self, run: Run) -> None:
        self.outputs = Outputs()
        self._run = run
        self._now = run.clock.monotonic
        self._lanes = {channel: Lane(run.policy.limits[channel]) for channel in Channel}
        self._destinations: dict[bytes, Destination] = {}
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

    # --- for operators --------------------------------------------------------------------------

    def flying(self) -> Iterator[tuple[int, Channel, int]]:
        """Yield message, channel and place of every delivery that runs."""
        for channel, lane in self._lanes.items():
            for running in lane.running.values():
                yield running.job.message.number, channel, running.offset

    def open_jobs(self) -> dict[int, list[Job]]:
        """Return every job that has somebody to start, by message."""
        found: dict[int, dict[Job, None]] = {}
        for lane in self._lanes.values():
            for ready in lane.ready:
                if isinstance(ready, Job):
                    found.setdefault(ready.message.number, {})[ready] = None
        for destination in self._destinations.values():
            for job in destination.parked:
                found.setdefault(job.message.number, {})[job] = None
        return {number: list(jobs) for number, jobs in found.items()}

    def withdraw(self, job: Job, offsets: set[int]) -> None:
        """Start none of these recipients of an open job any more; those that run go on."""
        was_parked = job.parked
        count = sum(each.withdraw(job, offsets) for each in self._destinations.values())
        self._lanes[job.channel].parked_jobs -= bool(was_parked and not job.parked)
        job.outstanding -= count
        later = {offset for offset in offsets if offset >= job.position}
        job.records, masked_count = masked(job.records, later)
        job.left += count + masked_count
        job.turned_away += count + masked_count

    def put_by(self) -> Iterator[int]:
        """Yield the messages that wait for a domain and are not open."""
        for destination in self._destinations.values():
            yield from destination.room

    def reread(self) -> None:
        """Go by the limits that the policy has now."""
        policy = self._run.policy
        for channel in self._lanes:
            self._limit(channel)
        for destination in self._destinations.values():
            destination.limit_to(policy.hosts.of(destination.domain))
            self.queue(destination)

    def connected(self, channel: Channel, slots: int) -> None:
        """Give deliveries to a spawner that makes so many at once."""
        lane = self._lanes[channel]
        lane.connected = True
        lane.slots = slots
        self._limit(channel)

    def _limit(self, channel: Channel) -> None:
        lane, wanted = self._lanes[channel], self._run.policy.limits[channel]
        lane.limit = min(wanted, lane.slots)
        if lane.limit < wanted:
            self._run.journal.warn(
                f"control/concurrency{channel.word} is {wanted}, but qmail-{channel.word[0]}spawn"
                f" makes {lane.limit} deliveries at once at most: see 'qmail check'"
            )

    def announce(self, job: Job) -> None:
        """Add a new job; the name servers are asked for what it can't start at once."""
        lane = self._lanes[job.channel]
        lane.ready.append(job)
        if job.channel is Channel.LOCAL:
            return
        ahead = job.records.count(b"\0", 0, AHEAD_RECORDS_BYTES)
        if ahead > max(1, lane.limit - lane.used):
            records = job.records[:AHEAD_RECORDS_BYTES].split(b"\0")[:-1]
            hosts = {record[record.rfind(b"@") + 1 :].lower(): None for record in records}
            self.outputs.hosts += list(hosts)[:AHEAD_MAX]

    # --- a job's turn ---------------------------------------------------------------------------

    def advance(self, lane: Lane, job: Job, turn_of: Destination | None = None) -> None:
        """Start one delivery of a job, or park its recipient; then it is the next one's turn.

        `turn_of` is the domain whose turn this is: nobody waits there before this job.
        """
        records, start = job.records, job.position
        size = len(records)
        while start < size and records[start] == KIND_DONE:
            start = records.index(b"\0", start) + 1
        if start < size:
            end = records.index(b"\0", start)
            job.position = end + 1
            if records[start] == KIND_TODO:
                address = records[start + 1 : end]
                running = Running(job, start, address, self._destination(job, address))
                self._start_or_park(lane, running, turn_of)
            else:
                file = f"{job.channel.word}/{self._run.engine.body(job.message.number).decode()}"
                self._run.journal.warn(f"unknown record type in {file}!")
                job.left += 1
                job.position = size
        else:
            job.position = size
        if job.position < size:
            lane.ready.append(job)
        else:
            lane.passes -= job.is_pass

    def _start_or_park(self, lane: Lane, running: Running, turn_of: Destination | None) -> None:
        destination = running.destination
        if destination is None or self._may_start(destination, turn_of):
            self._start(lane, running)
        else:
            self._park(lane, running, destination)

    def _may_start(self, destination: Destination, turn_of: Destination | None) -> bool:
        is_its_turn = destination is turn_of or not destination.is_wanted
        return is_its_turn and not destination.is_full(self._now())

    def _start(self, lane: Lane, running: Running) -> None:
        job, destination = running.job, running.destination
        self._delivery += 1
        delivery, message = self._delivery, job.message
        job.outstanding += 1
        lane.used += 1
        lane.running[delivery] = running
        self._run.gauges.started(delivery)
        if destination is not None:
            destination.started(self._now())
        self._run.journal.add(
            b"starting delivery %d: msg %d to %b %b%b"
            % (
                delivery,
                message.number,
                b"remote" if job.channel else b"local",
                running.address.translate(SAFE),
                message.tail,
            )
        )
        self.log_status()
        self.outputs.jobs[job.channel].append(
            doors.Job(
                delivery,
                self._run.engine.body(message.number),
                verp_sender(message.sender, running.address),
                running.address,
            ).pack()
        )

    # --- waiting for a domain -------------------------------------------------------------------

    def _destination(self, job: Job, address: bytes) -> Destination | None:
        if job.channel is Channel.LOCAL:
            return None
        domain = address[address.rfind(b"@") + 1 :].lower()
        destination = self._destinations.get(domain)
        if destination is None:
            destination = Destination(domain, self._run.policy.hosts.of(domain))
            self._destinations[domain] = destination
        return destination

    def _park(self, lane: Lane, running: Running, destination: Destination) -> None:
        job = running.job
        if self._is_small(job):
            destination.room.append(job.message.number)
            job.is_put_by = True
        elif job.parked or lane.parked_jobs < PARKED_JOBS_MAX:
            lane.parked_jobs += not job.parked
            job.outstanding += 1
            destination.park(job, running.offset)
        else:
            job.left += 1
            job.turned_away += 1
        self.queue(destination)

    @staticmethod
    def _is_small(job: Job) -> bool:
        """Say whether this recipient is all there is to do for a message that is written down."""
        is_kept = job.is_pass or job.message.stage is Stage.KEPT
        is_alone = not (job.outstanding or job.left) and job.position >= len(job.records)
        return is_kept and is_alone

    def queue(self, destination: Destination) -> None:
        """Have a domain that somebody waits for take its turn, now or when it may."""
        now = self._now()
        if destination.is_queued or not destination.is_wanted:
            return
        if now < destination.closed_until:
            destination.is_queued = True
            wait_s = max(WAKE_S_MIN, destination.closed_until - now)
            self._run.turn.later(wait_s, lambda: self._wake(destination))
        elif not destination.is_full(now):
            destination.is_queued = True
            self._lanes[Channel.REMOTE].ready.append(destination)

    def _wake(self, destination: Destination) -> None:
        destination.is_queued = False
        self.queue(destination)

    def serve(self, lane: Lane, destination: Destination) -> int | None:
        """Give a domain its turn.

        Returns: the number of a message that was not open and is to be opened and advanced now.
        """
        destination.is_queued = False
        number = None
        if not destination.is_full(self._now()):
            if destination.parked:
                self._start_parked(lane, destination)
            elif destination.room:
                number = destination.room.popleft()
        if number is None:
            self.queue(destination)
        return number

    def _start_parked(self, lane: Lane, destination: Destination) -> None:
        job, offset = destination.unpark()
        job.outstanding -= 1
        lane.parked_jobs -= not job.parked
        address = job.records[offset + 1 : job.records.index(b"\0", offset)]
        self._start(lane, Running(job, offset, address, destination))

    def forget_idle(self) -> None:
        """Forget the domains that nothing is known of, now and then."""
        now = self._now()
        spent = [name for name, each in self._destinations.items() if each.is_spent(now)]
        for name in spent:
            del self._destinations[name]
        self._run.turn.later(FORGET_S, self.forget_idle)

    # --- the end of a delivery ------------------------------------------------------------------

    def take(self, channel: Channel, delivery: int, result: Result | None) -> Running | None:
        """Free the slot of a delivery that ended, and learn from its result about the domain."""
        lane = self._lanes[channel]
        running = lane.running.pop(delivery, None)
        if running is not None:
            self._run.gauges.ended(delivery, channel, running.address, result)
            lane.used -= 1
            running.job.outstanding -= 1
            if running.destination is not None:
                self._learn(running.destination, delivery, result)
        return running

    def _learn(self, destination: Destination, delivery: int, result: Result | None) -> None:
        destination.used -= 1
        now = self._now()
        if result is not None and result.letter is Letter.DELIVERED:
            destination.succeeded()
        push = push_of(result)
        if push is not Push.NONE and destination.pushed(push, delivery, self._delivery, now):
            self._run.journal.add(
                b"send: %b wants less mail: none for %d s, then %d at once"
                % (
                    destination.domain.translate(SAFE),
                    destination.closed_until - now,
                    destination.at_once,
                )
            )
        if destination.is_wanted:
            self.queue(destination)
        elif destination.is_spent(now):
            self._destinations.pop(destination.domain, None)
