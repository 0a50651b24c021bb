"""What is measured besides rates: memory, idle connections, a cold sendmail, calls that sync."""

import os
import resource
import signal
import socket
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.counters import read_processes, tree_of, tree_pss_mb
from bench.load import need
from bench.mailbox import count_in
from bench.measure import Field, measure
from bench.values import HOST, BenchError, Mailbox, Server, Variant, wait_until

IDLE_BEFORE_S: Final = 2.0
IDLE_SECONDS_MAX: Final = 30.0
SPARE_DESCRIPTORS: Final = 500
SENDMAIL_SECONDS_MAX: Final = 30.0
SYNC_CALLS: Final = ("fsync", "fdatasync", "syncfs", "sync", "sync_file_range")


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a whole suite: all of its processes, pages they share counted once."""

    mb: float
    processes: int


@dataclass(frozen=True, slots=True)
class IdleConnections:
    """What idle SMTP connections cost."""

    open_count: int
    before_mb: float
    after_mb: float


def raise_descriptor_limit() -> None:
    """Raise the limit of open files as far as allowed; what is started from here inherits it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def idle_memory(server: Server) -> Memory:
    """Measure the memory of a server that was just started."""
    time.sleep(IDLE_BEFORE_S)
    return Memory(*tree_pss_mb(server.pid))


def idle_connections(server: Server, count: int) -> IdleConnections:
    """Open `count` connections, read each greeting, leave them idle, and measure the memory."""
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_DESCRIPTORS
    before, _ = tree_pss_mb(server.pid)
    callers: list[socket.socket] = []
    end = time.monotonic() + IDLE_SECONDS_MAX
    try:
        while len(callers) < min(count, room) and time.monotonic() < end:
            caller = socket.create_connection(("127.0.0.1", server.port), 5.0)
            callers.append(caller)
            if not caller.recv(512).startswith(b"220"):
                break
        time.sleep(1.0)
        after, _ = tree_pss_mb(server.pid)
        return IdleConnections(sum(map(_is_open, callers)), before, after)
    except OSError:
        after, _ = tree_pss_mb(server.pid)
        return IdleConnections(sum(map(_is_open, callers)), before, after)
    finally:
        for caller in callers:
            caller.close()


def _is_open(caller: socket.socket) -> bool:
    """Say whether the server has left this connection open."""
    caller.setblocking(False)
    try:
        return not caller.recv(1) and False
    except BlockingIOError:
        return True
    except OSError:
        return False


def time_sendmail(server: Server, recipient: str) -> float:
    """Run sendmail once on a small message. Returns: ms until it ended.

    Raises: BenchError: it failed.
    """
    command, settings = server.sendmail()
    text = f"From: sender@{HOST}\nTo: {recipient}\nSubject: small\n\nA line of text.\n".encode()
    started = time.perf_counter()
    try:
        done = subprocess.run(
            [*command, "-t"],
            input=text,
            env={**os.environ, **settings},
            capture_output=True,
            timeout=SENDMAIL_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"{command[0]} does not end") from None
    ended = time.perf_counter()
    if done.returncode != 0:
        reason = done.stderr.decode("utf-8", "replace").strip()[-300:]
        raise BenchError(f"{command[0]}: exit code {done.returncode} {reason}")
    return 1000 * (ended - started)


def sendmail_ms(servers: Sequence[Server], mailbox: Mailbox, runs: int) -> list[float]:
    """Time sendmail of each server in turn, and wait until all has arrived.

    Returns: the median of each.
    Raises: BenchError: one failed, or its message did not arrive.
    """
    before = count_in(mailbox.new)
    recipient = mailbox.address
    times: list[list[float]] = [[] for _ in servers]
    for server in servers:
        time_sendmail(server, recipient)
    for _ in range(runs):
        for server, found in zip(servers, times, strict=True):
            found.append(time_sendmail(server, recipient))
    wanted = before + len(servers) * (runs + 1)
    if not wait_until(lambda: count_in(mailbox.new) >= wanted, seconds_max=SENDMAIL_SECONDS_MAX):
        raise BenchError("messages handed to sendmail did not arrive")
    return [statistics.median(found) for found in times]


def parse_strace_counts(text: str) -> dict[str, int]:
    """Read the calls of `strace -c -U name,calls`."""
    counts = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 2 and fields[1].isdigit() and fields[0] in SYNC_CALLS:
            counts[fields[0]] = int(fields[1])
        elif len(fields) == 2 and fields[0].isdigit() and fields[1] in SYNC_CALLS:
            counts[fields[1]] = int(fields[0])
    return counts


def sync_calls_each(server: Server, variant: Variant, count: int, field: Field) -> dict[str, float]:
    """Count the calls that sync for each message, under strace; the run's time means nothing.

    Raises: BenchError: strace is missing, or the measurement failed.
    """
    pids = tree_of(server.pid, read_processes())
    attach = [word for pid in pids for word in ("-p", str(pid))]
    command = [
        need("strace"),
        "-f",
        "-c",
        "-U",
        "name,calls",
        "-e",
        f"trace={','.join(SYNC_CALLS)}",
    ]
    process = subprocess.Popen(
        [*command, *attach],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        wait_until(lambda: _is_traced(server.pid), seconds_max=5.0)
        measure(server, variant, count, field)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            _, output = process.communicate(timeout=10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            _, output = process.communicate()
    counts = parse_strace_counts(output.decode("utf-8", "replace"))
    return {name: calls / count for name, calls in counts.items()}


def _is_traced(pid: int) -> bool:
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return "TracerPid:\t0\n" not in file.read()
