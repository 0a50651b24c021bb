"""What the kernel counts: CPU time of process trees, memory, flushes of a device."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
FLUSHES_COLUMN: Final = 18
"""Column of /proc/diskstats, counted from 0: flush requests completed (Linux 5.5 and newer)."""


@dataclass(frozen=True, slots=True)
class ProcessTimes:
    """One process of /proc: its parent, and the CPU ticks of itself and its waited-for children."""

    parent: int
    ticks: int


def parse_stat(text: str) -> ProcessTimes:
    """Read /proc/PID/stat; the command's name may hold blanks and parentheses."""
    fields = text.rpartition(")")[2].split()
    # State is the first field after the name; utime stime cutime cstime are the 14th to 17th.
    return ProcessTimes(int(fields[1]), sum(int(field) for field in fields[11:15]))


def read_processes() -> dict[int, ProcessTimes]:
    """Read every process that is there."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                    found[int(name)] = parse_stat(file.read())
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def tree_of(root: int, processes: Mapping[int, ProcessTimes]) -> list[int]:
    """List `root` and everything below it."""
    children: dict[int, list[int]] = {}
    for pid, process in processes.items():
        children.setdefault(process.parent, []).append(pid)
    found = [root] if root in processes else []
    for pid in found:
        found += children.get(pid, [])
    return found


def tree_cpu_s(roots: Iterable[int]) -> float:
    """CPU seconds, user and system, of the trees under `roots`, ended children included."""
    processes = read_processes()
    ticks = sum(processes[pid].ticks for root in roots for pid in tree_of(root, processes))
    return ticks / TICKS_PER_SECOND


def parse_pss_kb(text: str) -> int:
    """Read the proportional set size out of /proc/PID/smaps_rollup; 0 where there is none."""
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def tree_pss_mb(root: int) -> tuple[float, int]:
    """Return the memory of a tree in MB (shared pages shared out), and how many processes it has.

    Raises: PermissionError: not allowed to look.
    """
    total = count = 0
    for pid in tree_of(root, read_processes()):
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                total += parse_pss_kb(file.read())
        except (FileNotFoundError, ProcessLookupError):
            continue
        count += 1
    return total / 1024, count


def parse_busy_s(text: str) -> float:
    """Read the first line of /proc/stat: CPU seconds that were not idle, stolen ones included."""
    user, nice, system, _idle, _wait, *rest = (
        int(field) for field in text.split("\n", maxsplit=1)[0].split()[1:9]
    )
    return (user + nice + system + sum(rest)) / TICKS_PER_SECOND


def machine_busy_s() -> float:
    """CPU seconds that this machine has worked since its start."""
    with open("/proc/stat", encoding="ascii") as file:
        return parse_busy_s(file.read())


def parse_flushes(text: str, device: str) -> int | None:
    """Read the flush requests of `device` ("8:0") out of /proc/diskstats; None: not counted."""
    for line in text.splitlines():
        fields = line.split()
        if len(fields) > FLUSHES_COLUMN and f"{fields[0]}:{fields[1]}" == device:
            return int(fields[FLUSHES_COLUMN])
    return None


def device_under(path: str) -> str | None:
    """Return "major:minor" of the whole disk that holds `path`; None: no disk of its own."""
    number = os.stat(path).st_dev
    folder = os.path.realpath(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    if not os.path.isdir(folder):
        return None
    if os.path.exists(f"{folder}/partition"):
        folder = os.path.dirname(folder)
    with open(f"{folder}/dev", encoding="ascii") as file:
        return file.read().strip()


def flushes_of(device: str | None) -> int | None:
    """Flush requests that `device` has completed since the start; None: not counted."""
    if device is None:
        return None
    with open("/proc/diskstats", encoding="ascii") as file:
        return parse_flushes(file.read(), device)
