"""Many local injections at once: 10 processes that start sendmail again and again, 1,000 in all."""

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.mailbox import count_in
from bench.values import HOST, BenchError, Mailbox, Server, wait_until

MESSAGES: Final = 1000
PROCESSES: Final = 10
WARM_UP: Final = 50
BODY_BYTES: Final = 4096
INJECT_SECONDS_MAX: Final = 300.0
ARRIVE_SECONDS_MAX: Final = 120.0
LOOP: Final = 'n=$1; shift; while [ "$n" -gt 0 ]; do "$@" <"$MESSAGE" || exit; n=$((n - 1)); done'
"""What one process does: the shell costs least, and the same for both servers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """One measurement: until the last sendmail has ended, and until the last message was there."""

    accepted_s: float
    arrived_s: float

    @property
    def rate(self) -> float:
        """Messages accepted a second."""
        return MESSAGES / self.accepted_s


def inject(server: Server, mailbox: Mailbox, folder: str, count: int) -> Injection:
    """Have `count` messages injected at once, and wait until all have arrived.

    Raises: BenchError: a sendmail failed or hangs, or a message did not arrive.
    """
    message = f"{folder}/injected"
    text = f"From: sender@{HOST}\nTo: {mailbox.address}\nSubject: small\n\n"
    with open(message, "w", encoding="ascii") as file:
        file.write(text + "A line of text.\n" * (BODY_BYTES // 16))
    before = count_in(mailbox.new)
    command, settings = server.sendmail()
    environ = {**os.environ, **settings, "MESSAGE": message}
    words = ["sh", "-c", LOOP, "sh", str(count // PROCESSES), *command, "-t", "-i"]
    started = time.perf_counter()
    processes = [subprocess.Popen(words, env=environ) for _ in range(PROCESSES)]
    _wait_for(processes)
    accepted = time.perf_counter()
    wanted = before + count // PROCESSES * PROCESSES
    if not wait_until(lambda: count_in(mailbox.new) >= wanted, seconds_max=ARRIVE_SECONDS_MAX):
        raise BenchError(f"{wanted - count_in(mailbox.new)} injected messages did not arrive")
    arrived = time.perf_counter()
    return Injection(accepted_s=accepted - started, arrived_s=arrived - started)


def _wait_for(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    end = time.monotonic() + INJECT_SECONDS_MAX
    try:
        codes = [process.wait(max(0.0, end - time.monotonic())) for process in processes]
    except subprocess.TimeoutExpired:
        raise BenchError("sendmail does not end") from None
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
    if any(codes):
        raise BenchError(f"sendmail ended with {max(codes)}")
