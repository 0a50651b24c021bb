"""The fan-out: one message to 2,000 hosts, in a network of its own. Needs root.

The network is a namespace with nothing but its loopback interface: name server, hosts and servers
all live in it, and with the process that runs there everything ends. What measures inside is
bench/fanout_inside.py; its figures come back as lines of JSON.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from bench.ground import Ground
from bench.load import need
from bench.slow_dns import NET
from bench.values import BenchError

HOSTS: Final = 2000
SECONDS_MAX_EACH: Final = 150.0
ROOT: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_APART: Final = ("--net", "--mount", "--pid", "--propagation", "private", "--mount-proc")
_ENDING: Final = ("--fork", "--kill-child")
"""Whoever ends unshare ends the first process in there, and with it all others."""
_SET_UP: Final = (
    f"ip link set lo up && ip route add local {NET} dev lo"
    ' && mount -t overlay -o "lowerdir=$0:/etc" none /etc || exit 1; "$@"'
)
"""The shell stays, as the first process there: it takes leave of those whose parents have ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FanOut:
    """One measurement of one server."""

    server: str
    seed: int
    """What the name server drew its delays and losses from."""
    seconds: float
    """From the start of sendmail to the last delivery of the first try."""
    delivered: int
    cpu_s: float
    load: float
    """The machine's load average over the last minute, before it began."""

    def line(self) -> str:
        """Write it as a line."""
        return json.dumps(asdict(self)) + "\n"

    def told(self) -> str:
        """Say it to people."""
        return (
            f"bench: fanout: {self.server}, seed {self.seed}: {self.delivered} in"
            f" {self.seconds:.2f} s, {self.cpu_s:.2f} s of CPU, load {self.load:.1f}"
        )


def parse_fan_out(line: str) -> FanOut:
    """Read a line that `FanOut.line` wrote.

    Raises: ValueError, TypeError: it is none.
    """
    return FanOut(**json.loads(line))


def in_own_network(etc: str, command: Sequence[str]) -> list[str]:
    """Return `command` such that it runs in a network of its own, with the files of `etc` in /etc.

    Raises: BenchError: a tool is missing.
    """
    need("ip")
    need("mount")
    return [need("unshare"), *_APART, *_ENDING, "sh", "-c", _SET_UP, etc, *command]


def measure_fan_out(
    ground: Ground,
    servers: Sequence[str],
    seeds: Sequence[int],
    on_sample: Callable[[FanOut], None],
) -> None:
    """Measure each server in turn, once with each seed of the name server.

    Raises: BenchError: something went wrong in there.
    """
    etc = ground.folder()
    with open(f"{etc}/resolv.conf", "w", encoding="ascii") as file:
        file.write("nameserver 127.0.0.1\n")
    inside = [
        sys.executable,
        "-m",
        "bench.fanout_inside",
        ground.path,
        ",".join(map(str, seeds)),
        *servers,
    ]
    process = subprocess.Popen(
        in_own_network(etc, inside),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    limit = threading.Timer(SECONDS_MAX_EACH * len(servers) * len(seeds), process.kill)
    limit.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            on_sample(parse_fan_out(line))
        if process.wait():
            raise BenchError("the fan-out could not be measured (its reason stands above)")
    finally:
        limit.cancel()
        process.kill()
        process.wait()
