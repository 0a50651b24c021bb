"""What measures the fan-out, inside its network: `bench.fanout_inside FOLDER SEEDS SERVER ...`."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from bench.counters import tree_cpu_s
from bench.extras import raise_descriptor_limit
from bench.fanout import HOSTS, FanOut
from bench.load import Sink
from bench.measure import wait_for_quiet
from bench.ours import Ours
from bench.postfix import Postfix, Withhold
from bench.slow_dns import READY, host_name
from bench.values import BY_DNS, HOST, BenchError, Server

STALL_S: Final = 15.0
"""No delivery for so long: the first try of all is over, and no retry has begun yet."""
POLL_S: Final = 0.01
SMTP_PORT: Final = 25
SENDMAIL_SECONDS_MAX: Final = 60.0
TEXT: Final = f"From: sender@{HOST}\nSubject: to many\n\nA line of text.\n".encode()


def make_server(name: str, below: str) -> Server:
    """Return a server that finds its way by DNS, in a folder of its own."""
    folder = tempfile.mkdtemp(dir=below)
    os.chmod(folder, 0o755)
    if name == Ours.name:
        return Ours(folder, sink_port=BY_DNS, is_withheld=False)
    return Postfix(folder, sink_port=BY_DNS, withhold=Withhold.NOTHING)


@contextmanager
def name_server(seed: int) -> Iterator[None]:
    """Run the slow name server. Raises: BenchError: it does not start."""
    command = [sys.executable, "-m", "bench.slow_dns", str(seed)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != READY:
            raise BenchError("the name server does not start")
        yield
    finally:
        process.kill()
        process.wait()


def inject(server: Server) -> None:
    """Hand sendmail one message to everybody. Raises: BenchError: it failed."""
    command, settings = server.sendmail()
    recipients = [f"user@{host_name(number)}" for number in range(1, HOSTS + 1)]
    done = subprocess.run(
        [*command, "-f", f"sender@{HOST}", *recipients],
        input=TEXT,
        env={**os.environ, **settings},
        timeout=SENDMAIL_SECONDS_MAX,
        check=False,
    )
    if done.returncode != 0:
        raise BenchError(f"{command[0]}: exit code {done.returncode}")


def measure(server: Server, sink: Sink, seed: int) -> FanOut:
    """Send one message to all hosts, and wait until no delivery follows any more."""
    load = os.getloadavg()[0]
    before, cpu_s = sink.count(), tree_cpu_s([server.pid])
    started = last = time.monotonic()
    inject(server)
    delivered = 0
    while delivered < HOSTS and time.monotonic() - last < STALL_S:
        time.sleep(POLL_S)
        count = sink.count() - before
        if count != delivered:
            delivered, last = count, time.monotonic()
    wait_for_quiet(server)
    return FanOut(
        server=server.name,
        seed=seed,
        seconds=last - started,
        delivered=delivered,
        cpu_s=tree_cpu_s([server.pid]) - cpu_s,
        load=load,
    )


def main(argv: Sequence[str]) -> int:
    """Measure the servers that are named, in turn."""
    below, seeds, *names = argv
    raise_descriptor_limit()
    sink = Sink(below, host="0.0.0.0", port=SMTP_PORT)
    try:
        sink.start()
        for seed in map(int, seeds.split(",")):
            for name in names:
                server = make_server(name, below)
                try:
                    server.start()
                    wait_for_quiet(server)
                    with name_server(seed):
                        sys.stdout.write(measure(server, sink, seed).line())
                        sys.stdout.flush()
                finally:
                    server.stop()
    except (BenchError, OSError, subprocess.SubprocessError) as problem:
        print(f"bench: fan-out: {problem}", file=sys.stderr, flush=True)
        return 1
    finally:
        sink.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
