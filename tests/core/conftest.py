"""The queue on disk that tests of it share, with a clock that is set by hand."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.queue_world import LAYOUT, FailingFs, FakeClock, make_queue

from qmail.core.queue.read import DiskQueue


@pytest.fixture
def fs(tmp_path: Path) -> Iterator[FailingFs]:
    disk = make_queue(tmp_path)
    yield disk
    disk.release()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def queue(fs: FailingFs, clock: FakeClock) -> DiskQueue:
    return DiskQueue(fs, clock, LAYOUT)
