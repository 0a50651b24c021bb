"""The alerts of qmail-send, to the letter: the table of spec/logging.md 4, row by row."""

import errno
import fcntl
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import pytest
from tests.fakes.door import wait_until
from tests.fakes.homes import HOST, free_port, make_home, open_folder, others_can_run_the_programs
from tests.fakes.queue_world import LAYOUT, FakeClock, make_queue
from tests.fakes.send_world import World
from tests.fakes.suite import Suite
from tests.programs.test_send import run

from qmail.core.queue.engine import EngineError
from qmail.core.queue.read import DiskQueue

ROWS: Final = (
    "cannot start: unable to switch to home directory",
    "cannot start: unable to switch to queue directory",
    "cannot start: unable to read controls",
    "cannot start: unable to open mutex",
    "cannot start: qmail-send is already running",
    "cannot start: hath the daemon spawn no fire?",
    "oh no! lost qmail-clean connection! dying...",
    "oh no! lost spawn connection! dying...",
    "unable to append to bounce message; HELP! sleeping...",
    "unable to opendir DIR, sleeping...",
    "out of memory, sleeping...",
    "unable to reread controls: unable to switch to home directory",
    "unable to reread control/locals",
    "unable to reread control/virtualdomains",
    "unable to switch back to queue directory; HELP! sleeping...",
)
"""What follows `alert: ` in the original."""


# --- at a start: exit 111 -------------------------------------------------------------------------


@contextmanager
def no_home(home: Path) -> Iterator[None]:
    home.rename(home.parent / "elsewhere")
    yield


@contextmanager
def no_queue(home: Path) -> Iterator[None]:
    shutil.rmtree(home / "queue/mess")
    yield


@contextmanager
def no_folders(home: Path) -> Iterator[None]:
    for folder in (home / "queue/mess").iterdir():
        folder.rmdir()
    yield


@contextmanager
def bad_control(home: Path) -> Iterator[None]:
    (home / "control/queuelifetime").write_text("a week\n")
    yield


@contextmanager
def no_mutex(home: Path) -> Iterator[None]:
    (home / "queue/lock/sendmutex").unlink()
    yield


@contextmanager
def another_one(home: Path) -> Iterator[None]:
    with open(home / "queue/lock/sendmutex", "wb") as mutex:
        fcntl.flock(mutex, fcntl.LOCK_EX)
        yield


STARTS: Final = (
    (ROWS[0], no_home),
    (ROWS[1], no_queue),
    (ROWS[1], no_folders),
    (ROWS[2], bad_control),
    (ROWS[3], no_mutex),
    (ROWS[4], another_one),
)


@pytest.mark.parametrize(("row", "spoil"), STARTS)
def test_logging_4_what_keeps_it_from_starting(
    row: str, spoil: Callable[[Path], AbstractContextManager[None]]
) -> None:
    with open_folder() as folder:
        home = folder / "home"
        make_home(home)
        with spoil(home):
            code, (line, why) = run(home)
    assert (code, line) == (111, f"alert: {row}")
    assert why.startswith(f"qmail-send: fatal: {row}")


# --- while it runs --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    if not others_can_run_the_programs():
        pytest.skip("this checkout can't be read by other accounts")
    with open_folder() as folder, Suite(folder) as made:
        made.control("smtproutes", f":127.0.0.1:{free_port()}\n")
        made.start().wait_for("status: local 0/")
        # Every program that reads control/ at its start has done so.
        made.send_by_smtp(f"postmaster@{HOST}", sender="joe@far.example")
        made.wait_for("end msg ")
        made.send("joe@far.example")
        made.wait_for(": deferral: ")
        yield made


def bad_locals(suite: Suite) -> None:
    suite.control("locals", "a b\n")


def bad_virtualdomains(suite: Suite) -> None:
    suite.control("virtualdomains", "no colon\n")


def no_controls(suite: Suite) -> None:
    (suite.home / "control").rename(suite.home / "control.away")
    (suite.home / "control").write_text("no folder")


HUPS: Final = (
    ("unable to reread controls: unable to switch to home directory", no_controls),
    ("unable to reread control/locals", bad_locals),
    ("unable to reread control/virtualdomains", bad_virtualdomains),
)


@pytest.mark.parametrize(("row", "spoil"), HUPS)
def test_logging_4_controls_that_cannot_be_read_again(
    suite: Suite, row: str, spoil: Callable[[Suite], None]
) -> None:
    controls = suite.home / "control"
    kept = {path.name: path.read_bytes() for path in controls.iterdir()}
    spoil(suite)
    os.kill(suite.children["qmail-send"], signal.SIGHUP)
    assert suite.wait_for("alert: ") == f"alert: {row}"
    assert suite.wait_for("qmail-send: ").endswith(": the old settings stay")
    if controls.is_file():
        controls.unlink()
        (suite.home / "control.away").rename(controls)
    for path in controls.iterdir():
        if path.name not in kept:
            path.unlink()
    for name, data in kept.items():
        # The certificate is for reading alone, and was left alone.
        if (controls / name).read_bytes() != data:
            (controls / name).write_bytes(data)


LOST: Final = {
    "oh no! lost qmail-clean connection! dying...": ("qmail-clean", "qmail-clean"),
    "oh no! lost spawn connection! dying...": ("qmail-lspawn", "qmail-rspawn"),
}


def came_back(suite: Suite, name: str, before: int) -> None:
    """Wait until a program runs again, which had this process id before."""
    wait_until(lambda: suite.children.get(name, before) != before)


@pytest.mark.parametrize("row", LOST)
def test_logging_4_a_lost_connection_is_no_death_but_another_call(suite: Suite, row: str) -> None:
    for name in dict.fromkeys(LOST[row]):
        before = suite.children
        os.kill(before[name], signal.SIGKILL)
        suite.wait_for(f"alert: oh no! lost {name} connection! calling again...")
        came_back(suite, name, before[name])
        assert suite.children["qmail-send"] == before["qmail-send"]


def test_logging_4_a_folder_that_cannot_be_read_is_looked_at_again() -> None:
    world = World()
    world.engine.broken.add("arrivals")
    world.send.rescan()
    assert world.turn()[0] == b"alert: unable to opendir todo, sleeping..."
    world.engine.broken.clear()
    world.queued(5, b"ann@here.ex")
    world.pass_time(11)
    assert [who for _, who in world.running] == [b"ann@here.ex"]


# --- what can't happen here -----------------------------------------------------------------------


def test_logging_4_a_bounce_that_cannot_be_added_to_blocks_nobody(tmp_path: Path) -> None:
    fs = make_queue(tmp_path)
    fs.refuse("open_append", errno.ENOSPC, "bounce/")
    with pytest.raises(EngineError, match="trouble writing to bounce/7"):
        DiskQueue(fs, FakeClock(), LAYOUT).blame(7, b"x")
    fs.release()


ELSEWHERE: Final = {
    "cannot start: hath the daemon spawn no fire?": "a spawner is called again until it answers",
    "unable to append to bounce message; HELP! sleeping...": "a warning, and another try",
    "out of memory, sleeping...": "the interpreter ends; qmail-start starts qmail-send again",
    "unable to switch back to queue directory; HELP! sleeping...": "it never leaves it",
}
"""Rows of the original that no program of ours comes to, and what is there in their place."""


def test_logging_4_every_row_is_made_or_has_a_reason() -> None:
    made = {row for row, _ in (*STARTS, *HUPS)} | LOST.keys()
    made.add("unable to opendir DIR, sleeping...")
    assert made | ELSEWHERE.keys() == set(ROWS)
    assert not made & ELSEWHERE.keys()
