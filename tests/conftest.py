"""Makes tests/sim importable however pytest is started; a folder of ours; tests for root."""

import os
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A slow machine is no failure. The build server takes the same examples each time, so that nobody
# is stopped there by what somebody else has written; each run by hand takes others.
settings.register_profile("house", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("house")

# Commands that are called as functions end with their files open, hundreds of them in a whole run.
DESCRIPTORS_WANTED = 16384
_, HARD = resource.getrlimit(resource.RLIMIT_NOFILE)
WANTED = DESCRIPTORS_WANTED if HARD == resource.RLIM_INFINITY else min(HARD, DESCRIPTORS_WANTED)
resource.setrlimit(resource.RLIMIT_NOFILE, (WANTED, HARD))

PROGRAMS_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGALRM,
                    signal.SIGPIPE)  # fmt: skip
# Under nohup, or in the background of a shell, signals are ignored; so would be those of the tests.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
    if signal.getsignal(number) is signal.SIG_IGN:
        is_interrupt = number is signal.SIGINT
        signal.signal(number, signal.default_int_handler if is_interrupt else signal.SIG_DFL)

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    """What a program that ran in this process has done with signals ends with its test."""
    before = {number: signal.getsignal(number) for number in PROGRAMS_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    signal.set_wakeup_fd(-1)


@pytest.fixture
def own_folder() -> Iterator[Path]:
    """A folder that nobody else can change, nor the way to it; skipped aloud where none can be."""
    from qmail.edge.machine.ownership import others_part  # noqa: PLC0415 - the path is set only now

    base = Path.home()
    if others := others_part(f"{base}/x"):
        pytest.skip(f"{others} is not ours alone, so nothing below it is")
    with tempfile.TemporaryDirectory(prefix=".qmail-test-", dir=base) as name:
        folder = Path(name) / "lists"
        folder.mkdir(mode=0o755)
        yield folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, aloud, what needs root and the separate accounts where an ordinary user runs this."""
    if os.geteuid() != 0:
        for item in items:
            if item.get_closest_marker("root"):
                item.add_marker(pytest.mark.skip(reason="needs root"))
