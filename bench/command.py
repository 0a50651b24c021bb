"""The benchmark's command line: what is measured, in which order, and where it is written."""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from types import FrameType
from typing import Final

from bench.document import document
from bench.extras import raise_descriptor_limit
from bench.ground import Ground
from bench.load import tool
from bench.machine import look_at_machine
from bench.ours import is_there
from bench.plan import Plan, run_plan
from bench.report import Report, plain_text
from bench.values import BenchError

ROOT: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DOCUMENT: Final = f"{ROOT}/docs/benchmarks.md"
PARTS: Final = (
    "local", "relay", "users", "list", "accept", "fanout", "fifty", "deferred", "sendmail",
    "inject", "pop3", "memory",
)  # fmt: skip
INSTALL_SECONDS_MAX: Final = 300.0
RUN_SECONDS: Final = 480.0
"""After this long, each variant that is left gets one round, so that a run ends in 10 minutes."""
ONCE_SECONDS: Final = {"fanout": 60.0, "fifty": 40.0, "deferred": 80.0}
"""What the parts take that come last and that no shorter rounds make quicker."""


def main(argv: Sequence[str]) -> int:
    """Measure what `argv` asks for. Returns 0, or 1 where something could not be measured."""
    options = parse(argv)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _on_signal)
    raise_descriptor_limit()
    try:
        report = run(options)
    except KeyboardInterrupt:
        say("bench: interrupted; everything it started is stopped")
        return 1
    except (BenchError, OSError, subprocess.SubprocessError) as problem:
        say(f"bench: {problem}")
        return 1
    print(f"\n{plain_text(report)}")
    if not options.no_write:
        date = time.strftime("%Y-%m-%d")
        with open(DOCUMENT, "w", encoding="utf-8") as file:
            file.write(document(report, date=date, options=shlex.join(argv)))
        say(f"bench: written to {os.path.relpath(DOCUMENT, ROOT)}")
    return 0


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(prog="bench/main.py", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, short measurements")
    parser.add_argument("--only", action="append", choices=PARTS, help="may stand more than once")
    parser.add_argument("--rounds", type=int, default=0, metavar="N", help="default 3")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="first of the fan-out")
    parser.add_argument("--seconds", type=float, default=0.0, help="length of one measurement")
    parser.add_argument("--ours-only", action="store_true", help="leave Postfix out")
    parser.add_argument("--idle", type=int, default=5000, metavar="N", help="idle connections")
    parser.add_argument("--strace", action="store_true", help="count the calls that sync, too")
    parser.add_argument("--folder", default="/var/tmp", help="where the queues are to lie")
    parser.add_argument("--no-write", action="store_true", help="leave docs/benchmarks.md alone")
    options = parser.parse_args(argv)
    if options.rounds < 0 or options.seconds < 0 or options.idle < 0:
        parser.error("--rounds, --seconds and --idle are not negative")
    return options


def _on_signal(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def say(line: str) -> None:
    """Tell how it goes, apart from the tables."""
    print(line, file=sys.stderr, flush=True)


def run(options: argparse.Namespace) -> Report:
    """Measure. Whatever was started or made is gone afterwards.

    Raises: BenchError, OSError: something could not be done.
    """
    if not is_there():
        raise BenchError("the programs are not in .venv/bin: run 'make install' first")
    notes: list[str] = []
    with_postfix = not options.ours_only and may_measure_postfix(notes)
    if tool("smtp-source") is None:
        raise BenchError("smtp-source is missing: run 'apt-get install postfix' as root")
    with ExitStack() as stack:
        ground = Ground(options.folder)
        stack.callback(ground.remove)
        report = Report(look_at_machine(ground.path, with_postfix=with_postfix), notes=notes)
        run_plan(plan_of(options, ground, with_postfix=with_postfix), report, say)
    return report


def plan_of(options: argparse.Namespace, ground: Ground, *, with_postfix: bool) -> Plan:
    """Return what is to be measured."""
    quick = options.quick
    parts = frozenset(options.only or PARTS)
    return Plan(
        ground=ground,
        parts=parts,
        rounds=options.rounds or (1 if quick else 3),
        seed=options.seed,
        seconds=options.seconds or (1.0 if quick else 3.0),
        budget_s=RUN_SECONDS - sum(map(ONCE_SECONDS.__getitem__, parts & ONCE_SECONDS.keys())),
        sendmail_runs=5 if quick else 20,
        idle_count=options.idle,
        with_postfix=with_postfix,
        with_strace=options.strace,
    )


def may_measure_postfix(notes: list[str]) -> bool:
    """Say whether Postfix can be measured; install it when missing and allowed."""
    if os.geteuid() != 0:
        notes.append("Postfix was not measured: only root can start it.")
        return False
    if tool("postfix") is None:
        say("bench: installing Debian's postfix; no service is started")
        subprocess.run(
            ["sh", f"{ROOT}/scripts/tools.sh"],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            timeout=INSTALL_SECONDS_MAX,
            check=False,
        )
    if tool("postfix") is None:
        notes.append("Postfix was not measured: its package could not be installed.")
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
