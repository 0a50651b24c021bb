"""queue/lock/tcpto and tcpto6: which addresses are left alone, shared by all who send.

Every look and every change takes the lock for the moment it needs; where a table is missing, or
somebody sits on the lock, mail goes on as if there were none (spec/queue.md 9, delivery.md 13).
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from typing import Final

from qmail.protocol.tcpto import (
    NEW,
    OLD,
    REFUSALS_AT,
    REFUSED_UNIT_S,
    TCPTO6_BYTES,
    TCPTO_BYTES,
    TIMEOUT_UNIT_S,
    Shape,
    Table,
    new_key,
    old_key,
    seconds_alone,
)

Place = tuple[int, int, Shape]
"""Where in a file a table is: first byte, length, shape."""
TCPTO: Final = "queue/lock/tcpto"
TCPTO6: Final = "queue/lock/tcpto6"
TIMEOUTS4: Final[Place] = (0, TCPTO_BYTES, OLD)
TIMEOUTS6: Final[Place] = (0, REFUSALS_AT, NEW)
REFUSALS: Final[Place] = (REFUSALS_AT, TCPTO6_BYTES - REFUSALS_AT, NEW)

LOCK_TRIES: Final = 3
LOCK_PAUSE_S: Final = 0.001


class TableFile:
    """One table in an open file, where `place` says; without a file (-1) it is empty."""

    def __init__(self, fd: int, place: Place) -> None:
        self._fd = fd
        self._start, self._bytes, self._shape = place

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock. Raises: OSError: it can't be had, or there is no file."""
        if self._fd < 0:
            raise FileNotFoundError
        for left in range(LOCK_TRIES, 0, -1):
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if left == 1:
                    raise
                # Whoever has it needs some microseconds.
                time.sleep(LOCK_PAUSE_S)
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _read(self) -> Table:
        return Table(os.pread(self._fd, self._bytes, self._start), self._shape)

    def table(self) -> Table:
        """Return the table as it is now, an empty one where there is no telling."""
        with contextlib.suppress(OSError), self._locked():
            return self._read()
        return Table(b"", self._shape)

    def change(self, change: Callable[[Table], bool]) -> None:
        """Have the table changed; `change` returns whether it did."""
        with contextlib.suppress(OSError), self._locked():
            table = self._read()
            if change(table):
                os.pwrite(self._fd, table.data, self._start)


class BackOff:
    """All tables of one home."""

    def __init__(self, home: str) -> None:
        self._fds: list[int] = []
        old, new = self._open(f"{home}/{TCPTO}"), self._open(f"{home}/{TCPTO6}")
        self._timeouts4 = TableFile(old, TIMEOUTS4)
        self._timeouts6 = TableFile(new, TIMEOUTS6)
        self._refusals = TableFile(new, REFUSALS)
        self._timeout_s = seconds_alone(os.getpid(), TIMEOUT_UNIT_S)
        self._refused_s = seconds_alone(os.getpid(), REFUSED_UNIT_S)

    def _open(self, path: str) -> int:
        try:
            fd = open_table(path, os.O_RDWR)
        except OSError:
            return -1
        self._fds.append(fd)
        return fd

    def _timeouts(self, address: str) -> tuple[TableFile, bytes]:
        old = old_key(address)
        return (self._timeouts6, new_key(address)) if old is None else (self._timeouts4, old)

    def clear(self) -> None:
        """Forget every address: qmail-rspawn begins so."""
        for file in (self._timeouts4, self._timeouts6, self._refusals):
            file.change(Table.clear)

    def is_left_alone(self, address: str) -> bool:
        """Say whether no connection to this address is to be tried now."""
        now = int(time.time())
        timeouts, key = self._timeouts(address)
        if timeouts.table().is_left_alone(key, now, self._timeout_s):
            return True
        return self._refusals.table().is_left_alone(new_key(address), now, self._refused_s)

    def timed_out(self, address: str) -> None:
        """Count a connection that nobody answered."""
        timeouts, key = self._timeouts(address)
        timeouts.change(lambda table: table.failed(key, int(time.time())))

    def refused(self, address: str) -> None:
        """Count a connection that was refused."""
        key = new_key(address)
        self._refusals.change(lambda table: table.failed(key, int(time.time())))

    def answered(self, address: str) -> None:
        """Forget what an address did that has now taken a connection."""
        timeouts, key = self._timeouts(address)
        timeouts.change(lambda table: table.answered(key))
        other = new_key(address)
        self._refusals.change(lambda table: table.answered(other))

    def close(self) -> None:
        """Close the files."""
        while self._fds:
            os.close(self._fds.pop())


def open_table(path: str, mode: int) -> int:
    """Open one of the files. Raises: OSError: as open does."""
    return os.open(path, mode | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)


def read_tables(home: str) -> tuple[list[Table], list[Table]]:
    """Return the tables of timeouts and of refusals, for people to read.

    Raises: OSError: the original's table can't be read. A home of an older version has no other.
    """
    fd = open_table(f"{home}/{TCPTO}", os.O_RDONLY)
    timeouts, refusals = [TableFile(fd, TIMEOUTS4).table()], []
    os.close(fd)
    with contextlib.suppress(FileNotFoundError):
        fd = open_table(f"{home}/{TCPTO6}", os.O_RDONLY)
        timeouts.append(TableFile(fd, TIMEOUTS6).table())
        refusals.append(TableFile(fd, REFUSALS).table())
        os.close(fd)
    return timeouts, refusals


def clear_tables(home: str) -> None:
    """Forget every address, for people. Raises: OSError: the original's table can't be written."""
    os.close(open_table(f"{home}/{TCPTO}", os.O_RDWR))
    back_off = BackOff(home)
    back_off.clear()
    back_off.close()
