"""Homes of one account for tests of the real programs; under root of an account without a name."""

import contextlib
import functools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from qmail.utilities import init

SPARE_UID = 54322
IS_ROOT = os.getuid() == 0
UID = SPARE_UID if IS_ROOT else os.getuid()
GID = SPARE_UID if IS_ROOT else os.getgid()
HOST = "me.ex"
WAIT_S = 60.0
BECOME = """
import os, sys
def become(uid):
    # Only after the imports: the programs may lie where no other account can read them.
    if uid != os.getuid():
        os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
"""


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """Make a folder that every account can reach."""
    folder = tempfile.mkdtemp(prefix="qmail-test-")
    os.chmod(folder, 0o755)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_home(home: Path, *listeners: str) -> None:
    """Make a home as `qmail init` does for the account UID."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: UID)
        patch.setattr(os, "getegid", lambda: GID)
        init.make_home(str(home), host=HOST, listeners=listeners, say=lambda _line: None)


@contextlib.contextmanager
def as_owner() -> Iterator[None]:
    """Be the account of the home, under root: what the kernel tells the other side."""
    if IS_ROOT:
        os.seteuid(UID)
    try:
        yield
    finally:
        if IS_ROOT:
            os.seteuid(0)


def call(home: Path, name: str) -> socket.socket:
    """Connect to an inner door as the account of the home."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(WAIT_S)
    with as_owner():
        sock.connect(str(home / "run" / name))
    return sock


def listen(home: Path, name: str) -> socket.socket:
    """Listen at an inner door as the account of the home; whoever waits there waits WAIT_S."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(WAIT_S)
    with as_owner():
        sock.bind(str(home / "run" / name))
        sock.listen()
    return sock


@contextlib.contextmanager
def resident(home: Path, name: str, code: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the program whose door is `name`: `code` begins with BECOME, its argument is UID."""
    with listen(home, name) as door:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(UID)],
            pass_fds=[door.fileno()],
            env={"QMAIL_HOME": str(home), "QMAIL_DOOR": str(door.fileno())},
            cwd="/",
        )
    try:
        yield process
    finally:
        process.terminate()
        assert process.wait(WAIT_S) == 0


@functools.cache
def others_can_run_the_programs() -> bool:
    """Say whether the account UID can read what is tested here."""
    done = subprocess.run(
        [sys.executable, "-c", "import qmail.programs.start"],
        check=False,
        cwd="/",
        stderr=subprocess.DEVNULL,
        user=UID,
        group=GID,
        extra_groups=[] if IS_ROOT else None,
    )
    return done.returncode == 0


_HELD: list[socket.socket] = []
"""What keeps ports from being given to others, for a whole run."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody is given but who names it.

    It stays bound here: who listens on it sets SO_REUSEADDR, as servers do; until then calls to it
    are refused.
    """
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    _HELD.append(sock)
    port: int = sock.getsockname()[1]
    return port
