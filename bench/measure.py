"""One measurement: send, wait until all has arrived, wait until the server is quiet, count."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bench.counters import device_under, flushes_of, machine_busy_s, tree_cpu_s
from bench.ground import Ground
from bench.load import Load, Sent, Sink, send
from bench.mailbox import count_in
from bench.values import (
    RELAY_DOMAIN,
    BenchError,
    Kind,
    Mailbox,
    Sample,
    Server,
    Variant,
    wait_until,
)

ARRIVAL_SECONDS_MAX: Final = 90.0
QUIET_SECONDS_MAX: Final = 20.0
QUIET_S: Final = 0.2
QUIET_CPU_S: Final = 0.011
"""What a quiet server may take in QUIET_S: one tick of the clock, for its timers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Where measurements take place: the recipient, the sink, the device under the queues."""

    mailbox: Mailbox
    sink: Sink
    device: str | None
    ground: Ground


@dataclass(frozen=True, slots=True)
class Work:
    """When it started and ended, by the wall clock, and the CPU seconds of what sent it."""

    started: float
    ended: float
    load_cpu_s: float


def make_field(mailbox: Mailbox, sink: Sink, ground: Ground) -> Field:
    """Return the field whose queues lie on `ground`."""
    return Field(mailbox=mailbox, sink=sink, device=device_under(ground.path), ground=ground)


def wait_for_quiet(server: Server) -> None:
    """Wait until the server takes no CPU any more."""
    last = -1.0

    def is_quiet() -> bool:
        nonlocal last
        before, last = last, tree_cpu_s([server.pid])
        return before >= 0 and last - before <= QUIET_CPU_S

    wait_until(is_quiet, seconds_max=QUIET_SECONDS_MAX, poll_s=QUIET_S)


def measure(server: Server, variant: Variant, count: int, field: Field) -> Sample:
    """Take one measurement.

    Raises: BenchError: messages were refused, or did not arrive.
    """
    sink_count = field.sink.count()
    if variant.kind is Kind.LOCAL:
        field.ground.empty(field.mailbox.new)

    def work() -> Work:
        sent = send(load_of(server, variant, count, field))
        ended = wait_for_arrival(variant.kind, count, field, sent, sink_count=sink_count)
        return Work(sent.started, ended, sent.cpu_s)

    return sample_of(server, field, count, work)


def sample_of(server: Server, field: Field, count: int, work: Callable[[], Work]) -> Sample:
    """Do some work with `count` deliveries, and count what it took until the server is quiet."""
    flushes = flushes_of(field.device)
    cpu, sink_cpu = tree_cpu_s([server.pid]), field.sink.cpu_s()
    busy, started = machine_busy_s(), time.monotonic()
    done = work()
    wait_for_quiet(server)
    after = flushes_of(field.device)
    load_cpu = done.load_cpu_s + field.sink.cpu_s() - sink_cpu
    cpu = tree_cpu_s([server.pid]) - cpu
    return Sample(
        count=count,
        seconds=done.ended - done.started,
        cpu_s=cpu,
        load_cpu_s=load_cpu,
        other_cpu_s=max(0.0, machine_busy_s() - busy - cpu - load_cpu),
        wall_s=time.monotonic() - started,
        flushes=None if flushes is None or after is None else after - flushes,
    )


def load_of(server: Server, variant: Variant, count: int, field: Field) -> Load:
    """Return what smtp-source is to send."""
    to_relay = variant.kind is Kind.RELAY
    return Load(
        port=server.port,
        recipient=f"rcpt@{RELAY_DOMAIN}" if to_relay else field.mailbox.address,
        count=count,
        size_bytes=variant.size_bytes,
        is_kept=variant.is_kept,
    )


def wait_for_arrival(kind: Kind, count: int, field: Field, sent: Sent, *, sink_count: int) -> float:
    """Wait for the last message. Returns when it arrived, by the wall clock.

    Raises: BenchError: some did not arrive.
    """
    if kind is Kind.ACCEPT:
        return sent.ended
    new = field.mailbox.new
    arrived = 0

    def is_done() -> bool:
        nonlocal arrived
        arrived = count_in(new) if kind is Kind.LOCAL else field.sink.count() - sink_count
        return arrived >= count

    # Counting a full folder costs the machine something, so a folder is looked at less often.
    poll_s = 0.05 if kind is Kind.LOCAL else 0.005
    if not wait_until(is_done, seconds_max=ARRIVAL_SECONDS_MAX, poll_s=poll_s):
        raise BenchError(f"{arrived} of {count} messages arrived")
    if arrived > count:
        raise BenchError(f"{arrived} messages arrived where {count} were sent")
    # The folder keeps the moment of its last entry, so that the long poll costs no accuracy.
    return max(os.stat(new).st_mtime, sent.started) if kind is Kind.LOCAL else time.time()
