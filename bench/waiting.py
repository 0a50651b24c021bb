"""A queue with 100,000 deferred messages: what it costs, and whom it delays. Ours alone."""

import os
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.counters import tree_cpu_s, tree_pss_mb
from bench.deferred import Deferred, Maker
from bench.load import Sink
from bench.measure import wait_for_quiet
from bench.ours import BIN, Ours
from bench.values import BenchError, wait_until

MESSAGES: Final = 100_000
DUE: Final = 100
"""Those that are due when the server starts; it shall find them among all the others."""
START_SECONDS_MAX: Final = 60.0
COMMAND_SECONDS_MAX: Final = 60.0
COMMAND_RUNS: Final = 3
IDLE_S: Final = 10.0
LIST: Final = ("list", "--limit", "50")
COUNT: Final = ("count", "--by", "domain")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What was found with all of them in the queue."""

    count: int
    first_delivery_s: float
    mb: float
    processes: int
    list_s: float
    count_s: float
    idle_share: float


def fill(server: Ours) -> None:
    """Make the home of a server that was not started yet, and fill its queue."""
    server.configure()
    maker = Maker(server.home)
    maker.make(Deferred(count=MESSAGES - DUE))
    maker.make(Deferred(count=DUE, due_in_s=-60, span_s=1))


def start_filled(server: Ours, sink: Sink) -> float:
    """Start it. Returns: seconds to the first delivery of a message that was due.

    Raises: BenchError: there is none.
    """
    before, started = sink.count(), time.monotonic()
    server.start()
    if not wait_until(lambda: sink.count() > before, seconds_max=START_SECONDS_MAX):
        raise BenchError("no deferred message was delivered")
    return time.monotonic() - started


def look_at(server: Ours, first_delivery_s: float) -> Waiting:
    """Measure what a server that waits takes, and how long it takes to answer."""
    wait_for_quiet(server)
    mb, processes = tree_pss_mb(server.pid)
    cpu_s, started = tree_cpu_s([server.pid]), time.monotonic()
    time.sleep(IDLE_S)
    idle_share = (tree_cpu_s([server.pid]) - cpu_s) / (time.monotonic() - started)
    return Waiting(
        count=MESSAGES,
        first_delivery_s=first_delivery_s,
        mb=mb,
        processes=processes,
        list_s=time_command(server, LIST),
        count_s=time_command(server, COUNT),
        idle_share=idle_share,
    )


def time_command(server: Ours, words: Sequence[str]) -> float:
    """Run `qmail queue` some times. Returns: the median, in seconds.

    Raises: BenchError: it failed, or printed nothing.
    """
    times = []
    for _ in range(COMMAND_RUNS):
        started = time.monotonic()
        done = subprocess.run(
            [f"{BIN}/qmail", "queue", *words],
            env={**os.environ, "QMAIL_HOME": server.home},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_SECONDS_MAX,
            check=False,
        )
        times.append(time.monotonic() - started)
        if done.returncode != 0 or not done.stdout:
            reason = done.stderr.decode("utf-8", "replace").strip()[-300:]
            raise BenchError(f"qmail queue {words[0]}: {reason or done.returncode}")
    return statistics.median(times)
