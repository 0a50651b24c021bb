"""What the figures were taken on."""

import os
import platform
from dataclasses import dataclass

from bench.postfix import version


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts for the head of the report; no name of the host, no paths."""

    cores: int
    cpu: str
    memory_gb: float
    kernel: str
    file_system: str
    python: str
    postfix: str


def parse_cpu_model(text: str) -> str:
    """Read the model out of /proc/cpuinfo."""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model", "Processor"):
            return value.strip()
    return platform.machine()


def parse_file_system(mounts: str, path: str) -> str:
    """Find type and options of the file system that holds `path` in /proc/self/mounts."""
    best, found = "", "unknown"
    for line in mounts.splitlines():
        _, point, kind, options, *_ = (*line.split(), "", "", "", "")
        point = point.rstrip("/")
        is_above = path == point or path.startswith(f"{point}/")
        if options and is_above and len(point) >= len(best):
            # Options only where they say something about speed or safety.
            shown = [
                one for one in options.split(",") if "atime" in one or one in ("sync", "discard")
            ]
            best, found = point, " ".join([kind, *shown])
    return found


def look_at_machine(folder: str, *, with_postfix: bool) -> Machine:
    """Collect the facts; `folder` is where the queues lie."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        cpu = parse_cpu_model(file.read())
    with open("/proc/self/mounts", encoding="utf-8") as file:
        file_system = parse_file_system(file.read(), os.path.realpath(folder))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        cpu=cpu,
        memory_gb=memory,
        kernel=f"{platform.system()} {platform.release().split('-')[0]}",
        file_system=file_system,
        python=platform.python_version(),
        postfix=version() if with_postfix else "not measured",
    )
