"""One of the suite's programs in a thread of the test: it serves a home's door."""

import contextlib
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Self

from qmail.edge.doors.station import listen_door

WAIT_S_MAX = 60.0


class FakeDoor(ABC):
    """Talks with one caller after the other; its kinds say what about."""

    def __init__(self, home: Path, name: str) -> None:
        self._caller: socket.socket | None = None
        self._changed = threading.Condition()
        self._listener = listen_door(str(home), name)
        (home / "run" / name).chmod(0o777)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_trouble: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
        self._thread.join(WAIT_S_MAX)

    def hang_up(self) -> None:
        """Close the connection, as if killed."""
        if self._caller is not None:
            with contextlib.suppress(OSError):
                self._caller.shutdown(socket.SHUT_RDWR)

    def wait(self, until: Callable[[Self], object]) -> None:
        """Wait for something to become true."""
        with self._changed:
            assert self._changed.wait_for(lambda: until(self), WAIT_S_MAX)

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            self._caller = caller
            with contextlib.suppress(OSError), caller:
                self._talk(caller)

    @abstractmethod
    def _talk(self, caller: socket.socket) -> None: ...


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for something that only asking can tell."""
    end = time.monotonic() + WAIT_S_MAX
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)
